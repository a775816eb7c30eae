"""Demand of an item."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from litestar import Router, get
from litestar.params import Parameter
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories import items
from serve.parameters import text_parameter
from serve.problems import ERRORS, NotFound
from serve.schemas import DemandOut, DemandRow, number, some
from serve.security import VIEWER

ItemCode = Annotated[str, text_parameter("Code of an item.")]


@get(
    "/demand/{item:str}",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getDemand",
    summary="Demand of an item by day, week or month",
)
async def get_demand(
    session: AsyncSession,
    item: ItemCode,
    grain: Annotated[Literal["day", "week", "month"], Parameter(description="Length of a period.")] = "week",
    from_: Annotated[date | None, Parameter(query="from", description="Day in the first period.")] = None,
    to: Annotated[date | None, Parameter(description="Day in the last period.")] = None,
) -> DemandOut:
    """A demand series of whole periods, zero between its first and last one where nothing was sold."""
    found = await items.find(session, item)
    if found is None:
        raise NotFound(f"no item with code {item!r}")
    rows = await items.demand(session, found.id, grain, from_, to)
    return DemandOut(item, grain, [DemandRow(row[0], some(row[1]), number(row[2])) for row in rows])


router = Router("/", route_handlers=[get_demand], tags=["Demand"])
