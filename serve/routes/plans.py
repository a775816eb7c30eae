"""Planning runs, their orders and capacity load."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import polars as pl
from litestar import Response, Router, get
from litestar.params import Parameter
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import PlanningRun
from db.paging import fetch_page
from db.repositories import plans
from serve.parameters import Cursor, Limit, Search, sorts, text_parameter
from serve.problems import ERRORS, NotFound
from serve.resources.files import CONTENT_DISPOSITION, MEDIA_TYPES, FileFormat, download, write_table
from serve.schemas import (
    CapacityOut,
    CapacityRow,
    Listing,
    OrderKind,
    OrderOut,
    PlanOut,
    Urgency,
    order_out,
    plan_out,
)
from serve.security import VIEWER

KindFilter = Annotated[OrderKind | None, Parameter(description="Only orders of this kind.")]
UrgencyFilter = Annotated[Urgency | None, Parameter(description="Only orders as urgent as this.")]
SupplierCode = Annotated[str | None, text_parameter("Only orders at the supplier with this code.")]
Sort = Annotated[str | None, sorts(plans.ORDERS_ORDER)]


@get("/", opt=VIEWER, responses=ERRORS, operation_id="listPlans", summary="Planning runs, newest first")
async def list_plans(
    session: AsyncSession,
    sort: Annotated[str | None, sorts(plans.RUNS_ORDER)] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Listing[PlanOut]:
    """Runs with their totals."""
    page = await fetch_page(session, plans.runs_statement(), plans.RUNS_ORDER, sort=sort, limit=limit, cursor=cursor)
    return Listing([plan_out(row[0]) for row in page.rows], page.next_cursor, page.total)


@get("/latest", opt=VIEWER, responses=ERRORS, operation_id="getLatestPlan", summary="The newest planning run")
async def get_latest(session: AsyncSession) -> PlanOut:
    """Totals and warnings of the newest plan."""
    return plan_out(await _latest(session))


@get(
    "/latest/orders",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="listPlannedOrders",
    summary="Planned orders, most urgent first",
)
async def list_orders(
    session: AsyncSession,
    kind: KindFilter = None,
    priority: UrgencyFilter = None,
    supplier: SupplierCode = None,
    search: Search = None,
    sort: Sort = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[OrderOut]:
    """Orders of the newest plan by filter."""
    run = await _latest(session)
    query = plans.orders_statement(run.id, kind=kind, priority=priority, supplier=supplier, search=search)
    page = await fetch_page(session, query, plans.ORDERS_ORDER, sort=sort, limit=limit, cursor=cursor)
    return Listing([order_out(*row[:3]) for row in page.rows], page.next_cursor, page.total)


@get(
    "/latest/orders.csv",
    opt=VIEWER,
    responses=ERRORS,
    response_headers=[CONTENT_DISPOSITION],
    operation_id="exportPlannedOrders",
    summary="Planned orders as CSV",
    media_type=MEDIA_TYPES["csv"],
)
async def export_orders(
    session: AsyncSession,
    kind: KindFilter = None,
    priority: UrgencyFilter = None,
    supplier: SupplierCode = None,
    search: Search = None,
) -> Response[str]:
    """All orders that fit the filters, most urgent first; cells that would run as formulas are marked."""
    return await _export(session, "csv", kind=kind, priority=priority, supplier=supplier, search=search)


@get(
    "/latest/orders.xlsx",
    opt=VIEWER,
    responses=ERRORS,
    response_headers=[CONTENT_DISPOSITION],
    operation_id="exportPlannedOrdersWorkbook",
    summary="Planned orders as an Excel workbook",
    media_type=MEDIA_TYPES["xlsx"],
    content_media_type=MEDIA_TYPES["xlsx"],
)
async def export_orders_workbook(
    session: AsyncSession,
    kind: KindFilter = None,
    priority: UrgencyFilter = None,
    supplier: SupplierCode = None,
    search: Search = None,
) -> Response[bytes]:
    """All orders that fit the filters, most urgent first."""
    return await _export(session, "xlsx", kind=kind, priority=priority, supplier=supplier, search=search)


async def _export(session: AsyncSession, file_format: FileFormat, **filters: Any) -> Response[Any]:
    run = await _latest(session)
    _, column, _ = plans.ORDERS_ORDER.resolve(None)
    rows = (await session.execute(plans.orders_statement(run.id, **filters).order_by(column))).all()
    orders = [msgspec.structs.asdict(order_out(*row[:3])) for row in rows]
    content = await asyncio.to_thread(_written, orders, file_format)
    return download(content, f"planned-orders-{run.as_of}", file_format)


def _written(orders: list[dict[str, Any]], file_format: FileFormat) -> bytes:
    names = [name for name in OrderOut.__struct_fields__ if name != "id"]
    frame = pl.DataFrame({name: [order[name] for order in orders] for name in names})
    return write_table(frame, "planned orders", file_format)


@get(
    "/latest/capacity",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getCapacity",
    summary="Load per work centre and week",
)
async def get_capacity(session: AsyncSession) -> CapacityOut:
    """Planned hours against available hours."""
    run = await _latest(session)
    rows = []
    for load, centre in await plans.capacity(session, run.id):
        share = load.load_hours / load.capacity_hours if load.capacity_hours else None
        rows.append(CapacityRow(centre.code, centre.name, load.week, load.load_hours, load.capacity_hours, share))
    return CapacityOut(rows)


async def _latest(session: AsyncSession) -> PlanningRun:
    run = await plans.latest(session)
    if run is None:
        raise NotFound("there is no plan yet: start one with POST /jobs {kind: plan}")
    return run


router = Router(
    "/plans",
    route_handlers=[list_plans, get_latest, list_orders, export_orders, export_orders_workbook, get_capacity],
    tags=["Plans"],
)
