"""How urgent a planned order is, and the need that causes it (single-level pegging)."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import polars as pl

from planning.arrays import BoolArray, FloatArray, IntArray
from planning.bom import Structure
from planning.calendar import Calendar
from planning.mrp import MrpRecords


class Priority(IntEnum):
    """Rank of urgency; the lowest is the most urgent."""

    CRITICAL = 1
    HIGH = 2
    MEDIUM = 3
    LOW = 4


PRIORITY_NAMES = pl.Series([priority.name.lower() for priority in Priority])


@dataclass(frozen=True)
class PlannedOrders:
    """One entry per planned order receipt: bucket of the need, item row, quantity; all [orders]."""

    bucket: IntArray
    row: IntArray
    quantity: FloatArray


def classify(
    orders: PlannedOrders,
    records: MrpRecords,
    scheduled_receipts: FloatArray,
    available: FloatArray,
    reorder_point: FloatArray,
    firm_buckets: int,
) -> IntArray:
    """Priority of each order, [orders].

    Measured on the stock there would be without any planned order. An order that could not arrive by its need if it
    went out today (or is needed today) is critical where stock is below 0 now or falls below 0 before a new order could
    arrive, else high: stock is below safety stock by then. An order in time is medium where stock falls below the
    reorder point in the horizon and the order has to go out within the first `firm_buckets` buckets, else low.
    """
    unreplenished = available + np.cumsum(scheduled_receipts - records.gross, axis=0)
    lowest = np.minimum.accumulate(unreplenished, axis=0)
    last_unreachable = np.clip(records.lead_time - 1, 0, len(lowest) - 1)
    lowest_unreachable = lowest[last_unreachable, np.arange(len(available))]
    # with no lead time an order needed today arrives today: only stock already below 0 is critical then
    stock_out = (available < 0) | ((lowest_unreachable < 0) & (records.lead_time > 0))
    below_point = lowest[-1] < reorder_point
    lead_time = records.lead_time[orders.row]
    late = (orders.bucket < lead_time) | (orders.bucket == 0)
    soon = orders.bucket - lead_time < firm_buckets
    in_time = np.where(below_point[orders.row] & soon, Priority.MEDIUM, Priority.LOW)
    return np.where(late, np.where(stock_out[orders.row], Priority.CRITICAL, Priority.HIGH), in_time).astype(np.int64)


def causes(
    orders: PlannedOrders,
    records: MrpRecords,
    structure: Structure,
    independent: FloatArray,
    scheduled_receipts: FloatArray,
    available: FloatArray,
    overdue: FloatArray,
    overdue_days: IntArray,
    codes: pl.Series,
    calendar: Calendar,
) -> pl.Series:
    """A short text per order naming the greatest need in the bucket that the order was made for.

    Customers' demand, the order of a parent, or (in bucket 0) the deficit of stock itself.
    """
    bucket, row = orders.bucket, orders.row
    line = records.main_line[bucket, row].astype(np.int64)
    parent = np.where(line >= 0, structure.parent[line] if len(structure.parent) else 0, 0)
    rate = np.where(line >= 0, structure.rate[line] if len(structure.rate) else 0.0, 0.0)
    from_parent = np.where(line >= 0, records.releases[bucket, parent] * rate, 0.0)
    from_customers = independent[bucket, row]
    deficit = records.safety_stock - available - scheduled_receipts[0]
    from_stock = np.where(bucket == 0, deficit[row], 0.0)

    weekly = _customer_texts(calendar)
    stock_text, negative_text, overdue_text = range(len(weekly), len(weekly) + 3)
    parental, which = _parent_texts(bucket, parent, line >= 0, records, overdue_days, codes, calendar)
    # one number per order into one table of texts: far less work than building a text per order
    text = calendar.week_of_bucket[bucket]
    is_overdue = (bucket == 0) & (overdue[row] > 0) & (2 * overdue[row] >= from_customers)
    text = np.where(is_overdue, overdue_text, text)
    text = np.where((line >= 0) & (from_parent >= from_customers), overdue_text + 1 + which, text)
    greatest_need = np.maximum(from_parent, from_customers)
    is_stock = (from_stock > greatest_need) | (greatest_need <= 0)
    text = np.where(is_stock, stock_text, text)
    text = np.where(is_stock & (-available[row] > records.safety_stock[row]), negative_text, text)
    fixed = pl.Series(["safety stock", "stock below zero", "overdue customer orders"])
    return pl.concat([weekly, fixed, parental]).gather(text).alias("cause")


def _customer_texts(calendar: Calendar) -> pl.Series:
    """The text of customers' demand per week of the horizon."""
    weeks = pl.Series(calendar.week_starts).cast(pl.Date).dt.to_string("%Y-%m-%d")
    return pl.select("customer demand in week of " + weeks).to_series()


def _parent_texts(
    bucket: IntArray,
    parent: IntArray,
    is_dependent: BoolArray,
    records: MrpRecords,
    overdue_days: IntArray,
    codes: pl.Series,
    calendar: Calendar,
) -> tuple[pl.Series, IntArray]:
    """The text of each parent's releases that cause an order, once per release, and which one each order has.

    Releases of bucket 0 may be several past-due orders at once: their total, with the first one's due date.
    """
    buckets, count = records.releases.shape
    cell = bucket * count + parent
    used = np.zeros(buckets * count, dtype=np.bool_)
    used[cell[is_dependent]] = True
    cells = np.flatnonzero(used)
    number = np.zeros(buckets * count, dtype=np.int64)
    number[cells] = np.arange(len(cells))
    released, row = np.divmod(cells, count)
    first_need = np.argmax(records.receipts > 0, axis=0)
    first_need = np.where(first_need == 0, -overdue_days, first_need)
    due = np.where(released == 0, first_need[row], released + records.lead_time[row])
    frame = pl.DataFrame(
        {
            "quantity": pl.Series(records.releases[released, row]).round(2).cast(pl.String).str.strip_suffix(".0"),
            "code": codes.gather(row),
            "due": pl.Series(calendar.day_of(due)).cast(pl.Date).dt.to_string("%Y-%m-%d"),
        }
    )
    text = frame.select(pl.format("{} of {} due {}", "quantity", "code", "due")).to_series()
    return text, np.where(is_dependent, number[cell], 0)
