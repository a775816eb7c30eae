"""Capacity requirements planning: load against capacity per work centre and week."""

import numpy as np
import polars as pl

from planning.arrays import FloatArray, IntArray
from planning.calendar import Calendar
from planning.inputs import Findings
from planning.items import ItemTable


def capacity_load(
    row: IntArray,
    week: IntArray,
    quantity: FloatArray,
    routings: pl.DataFrame,
    work_centres: pl.DataFrame,
    items: ItemTable,
    calendar: Calendar,
    findings: Findings,
) -> pl.DataFrame:
    """capacity(work_centre, week, load_hours, capacity_hours, load_share), every centre in every week.

    `row`, `week` (of the horizon), `quantity` are production orders, [orders]. Each operation loads its work centre
    with setup + quantity * unit time / efficiency in the order's week; capacity is hours per day on the working days
    that are left of the week. `load_share` is null where there is no capacity. Load is aggregated per item and week
    before operations are joined, so that the cost follows items, not orders.
    """
    centres = _sound_centres(work_centres, findings)
    operations = _sound_operations(routings, centres, items, findings)
    per_week = (
        pl.DataFrame({"row": row, "week_index": week, "quantity": quantity})
        .group_by("row", "week_index")
        .agg(pl.len().alias("orders"), pl.col("quantity").sum())
    )
    hours = pl.col("orders") * pl.col("setup_hours") + pl.col("quantity") * pl.col("unit_hours") / pl.col("efficiency")
    load = (
        per_week.join(operations, on="row").group_by("work_centre", "week_index").agg(hours.sum().alias("load_hours"))
    )
    weeks = pl.DataFrame(
        {
            "week_index": np.arange(calendar.horizon_weeks, dtype=np.int64),
            "week": pl.Series(calendar.week_starts).cast(pl.Date),
            "days": calendar.days_left_in_week,
        }
    )
    grid = centres.join(weeks, how="cross").join(load, on=["work_centre", "week_index"], how="left")
    capacity = pl.col("hours_per_day") * pl.col("days")
    return (
        grid.with_columns(pl.col("load_hours").fill_null(0.0), capacity_hours=capacity)
        .with_columns(
            load_share=pl.when(pl.col("capacity_hours") > 0).then(pl.col("load_hours") / pl.col("capacity_hours"))
        )
        .sort("work_centre", "week")
        .select("work_centre", "week", "load_hours", "capacity_hours", "load_share")
    )


def _sound_centres(work_centres: pl.DataFrame, findings: Findings) -> pl.DataFrame:
    """Work centres by code with usable hours and efficiency; what is not usable is named."""
    efficiency = pl.col("efficiency").fill_null(1.0)
    bad = work_centres.filter(~(efficiency.is_finite() & (efficiency > 0)))["code"]
    findings.name(bad, "efficiency", "not above 0: work centre planned at 100 %")
    hours = pl.col("hours_per_day").fill_null(0.0)
    return work_centres.unique("code", keep="first", maintain_order=True).select(
        work_centre="code",
        hours_per_day=pl.when(hours.is_finite() & (hours > 0)).then(hours).otherwise(0.0),
        efficiency=pl.when(efficiency.is_finite() & (efficiency > 0)).then(efficiency).otherwise(1.0),
    )


def _sound_operations(
    routings: pl.DataFrame, centres: pl.DataFrame, items: ItemTable, findings: Findings
) -> pl.DataFrame:
    """Operations of known items on known work centres, with the centre's efficiency; others are named."""
    found = items.locate(routings, "item", "routings", findings)
    found = found.join(centres, on="work_centre", how="left", maintain_order="left")
    unknown = found.filter(pl.col("efficiency").is_null())
    findings.name(unknown["item"], "routings", "operation on an unknown work centre: not loaded")
    return found.filter(pl.col("efficiency").is_not_null()).with_columns(
        pl.col("setup_hours").fill_null(0.0), pl.col("unit_hours").fill_null(0.0)
    )
