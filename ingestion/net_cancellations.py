"""Daily demand from invoice lines: cancelled orders come off the day they were ordered, real returns do not."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import polars as pl

CANCELLATION_DAYS = 30
_DEMAND_SCHEMA = {"item": pl.String, "day": pl.Date, "quantity": pl.Float64, "revenue": pl.Float64}


@dataclass(slots=True)
class _Sale:
    """A sale line with what is left of it after cancellations."""

    row: int
    day: date
    digits: str
    left: float


def net_cancellations(lines: pl.DataFrame, within_days: int = CANCELLATION_DAYS) -> pl.DataFrame:
    """Demand per item and day (item, day, quantity, revenue; sorted) from sales_lines, in the item's unit and money.

    In time order each negative line is matched to an earlier sale line of the same customer and item with enough left:
    one with an equal quantity left first, then the latest. Matched within `within_days` it is a cancelled order and is
    taken off the sale's date at the sale's price. Matched later or not at all, or without a customer, it is a real
    return and leaves demand alone; a later match still uses up the sale. Days with a sale stay, even at quantity 0, so
    that storing the result corrects what was stored before; days with returns only do not appear.
    Revenue is null for a day on which no line has a price.
    """
    if lines.is_empty():
        return pl.DataFrame(schema=_DEMAND_SCHEMA)
    # Documents are numbered in time order, which orders the lines of one day; C536379 counts as 536379.
    ordered = (
        lines.with_columns(digits=pl.col("document").str.extract(r"([0-9]+)[^0-9]*$", 1).fill_null(""))
        .sort("day", pl.col("digits").str.len_chars(), "digits", "document", "line", maintain_order=True)
        .with_row_index("row")
    )
    cancelled = pl.DataFrame(
        list(_cancelled(ordered, within_days)), schema={"row": pl.UInt32, "off": pl.Float64}, orient="row"
    )
    off = cancelled.group_by("row").agg(pl.col("off").sum())
    sold = (
        ordered.filter(pl.col("quantity") > 0)
        .join(off, on="row", how="left")
        .with_columns(net=pl.col("quantity") - pl.col("off").fill_null(0.0))
        .with_columns(value=pl.col("net") * pl.col("price"))
    )
    return (
        sold.group_by("item", "day")
        .agg(
            quantity=pl.col("net").sum(),
            revenue=pl.when(pl.col("value").is_not_null().any()).then(pl.col("value").sum()),
        )
        .sort("item", "day")
        .cast(_DEMAND_SCHEMA)  # type: ignore[arg-type]
    )


def _cancelled(ordered: pl.DataFrame, within_days: int) -> Iterable[tuple[int, float]]:
    """(row of the sale, quantity taken off) for each cancellation that finds its sale in time.

    Only the lines of customers who sent an item back are looked at one by one.
    """
    pairs = ["customer", "item"]
    negative = ordered.filter((pl.col("quantity") < 0) & pl.col("customer").is_not_null()).select(pairs).unique()
    touched = ordered.join(negative, on=pairs, how="semi").sort("row")
    columns = ("row", "customer", "item", "day", "digits", "quantity")
    sales: dict[tuple[str, str], list[_Sale]] = {}
    waiting: dict[tuple[str, str], list[tuple[int, date, str, float]]] = {}
    for row, customer, item, day, digits, quantity in touched.select(columns).iter_rows():
        key = customer, item
        if quantity > 0:
            sales.setdefault(key, []).append(_Sale(row, day, digits, quantity))
        elif quantity < 0:
            waiting.setdefault(key, []).append((row, day, digits, -quantity))
    for key, returns in waiting.items():
        for _, day, digits, quantity in returns:
            sale = _match(sales.get(key, []), day, digits, quantity)
            if sale is None:
                continue
            sale.left -= quantity
            if (day - sale.day).days <= within_days:
                yield sale.row, quantity


def _match(sales: list[_Sale], day: date, digits: str, quantity: float) -> _Sale | None:
    """The sale a return belongs to: of the earlier ones with enough left, one of equal quantity, else the latest."""
    latest: _Sale | None = None
    for sale in reversed(sales):
        if sale.left < quantity or not _before(sale, day, digits):
            continue
        if sale.left == quantity:
            return sale
        latest = latest or sale
    return latest


def _before(sale: _Sale, day: date, digits: str) -> bool:
    """Whether a sale precedes a return. Within a day the numbers decide, if they are of one series (equal length)."""
    if sale.day != day:
        return sale.day < day
    return len(sale.digits) != len(digits) or sale.digits <= digits
