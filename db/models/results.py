"""Results of forecast and planning runs.

They name items, suppliers and work centres that may be deleted later: those rows stay, so the results stay whole.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Computed, Double, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed

ACTION_KINDS = ("new", "expedite", "defer", "increase", "reduce", "cancel")
PRIORITIES = ("critical", "high", "medium", "low")
SUPPLY_KINDS = ("stock", "open_order", "planned_order")
DEMAND_KINDS = ("firm_order", "forecast", "planned_order", "safety_stock")


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
    load_share: Mapped[float | None] = mapped_column(
        Double, Computed("load_hours / nullif(capacity_hours, 0)", persisted=True)
    )


class StockParameter(Base):
    """How an item is stocked by a plan, and how far its stock reaches without any new order.

    `available` is on hand - reserved - quarantined. Demand and lead time are per working day and in working days.
    `coverage_days` is available over mean demand, `turnover` a year's demand over what is on hand, `stock_out_on` the
    day on which stock and open orders no longer meet the demand of the horizon.
    """

    __tablename__ = "stock_parameter"
    __table_args__ = (Index("ix_stock_parameter_run_id_stock_out_on", "run_id", "stock_out_on"),)

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("planning_run.id", ondelete="CASCADE"), primary_key=True)
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"), primary_key=True)
    abc: Mapped[str | None]
    xyz: Mapped[str | None]
    demand_class: Mapped[str | None]
    service_level: Mapped[float | None]
    daily_demand_mean: Mapped[float]
    daily_demand_sd: Mapped[float | None]
    lead_time_days: Mapped[int]
    safety_stock: Mapped[float]
    reorder_point: Mapped[float]
    eoq: Mapped[float | None]
    on_hand: Mapped[float]
    available: Mapped[float]
    below_safety_stock: Mapped[bool] = mapped_column(Computed("available < safety_stock", persisted=True))
    coverage_days: Mapped[float | None]
    turnover: Mapped[float | None]
    stock_out_on: Mapped[date | None]
    stock_value: Mapped[float | None]


class ActionMessage(Keyed, Base):
    """What a plan asks to change about an order that is placed, or to order anew. `rank` 1 is the most urgent.

    `order_id` is the planned order of a `new`; `open_order` the number of the placed order of every other kind.
    """

    __tablename__ = "action_message"
    __table_args__ = (
        CheckConstraint(f"kind in {ACTION_KINDS}", name="kind"),
        CheckConstraint(f"priority in {PRIORITIES}", name="priority"),
        Index("ix_action_message_run_id_rank", "run_id", "rank"),
        Index("ix_action_message_run_id_item_id", "run_id", "item_id"),
        Index("ix_action_message_order_id", "order_id", postgresql_where=text("order_id IS NOT NULL")),
    )

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("planning_run.id", ondelete="CASCADE"))
    rank: Mapped[int]
    kind: Mapped[str]
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    open_order: Mapped[str | None]
    order_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("planned_order.id", ondelete="CASCADE"))
    from_date: Mapped[date | None]
    to_date: Mapped[date | None]
    from_quantity: Mapped[Decimal | None]
    to_quantity: Mapped[Decimal | None]
    priority: Mapped[str]
    cause: Mapped[str]


class Pegging(Keyed, Base):
    """A quantity of one supply that is meant for one demand of the same item.

    A planned order is named by `order_id` (the supply) or `demand_order_id` (its need of components), anything else by
    its number in `supply` or `demand`.
    """

    __tablename__ = "pegging"
    __table_args__ = (
        CheckConstraint(f"supply_kind in {SUPPLY_KINDS}", name="supply_kind"),
        CheckConstraint(f"demand_kind in {DEMAND_KINDS}", name="demand_kind"),
        CheckConstraint("quantity > 0", name="quantity"),
        Index("ix_pegging_run_id_item_id", "run_id", "item_id"),
        Index("ix_pegging_order_id", "order_id", postgresql_where=text("order_id IS NOT NULL")),
        Index("ix_pegging_demand_order_id", "demand_order_id", postgresql_where=text("demand_order_id IS NOT NULL")),
    )

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("planning_run.id", ondelete="CASCADE"))
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    supply_kind: Mapped[str]
    supply: Mapped[str | None]
    order_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("planned_order.id", ondelete="CASCADE"))
    demand_kind: Mapped[str]
    demand: Mapped[str | None]
    demand_order_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("planned_order.id", ondelete="CASCADE"))
    quantity: Mapped[Decimal]
    due_date: Mapped[date]
