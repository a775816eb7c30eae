"""Planning runs and their orders: stored in bulk, read by page."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import polars as pl
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from db.copy import stage
from db.models import CapacityLoad, Item, PlannedOrder, PlanningRun, Supplier, WorkCentre
from db.paging import Order, Rows

ORDERS_ORDER = Order(
    {
        "rank": PlannedOrder.rank,
        "item": Item.code,
        "release_date": PlannedOrder.release_date,
        "due_date": PlannedOrder.due_date,
        "quantity": PlannedOrder.quantity,
        "value": PlannedOrder.value,
        "past_due_days": PlannedOrder.past_due_days,
    },
    default="rank",
    key=PlannedOrder.id,
)

RUNS_ORDER = Order(
    {"created_at": PlanningRun.created_at, "as_of": PlanningRun.as_of}, default="-created_at", key=PlanningRun.id
)


async def store(session: AsyncSession, run: PlanningRun, orders: pl.DataFrame, capacity: pl.DataFrame) -> None:
    """Store a run, its orders (most urgent first, as they come) and its capacity load."""
    session.add(run)
    await session.flush()
    staged = orders.with_columns(
        pl.Series("id", [str(uuid7()) for _ in range(orders.height)], dtype=pl.String),
        pl.int_range(1, orders.height + 1, dtype=pl.Int64).alias("rank"),
    )
    await stage(session, "staged", staged)
    await session.execute(
        text(
            "INSERT INTO planned_order (id, run_id, rank, kind, item_id, supplier_id, quantity, release_date, due_date,"
            " priority, past_due_days, unit_cost, value, cause)"
            " SELECT s.id::uuid, :run_id, s.rank, s.kind, i.id, p.id, s.quantity, s.release_date, s.due_date,"
            " s.priority, s.past_due_days, s.unit_cost, s.value, s.cause"
            " FROM staged s JOIN item i ON i.code = s.item LEFT JOIN supplier p ON p.code = s.supplier"
        ),
        {"run_id": run.id},
    )
    await stage(session, "staged", capacity.select("work_centre", "week", "load_hours", "capacity_hours"))
    await session.execute(
        text(
            "INSERT INTO capacity_load (run_id, work_centre_id, week, load_hours, capacity_hours)"
            " SELECT :run_id, w.id, s.week, s.load_hours, s.capacity_hours"
            " FROM staged s JOIN work_centre w ON w.code = s.work_centre"
        ),
        {"run_id": run.id},
    )


async def latest(session: AsyncSession) -> PlanningRun | None:
    """The newest run."""
    query = select(PlanningRun).order_by(PlanningRun.created_at.desc()).limit(1)
    return (await session.execute(query)).scalar_one_or_none()


def runs_statement() -> Rows:
    """All runs."""
    return select(PlanningRun)


def orders_statement(
    run_id: uuid.UUID,
    *,
    kind: str | None = None,
    priority: str | None = None,
    supplier: str | None = None,
    search: str | None = None,
) -> Rows:
    """Orders of a run with their item and supplier, by filters."""
    query = (
        select(PlannedOrder, Item, Supplier)
        .join(Item, Item.id == PlannedOrder.item_id)
        .outerjoin(Supplier, Supplier.id == PlannedOrder.supplier_id)
        .where(PlannedOrder.run_id == run_id)
    )
    if kind:
        query = query.where(PlannedOrder.kind == kind)
    if priority:
        query = query.where(PlannedOrder.priority == priority)
    if supplier:
        query = query.where(Supplier.code == supplier)
    if search:
        query = query.where(Item.code.icontains(search, autoescape=True) | Item.name.icontains(search, autoescape=True))
    return query


async def capacity(session: AsyncSession, run_id: uuid.UUID) -> Sequence[Any]:
    """Load rows of a run with their work centre, by centre and week."""
    query = (
        select(CapacityLoad, WorkCentre)
        .join(WorkCentre, WorkCentre.id == CapacityLoad.work_centre_id)
        .where(CapacityLoad.run_id == run_id)
        .order_by(WorkCentre.code, CapacityLoad.week)
    )
    return (await session.execute(query)).all()
