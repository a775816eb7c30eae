"""What the API answers. Quantities and money as numbers, dates as ISO text."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec

from db.models import (
    Forecast,
    ForecastMetric,
    ForecastRun,
    ForecastSeries,
    IngestRun,
    Item,
    PlannedOrder,
    PlanningRun,
    Supplier,
)

T = TypeVar("T")
OrderKind = Literal["purchase", "production"]
Urgency = Literal["critical", "high", "medium", "low"]


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; `next_cursor` asks for the next one."""

    items: list[T]
    next_cursor: str | None
    total: int


def number(value: Decimal | float | None) -> float | None:
    """NUMERIC as a JSON number."""
    return None if value is None else float(value)


def some(value: Decimal | float) -> float:
    """A NUMERIC that is never null."""
    return float(value)


class DemandRow(msgspec.Struct, frozen=True):
    """Demand on a day, or in a week or month that begins on `date`."""

    date: date
    quantity: float
    revenue: float | None


class DemandOut(msgspec.Struct, frozen=True):
    """A demand series."""

    item: str
    grain: Literal["day", "week", "month"]
    rows: list[DemandRow]


class MetricOut(msgspec.Struct, frozen=True):
    """Backtest accuracy of a model on a demand class."""

    model: str
    demand_class: str
    series: int
    wql: float | None
    rmsse: float | None
    mase: float | None
    wape: float | None
    bias: float | None
    coverage_80: float | None


class ForecastRunOut(msgspec.Struct, frozen=True):
    """A forecast run and its accuracy."""

    id: uuid.UUID
    created_at: datetime
    as_of: date
    horizon_weeks: int
    items: int
    metrics: list[MetricOut]


def forecast_run_out(run: ForecastRun, metrics: list[ForecastMetric]) -> ForecastRunOut:
    """Put a run and its metrics together."""
    rows = [
        MetricOut(**{name: getattr(each, name) for name in MetricOut.__struct_fields__})
        for each in metrics
        if each.run_id == run.id
    ]
    return ForecastRunOut(run.id, run.created_at, run.as_of, run.horizon_weeks, run.items, rows)


class SeriesOut(msgspec.Struct, frozen=True):
    """How one item was forecast."""

    item: str
    name: str
    demand_class: str
    adi: float | None
    cv2: float | None
    abc: str
    xyz: str
    model: str
    reason: str
    service_level: float
    lead_time_weeks: float
    lead_time_mean: float
    lead_time_quantile: float


def series_out(series: ForecastSeries, item: Item) -> SeriesOut:
    """A series row with its item."""
    fields = {name: getattr(series, name) for name in SeriesOut.__struct_fields__ if name not in ("item", "name")}
    return SeriesOut(item=item.code, name=item.name, **fields)


class ForecastRow(msgspec.Struct, frozen=True):
    """Expected demand of a week and its quantiles."""

    week: date
    mean: float
    q10: float
    q25: float
    q50: float
    q75: float
    q90: float


def forecast_row(row: Forecast) -> ForecastRow:
    """One stored week."""
    names = ("mean", "q10", "q25", "q50", "q75", "q90")
    return ForecastRow(row.week, **{name: some(getattr(row, name)) for name in names})


class ItemForecastOut(SeriesOut, frozen=True):
    """An item's forecast with how it was made."""

    rows: list[ForecastRow] = []


class PlanOut(msgspec.Struct, frozen=True):
    """A planning run with totals and what was wrong in the data."""

    id: uuid.UUID
    created_at: datetime
    as_of: date
    forecast_run_id: uuid.UUID | None
    horizon_days: int
    summary: dict[str, Any]
    warnings: list[Any]


def plan_out(run: PlanningRun) -> PlanOut:
    """A stored run."""
    return PlanOut(**{name: getattr(run, name) for name in PlanOut.__struct_fields__})


class OrderOut(msgspec.Struct, frozen=True):
    """A planned order."""

    id: uuid.UUID
    kind: OrderKind
    item: str
    name: str
    supplier: str | None
    supplier_name: str | None
    quantity: float
    unit: str
    release_date: date
    due_date: date
    priority: Urgency
    past_due_days: int
    unit_cost: float | None
    value: float | None
    cause: str


def order_out(order: PlannedOrder, item: Item, supplier: Supplier | None) -> OrderOut:
    """A stored order with its item and supplier."""
    return OrderOut(
        id=order.id,
        kind=cast("OrderKind", order.kind),
        item=item.code,
        name=item.name,
        supplier=supplier.code if supplier else None,
        supplier_name=supplier.name if supplier else None,
        quantity=some(order.quantity),
        unit=item.unit,
        release_date=order.release_date,
        due_date=order.due_date,
        priority=cast("Urgency", order.priority),
        past_due_days=order.past_due_days,
        unit_cost=number(order.unit_cost),
        value=number(order.value),
        cause=order.cause,
    )


class CapacityRow(msgspec.Struct, frozen=True):
    """Load of a work centre in a week, in hours; share 1.0 is full."""

    work_centre: str
    name: str
    week: date
    load_hours: float
    capacity_hours: float
    load_share: float | None


class CapacityOut(msgspec.Struct, frozen=True):
    """Capacity load of a plan."""

    rows: list[CapacityRow]


class IngestRunOut(msgspec.Struct, frozen=True):
    """One reading of one file or of rows: read = taken + merged + rejected. `parked` of the rejected wait for what they
    refer to; `rerun_of` is the run whose rejected rows were read again."""

    id: uuid.UUID
    job_id: uuid.UUID
    source: str
    file: str
    mapping: str
    target: str
    state: Literal["done", "failed", "unchanged"]
    read: int
    taken: int
    merged: int
    rejected: int
    parked: int
    started_at: datetime
    finished_at: datetime
    error: str | None
    rerun_of: uuid.UUID | None


def ingest_run_out(run: IngestRun) -> IngestRunOut:
    """A stored run."""
    return IngestRunOut(**{name: getattr(run, name) for name in IngestRunOut.__struct_fields__})


class RejectedRowOut(msgspec.Struct, frozen=True):
    """A row that was not taken and why. `raw` is the row as it stood, by the headers of its file."""

    line: int
    field: str
    reason: str
    raw: str
