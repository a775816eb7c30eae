"""From MRP records to the plan's frames: orders, weekly records, stock parameters."""

import numpy as np
import polars as pl

from planning.arrays import BoolArray, FloatArray, IntArray
from planning.calendar import Calendar
from planning.items import ItemTable
from planning.mrp import MrpRecords
from planning.priority import PRIORITY_NAMES, PlannedOrders

_LATEST_RANKED = 4095  # working days late up to which lateness orders the list


def planned_orders(records: MrpRecords) -> PlannedOrders:
    """Every planned order receipt as one order."""
    bucket, row = np.nonzero(records.receipts)
    return PlannedOrders(bucket.astype(np.int64), row.astype(np.int64), records.receipts[bucket, row])


def by_urgency(
    orders: PlannedOrders, rank: IntArray, lead_time: IntArray, late_days: IntArray, calendar: Calendar
) -> IntArray:
    """Order in which orders are listed: priority, then days past due, then release, need, item; [orders].

    Packed into one integer key per order, which sorts several times faster than five columns.
    """
    buckets, count = calendar.buckets, len(lead_time)
    release = np.maximum(orders.bucket - lead_time[orders.row], 0)
    lateness = _LATEST_RANKED - np.minimum(late_days, _LATEST_RANKED)
    key = ((rank * (_LATEST_RANKED + 1) + lateness) * buckets + release) * buckets + orders.bucket
    return np.argsort(key * count + orders.row)


def order_frame(
    orders: PlannedOrders,
    rank: IntArray,
    past_due_days: IntArray,
    overdue_days: IntArray,
    cause: pl.Series,
    records: MrpRecords,
    items: ItemTable,
    produced: BoolArray,
    supplier: pl.Series,
    unit_cost: FloatArray,
    calendar: Calendar,
) -> pl.DataFrame:
    """orders(kind, item, supplier, quantity, release_date, due_date, priority, ...), in the order given.

    The due date stays the day of the need, before today for orders that serve overdue customers' orders; the release
    date is never before today. `supplier` is [items], `past_due_days` and `rank` [orders], `overdue_days` [items].
    """
    row = orders.row
    release = np.maximum(orders.bucket - records.lead_time[row], 0)
    due = calendar.day_of(orders.bucket - np.where(orders.bucket == 0, overdue_days[row], 0))
    cost = pl.Series(unit_cost[row], nan_to_null=True)
    return pl.DataFrame(
        {
            "kind": pl.Series(["purchase", "production"]).gather(produced[row].astype(np.int64)),
            "item": items.codes.gather(row),
            "supplier": supplier.gather(row),
            "quantity": orders.quantity,
            "release_date": pl.Series(calendar.days[release]).cast(pl.Date),
            "due_date": pl.Series(due).cast(pl.Date),
            "priority": PRIORITY_NAMES.gather(rank - 1),
            "priority_rank": rank,
            "past_due_days": past_due_days,
            "unit_cost": cost,
            "value": cost * pl.Series(orders.quantity),
            "cause": cause,
        }
    )


def weekly_records(
    records: MrpRecords, scheduled_receipts: FloatArray, items: ItemTable, calendar: Calendar
) -> pl.DataFrame:
    """records(item, week, gross, scheduled_receipts, projected_on_hand, net, planned_receipts, planned_releases).

    One row per item and week of the horizon; projected on hand is that at the end of the week.
    """
    weeks, count = calendar.horizon_weeks, items.count
    open_weeks, starts = np.unique(calendar.week_of_bucket, return_index=True)

    def weekly(matrix: FloatArray) -> FloatArray:
        sums = np.zeros((weeks, count))
        sums[open_weeks] = np.add.reduceat(matrix, starts, axis=0)
        return sums.T.ravel()

    ends = np.searchsorted(calendar.week_of_bucket, np.arange(weeks), side="right") - 1
    return pl.DataFrame(
        {
            "item": items.codes.gather(np.repeat(np.arange(count), weeks)),
            "week": pl.Series(np.tile(calendar.week_starts, count)).cast(pl.Date),
            "gross": weekly(records.gross),
            "scheduled_receipts": weekly(scheduled_receipts),
            "projected_on_hand": records.projected_on_hand[ends].T.ravel(),
            "net": weekly(records.net),
            "planned_receipts": weekly(records.receipts),
            "planned_releases": weekly(records.releases),
        }
    )


def summarise(orders: pl.DataFrame, warnings: pl.DataFrame, stock_parameters: pl.DataFrame) -> dict[str, float | int]:
    """The plan in figures: orders by kind and priority, the value of purchases and of stock, short items, warnings."""
    kinds = dict(orders["kind"].value_counts().iter_rows())
    priorities = dict(orders["priority"].value_counts().iter_rows())
    purchases = orders.filter(pl.col("kind") == "purchase")
    return {
        "orders": orders.height,
        "purchase_orders": kinds.get("purchase", 0),
        "production_orders": kinds.get("production", 0),
        "purchase_value": float(purchases["value"].sum()),
        **{name: priorities.get(name, 0) for name in PRIORITY_NAMES},
        "past_due": int((orders["past_due_days"] > 0).sum()),
        "stock_value": float(stock_parameters["stock_value"].sum()),
        "stock_outs": stock_parameters["stock_out_on"].count(),
        "below_safety_stock": int((stock_parameters["available"] < stock_parameters["safety_stock"]).sum()),
        "warnings": warnings.height,
    }
