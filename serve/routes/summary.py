"""The front page in figures."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

import msgspec
from litestar import Router, get
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories import summary
from serve.problems import ERRORS
from serve.security import VIEWER


class AlertCounts(msgspec.Struct, frozen=True):
    """Open alerts by severity."""

    critical: int = 0
    warning: int = 0
    info: int = 0


class PlanSummary(msgspec.Struct, frozen=True):
    """The newest plan: its orders by urgency, what stock was worth, and how many items are short."""

    id: uuid.UUID
    as_of: date
    created_at: datetime
    orders: int
    critical: int
    high: int
    past_due: int
    purchase_value: float
    stock_value: float
    stock_outs: int
    below_safety_stock: int


class ModelAccuracy(msgspec.Struct, frozen=True):
    """Backtest accuracy of a model over all series."""

    model: str
    wql: float | None
    mase: float | None
    wape: float | None
    bias: float | None


class ForecastSummary(msgspec.Struct, frozen=True):
    """The newest forecast and its accuracy, the best model first."""

    id: uuid.UUID
    as_of: date
    created_at: datetime
    items: int
    accuracy: list[ModelAccuracy]


class SourceSummary(msgspec.Struct, frozen=True):
    """When a source last gave data; null if it never has."""

    source: str
    last_data_at: datetime | None


class SummaryOut(msgspec.Struct, frozen=True):
    """What a front page shows."""

    alerts: AlertCounts
    plan: PlanSummary | None
    forecast: ForecastSummary | None
    overdue_orders: int
    sources: list[SourceSummary]
    running_jobs: int
    waiting_jobs: int


@get(
    "/",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getSummary",
    summary="The plant in figures",
    description="Open alerts, the newest plan and forecast, open orders past their day, when each "
    "source last gave data, and jobs.",
)
async def get_summary(session: AsyncSession) -> SummaryOut:
    """Counts for a front page."""
    row = await summary.read(session)
    return SummaryOut(
        alerts=AlertCounts(**row.alerts),
        plan=None if row.plan is None else _plan(row.plan),
        forecast=None if row.forecast is None else msgspec.convert(row.forecast, ForecastSummary),
        overdue_orders=row.overdue_orders,
        sources=msgspec.convert(row.sources, list[SourceSummary]),
        running_jobs=row.running_jobs,
        waiting_jobs=row.waiting_jobs,
    )


def _plan(row: dict[str, Any]) -> PlanSummary:
    names = [name for name in PlanSummary.__struct_fields__ if name not in row]
    return msgspec.convert({**row, **{name: row["summary"].get(name, 0) for name in names}}, PlanSummary)


router = Router("/summary", route_handlers=[get_summary], tags=["Summary"])
