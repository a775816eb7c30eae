"""What a person should look at: stock-outs no order can prevent, late orders, overload, full warehouses, bad data."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

KINDS: Final = ("stock_out", "late_release", "overdue_order", "overload", "warehouse", "data")
"""Kinds of alerts a plan raises; what it no longer finds of these is over."""

COLUMNS: Final[dict[str, Any]] = {
    **dict.fromkeys(("kind", "subject", "severity", "message", "item", "supplier", "work_centre"), pl.String),
    "day": pl.Date,
}
# Days after which an open order that has not come is worth a planner's morning.
LONG_OVERDUE_DAYS = 7


@dataclass(frozen=True)
class AlertLimits:
    """Shares, each above the one before, from which on to tell: a work centre's load over its capacity, and a
    warehouse's volume in use. Overtime carries a centre to `high`; beyond `extreme` only others can do the work."""

    full: float = 1.0
    high: float = 1.1
    extreme: float = 1.3
    warehouse_warning: float = 0.90
    warehouse_critical: float = 0.95


USUAL_LIMITS = AlertLimits()


def alerts(
    orders: pl.DataFrame,
    capacity: pl.DataFrame,
    stock_parameters: pl.DataFrame,
    warnings: pl.DataFrame,
    open_orders: pl.DataFrame,
    today: date,
    warehouses: pl.DataFrame | None = None,
    limits: AlertLimits = USUAL_LIMITS,
) -> pl.DataFrame:
    """alerts(kind, subject, severity, message, item?, supplier?, work_centre?, day?), each subject of a kind once.

    The frames are those of a plan, the open orders (number, kind, item, supplier, quantity, due_date) it was made from,
    and what lies in warehouses (warehouse, capacity_m3?, used_m3, unmeasured: items in it whose volume nobody knows).
    """
    found = [
        _stock_outs(orders, stock_parameters),
        _late_releases(orders),
        _overdue_orders(open_orders, today),
        _overloads(capacity, limits),
        *([] if warehouses is None else [_full_warehouses(warehouses, limits)]),
        _bad_data(warnings),
    ]
    return pl.concat([_conformed(frame) for frame in found])


def _stock_outs(orders: pl.DataFrame, stock_parameters: pl.DataFrame) -> pl.DataFrame:
    """Items whose critical orders come too late: one alert an item."""
    critical = orders.filter(pl.col("priority") == "critical").group_by("item", maintain_order=True)
    first = critical.agg(pl.col("quantity").sum(), pl.col("supplier").first(), pl.col("release_date").min())
    reach = stock_parameters.select("item", "stock_out_on", "available")
    found = first.join(reach, on="item", how="left", maintain_order="left")
    when = (
        pl.when(pl.col("available") < 0)
        .then(pl.lit("stock is below zero"))
        .otherwise(
            pl.format("stock runs out on {} before a new order can arrive", pl.col("stock_out_on").cast(pl.String))
        )
    )
    return found.select(
        kind=pl.lit("stock_out"),
        subject="item",
        severity=pl.lit("critical"),
        message=pl.format("{}: {}", "item", when.fill_null(pl.lit("stock runs out before a new order can arrive"))),
        item="item",
        supplier="supplier",
        day="stock_out_on",
    )


def _late_releases(orders: pl.DataFrame) -> pl.DataFrame:
    """Items whose orders should have gone out before today, as far as they are not critical: one alert an item."""
    late = orders.filter((pl.col("past_due_days") > 0) & (pl.col("priority") != "critical"))
    worst = late.group_by("item", maintain_order=True).agg(
        pl.len().alias("count"), pl.col("past_due_days").max(), pl.col("supplier").first(), pl.col("due_date").min()
    )
    return worst.select(
        kind=pl.lit("late_release"),
        subject="item",
        severity=pl.lit("warning"),
        message=pl.format(
            "{}: {} planned orders should have gone out up to {} working days ago", "item", "count", "past_due_days"
        ),
        item="item",
        supplier="supplier",
        day="due_date",
    )


def _overdue_orders(open_orders: pl.DataFrame, today: date) -> pl.DataFrame:
    """Placed orders whose day has passed."""
    late = open_orders.filter(pl.col("due_date") < today).unique(["number", "item"], keep="first", maintain_order=True)
    days = (pl.lit(today) - pl.col("due_date")).dt.total_days()
    severity = pl.when(days > LONG_OVERDUE_DAYS).then(pl.lit("warning")).otherwise(pl.lit("info"))
    return late.select(
        kind=pl.lit("overdue_order"),
        subject=pl.format("{} {}", "number", "item"),
        severity=severity,
        message=pl.format(
            "{} order {} of {} {} is {} days overdue", "kind", "number", _amount("quantity"), "item", days
        ),
        item="item",
        supplier="supplier",
        day="due_date",
    )


def _overloads(capacity: pl.DataFrame, limits: AlertLimits) -> pl.DataFrame:
    """Weeks in which a work centre has more to do than it can, or work and no hours at all."""
    share = pl.col("load_hours") / pl.col("capacity_hours")
    idle = pl.col("capacity_hours") <= 0
    over = capacity.filter(pl.when(idle).then(pl.col("load_hours") > 0).otherwise(share > limits.full))
    severity = (
        pl.when(idle | (share > limits.extreme))
        .then(pl.lit("critical"))
        .when(share > limits.high)
        .then(pl.lit("warning"))
        .otherwise(pl.lit("info"))
    )
    percent = pl.when(~idle).then(share * 100).round(0).cast(pl.Int64)
    load = pl.when(idle).then(pl.lit("no capacity")).otherwise(pl.format("{} % of capacity", percent))
    week = pl.col("week").cast(pl.String)
    return over.select(
        kind=pl.lit("overload"),
        subject=pl.format("{} {}", "work_centre", week),
        severity=severity,
        message=pl.format(
            "{}: {} hours planned ({}) in the week of {}", "work_centre", _amount("load_hours"), load, week
        ),
        work_centre="work_centre",
        day="week",
    )


def _full_warehouses(warehouses: pl.DataFrame, limits: AlertLimits) -> pl.DataFrame:
    """Warehouses in which little or no room is left; of those without a known capacity nothing can be said."""
    share = pl.col("used_m3") / pl.col("capacity_m3")
    full = warehouses.filter((pl.col("capacity_m3") > 0) & (share > limits.warehouse_warning))
    severity = pl.when(share > limits.warehouse_critical).then(pl.lit("critical")).otherwise(pl.lit("warning"))
    unmeasured = (
        pl.when(pl.col("unmeasured") > 0)
        .then(pl.format(", {} items of unknown volume not counted", "unmeasured"))
        .otherwise(pl.lit(""))
    )
    return full.select(
        kind=pl.lit("warehouse"),
        subject="warehouse",
        severity=severity,
        message=pl.format(
            "{}: {} of {} m³ in use ({} %){}",
            "warehouse",
            _amount("used_m3"),
            _amount("capacity_m3"),
            (share * 100).round(0).cast(pl.Int64),
            unmeasured,
        ),
    )


def _bad_data(warnings: pl.DataFrame) -> pl.DataFrame:
    """What was wrong in the data, one alert a field: each item of it is in the plan's own list."""
    fields = warnings.group_by("field", maintain_order=True).agg(
        pl.col("item").n_unique().alias("count"), pl.col("item").first(), pl.col("message").first()
    )
    return fields.select(
        kind=pl.lit("data"),
        subject="field",
        severity=pl.lit("info"),
        message=pl.format("{}: {} items, such as {}: {}", "field", "count", "item", "message"),
    )


def _amount(column: str) -> pl.Expr:
    return pl.col(column).round(2).cast(pl.String).str.strip_suffix(".0")


def _conformed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in COLUMNS.items()
    )
