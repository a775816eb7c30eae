"""How each item is stocked by a plan, and how far its stock reaches without any planned order."""

import numpy as np
import polars as pl

from planning.arrays import QUANTITY_TOLERANCE, BoolArray, DayArray, FloatArray
from planning.calendar import Calendar
from planning.inputs import Findings, PlanInputs
from planning.items import ItemTable
from planning.mrp import MrpRecords
from planning.supply import Sourcing, on_hand_stock

WORKING_WEEKS_PER_YEAR = 52


def stock_parameters(
    frames: PlanInputs,
    items: ItemTable,
    records: MrpRecords,
    sourcing: Sourcing,
    scheduled_receipts: FloatArray,
    daily_demand: FloatArray,
    reorder_point: FloatArray,
    eoq: FloatArray,
    calendar: Calendar,
) -> pl.DataFrame:
    """stock_parameters(item, abc?, xyz?, demand_class?, service_level?, daily_demand_mean, daily_demand_sd?,
    lead_time_days, safety_stock, reorder_point, eoq?, on_hand, available, coverage_days?, turnover?, stock_out_on?,
    stock_value?), one row an item.

    Demand per working day; `coverage_days` in working days of mean demand, `turnover` a year's demand over stock on
    hand, `stock_out_on` the first day on which stock and open orders do not meet the requirements of the horizon.
    """
    policy, available = sourcing.safety_stock, sourcing.available
    on_hand = on_hand_stock(frames.stock, items, Findings())
    short = first_shortage(available, scheduled_receipts, records.gross, calendar)
    classes = ("abc", "xyz", "demand_class")
    frame = pl.DataFrame(
        {
            "item": items.codes,
            "service_level": _known(policy.service_level),
            "daily_demand_mean": daily_demand,
            "daily_demand_sd": _known(policy.weekly_sd / np.sqrt(calendar.days_per_week)),
            "lead_time_days": records.lead_time,
            "safety_stock": records.safety_stock,
            "reorder_point": reorder_point,
            "eoq": _known(eoq),
            "on_hand": on_hand,
            "available": available,
            "coverage_days": _known(_over(np.maximum(available, 0.0), daily_demand, daily_demand > 0)),
            "turnover": _known(
                _over(daily_demand * calendar.days_per_week * WORKING_WEEKS_PER_YEAR, on_hand, on_hand > 0)
            ),
            "stock_out_on": pl.Series(short).cast(pl.Date),
            "stock_value": _known(on_hand * sourcing.unit_cost()),
        }
    )
    of_series = frames.forecast_series.select("item", *classes).unique("item", keep="first")
    return frame.join(of_series, on="item", how="left", maintain_order="left").select(
        "item", *classes, *(name for name in frame.columns if name != "item")
    )


def first_shortage(
    available: FloatArray, scheduled_receipts: FloatArray, gross: FloatArray, calendar: Calendar
) -> DayArray:
    """The first day on which stock without any planned order falls below 0, [items]; NaT where it never does."""
    short = available + np.cumsum(scheduled_receipts - gross, axis=0) < -QUANTITY_TOLERANCE
    day = calendar.days[np.argmax(short, axis=0)]
    return np.where(short.any(axis=0), day, np.datetime64("NaT", "D"))


def _over(dividend: FloatArray, divisor: FloatArray, defined: BoolArray) -> FloatArray:
    """The quotient where it is defined, NaN elsewhere."""
    return np.where(defined, dividend / np.where(defined, divisor, 1.0), np.nan)


def _known(values: FloatArray) -> pl.Series:
    return pl.Series(values, nan_to_null=True)
