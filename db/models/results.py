"""Results of forecast and planning runs."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed


class ForecastRun(Keyed, Base):
    """One forecast of the plant. `as_of` is the last week of history it saw."""

    __tablename__ = "forecast_run"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("job.id"), unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    as_of: Mapped[date]
    horizon_weeks: Mapped[int]
    items: Mapped[int]


class ForecastSeries(Base):
    """How one item was forecast: its class, the model that really produced the rows, and why."""

    __tablename__ = "forecast_series"

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("forecast_run.id", ondelete="CASCADE"), primary_key=True)
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"), primary_key=True)
    demand_class: Mapped[str]
    adi: Mapped[float | None]
    cv2: Mapped[float | None]
    abc: Mapped[str]
    xyz: Mapped[str]
    model: Mapped[str]
    reason: Mapped[str]
    service_level: Mapped[float]
    lead_time_weeks: Mapped[float]
    lead_time_mean: Mapped[float]
    lead_time_quantile: Mapped[float]


class ForecastMetric(Base):
    """Backtest accuracy of one model on one demand class ('all' sums them up)."""

    __tablename__ = "forecast_metric"

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("forecast_run.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    demand_class: Mapped[str] = mapped_column(primary_key=True)
    series: Mapped[int]
    wql: Mapped[float | None]
    rmsse: Mapped[float | None]
    mase: Mapped[float | None]
    wape: Mapped[float | None]
    bias: Mapped[float | None]
    coverage_80: Mapped[float | None]


class PlanningRun(Keyed, Base):
    """One run of multi-level MRP over the plant, with its totals and what was wrong in the data."""

    __tablename__ = "planning_run"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("job.id"), unique=True)
    forecast_run_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("forecast_run.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    as_of: Mapped[date]
    horizon_days: Mapped[int]
    summary: Mapped[dict[str, Any]]
    warnings: Mapped[list[Any]]


class PlannedOrder(Keyed, Base):
    """A purchase or production order the plan proposes. `rank` orders by urgency, 1 first."""

    __tablename__ = "planned_order"
    __table_args__ = (
        CheckConstraint("kind in ('purchase', 'production')", name="kind"),
        CheckConstraint("quantity > 0", name="quantity"),
        Index("ix_planned_order_run_id_rank", "run_id", "rank"),
        Index("ix_planned_order_run_id_item_id", "run_id", "item_id"),
    )

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("planning_run.id", ondelete="CASCADE"))
    rank: Mapped[int]
    kind: Mapped[str]
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    supplier_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("supplier.id"))
    quantity: Mapped[Decimal]
    release_date: Mapped[date]
    due_date: Mapped[date]
    priority: Mapped[str]
    past_due_days: Mapped[int]
    unit_cost: Mapped[Decimal | None]
    value: Mapped[Decimal | None]
    cause: Mapped[str]


class CapacityLoad(Base):
    """Planned hours against available hours of a work centre in a week."""

    __tablename__ = "capacity_load"

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("planning_run.id", ondelete="CASCADE"), primary_key=True)
    work_centre_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("work_centre.id"), primary_key=True)
    week: Mapped[date] = mapped_column(primary_key=True)
    load_hours: Mapped[float]
    capacity_hours: Mapped[float]
