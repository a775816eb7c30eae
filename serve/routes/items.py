"""Items and their demand."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from litestar import Router, get
from litestar.params import Parameter
from sqlalchemy.ext.asyncio import AsyncSession

from db.paging import MAX_LIMIT, fetch_page
from db.repositories import forecasts, items
from serve.problems import ERRORS, NotFound
from serve.schemas import (
    ComponentOut,
    DemandOut,
    DemandRow,
    ItemDetail,
    ItemOut,
    Listing,
    TermOut,
    item_fields,
    number,
    some,
)
from serve.security import VIEWER

Limit = Annotated[int, Parameter(ge=1, le=MAX_LIMIT, description="Rows a page")]
Cursor = Annotated[str | None, Parameter(description="`next_cursor` of the page before")]
Search = Annotated[str | None, Parameter(max_length=200, description="Part of the code or name")]
Kind = Literal["finished", "semi_finished", "component", "raw_material", "packaging", "trading_good"]


@get("/items", opt=VIEWER, responses=ERRORS, operation_id="listItems", summary="Items by filter, page by page")
async def list_items(
    session: AsyncSession,
    search: Search = None,
    kind: Kind | None = None,
    sort: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[ItemOut]:
    """Items with their stock on hand."""
    run = await forecasts.latest(session)
    query = items.statement(run.id if run else None, search=search, kind=kind)
    page = await fetch_page(session, query, items.ORDER, sort=sort, limit=limit, cursor=cursor)
    rows = [ItemOut(**item_fields(row[0], row.on_hand, row.has_forecast)) for row in page.rows]
    return Listing(rows, page.next_cursor, page.total)


@get(
    "/items/{code:str}",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getItem",
    summary="One item with structure and suppliers",
)
async def get_item(session: AsyncSession, code: str) -> ItemDetail:
    """An item, its bill of material and its suppliers."""
    run = await forecasts.latest(session)
    row = (await session.execute(items.statement(run.id if run else None, code=code))).one_or_none()
    if row is None:
        raise NotFound(f"no item with code {code!r}")
    item = row[0]
    bom = [ComponentOut(each[0], some(each[1]), some(each[2])) for each in await items.components(session, item.id)]
    terms = [
        TermOut(
            supplier=supplier,
            price=number(term.price),
            min_order_qty=number(term.min_order_qty),
            order_multiple=number(term.order_multiple),
            lead_time_days=term.lead_time_days,
            priority=term.priority,
        )
        for term, supplier in await items.suppliers(session, item.id)
    ]
    return ItemDetail(**item_fields(item, row.on_hand, row.has_forecast), bom=bom, suppliers=terms)


@get(
    "/demand/{item:str}",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getDemand",
    summary="Demand of an item by day, week or month",
)
async def get_demand(
    session: AsyncSession,
    item: str,
    grain: Literal["day", "week", "month"] = "week",
    from_: Annotated[date | None, Parameter(query="from", description="Day in the first period")] = None,
    to: Annotated[date | None, Parameter(description="Day in the last period")] = None,
) -> DemandOut:
    """A demand series of whole periods, zero between its first and last one where nothing was sold."""
    found = await items.find(session, item)
    if found is None:
        raise NotFound(f"no item with code {item!r}")
    rows = await items.demand(session, found.id, grain, from_, to)
    return DemandOut(item, grain, [DemandRow(row[0], some(row[1]), number(row[2])) for row in rows])


router = Router("/", route_handlers=[list_items, get_item, get_demand], tags=["Items and demand"])
