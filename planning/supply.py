"""Stock, scheduled receipts and replenishment terms: what there is, what is on the way, and how more is got."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from planning.arrays import BoolArray, FloatArray, IntArray, totals_by_cell, totals_by_row
from planning.calendar import Calendar, in_bucket
from planning.inputs import Findings
from planning.items import ItemTable, above_zero, to_floats
from planning.mrp import Terms
from planning.safety_stock import SafetyStockPolicy
from planning.supplier import SupplierTerms, choose_terms, first_terms


def read_available(stock: pl.DataFrame, items: ItemTable, findings: Findings) -> FloatArray:
    """Available stock over all locations, on hand - reserved - quarantined, [items]; below 0 is named and kept."""
    on_hand, reserved, quarantined = _stock_totals(stock, items, findings, "on_hand", "reserved", "quarantined")
    available = on_hand - reserved - quarantined
    findings.name(items.codes.filter(pl.Series(on_hand < 0)), "on_hand", "negative stock")
    short = (available < 0) & (on_hand >= 0)
    findings.name(items.codes.filter(pl.Series(short)), "reserved", "more reserved or quarantined than on hand")
    return available


def on_hand_stock(stock: pl.DataFrame, items: ItemTable, findings: Findings) -> FloatArray:
    """Stock on hand over all locations, [items]."""
    return _stock_totals(stock, items, findings, "on_hand")[0]


def _stock_totals(stock: pl.DataFrame, items: ItemTable, findings: Findings, *columns: str) -> list[FloatArray]:
    found = items.locate(stock, "item", "stock", findings)
    row = found["row"].to_numpy()
    return [totals_by_row(row, np.nan_to_num(to_floats(found[column])), items.count) for column in columns]


def read_dated(frame: pl.DataFrame, items: ItemTable, source: str, findings: Findings) -> pl.DataFrame:
    """Lines of known items with a date and a quantity above 0; others are named, a quantity of 0 is left out silently.

    The frame has `item`, `quantity` and `due_date`; `row` is added.
    """
    found = items.locate(frame, "item", source, findings)
    undated = pl.col("due_date").is_null()
    unsound = ~(pl.col("quantity").is_finite() & (pl.col("quantity") >= 0)).fill_null(False)
    findings.name(found.filter(undated)["item"], source, "no due date: left out")
    findings.name(found.filter(unsound)["item"], source, "quantity missing or negative: left out")
    return found.filter(~undated & ~unsound & (pl.col("quantity") > 0))


def scheduled_receipts(open_orders: pl.DataFrame, items: ItemTable, calendar: Calendar) -> FloatArray:
    """Open orders at their due date, [buckets, items]: past-due ones count in bucket 0, those after the horizon not."""
    index = calendar.index_of_receipt(open_orders["due_date"].to_numpy())
    inside = index < calendar.buckets
    return totals_by_cell(
        in_bucket(index[inside]),
        open_orders["row"].to_numpy()[inside],
        open_orders["quantity"].to_numpy()[inside],
        calendar.buckets,
        items.count,
    )


def read_supplier_terms(
    supplier_terms: pl.DataFrame, suppliers: pl.DataFrame, items: ItemTable, findings: Findings
) -> SupplierTerms:
    """Terms of active suppliers by item and priority; what a term leaves open comes from the item, then the supplier.

    A term of an unknown supplier is named and left out. A term without priority comes last.
    """
    known = suppliers.select(
        supplier="code", is_active=pl.col("active").fill_null(True), usual_lead_time="lead_time_days"
    ).unique("supplier", keep="first", maintain_order=True)
    found = items.locate(supplier_terms, "item", "supplier_terms", findings)
    found = found.join(known, on="supplier", how="left", maintain_order="left")
    findings.name(found.filter(pl.col("is_active").is_null())["item"], "supplier_terms", "unknown supplier: left out")
    found = found.filter(pl.col("is_active").fill_null(False)).sort(
        "row", "priority", "supplier", nulls_last=True, maintain_order=True
    )
    row, codes = found["row"].to_numpy(), found["item"]
    lead_time = to_floats(found["lead_time_days"])
    minimum = to_floats(found["min_order_qty"])
    multiple = above_zero(codes, to_floats(found["order_multiple"]), "order_multiple", findings)
    price = to_floats(found["price"])
    usual = to_floats(found["usual_lead_time"])
    return SupplierTerms(
        row=row,
        supplier=found["supplier"],
        price=_first_known(price, items.cost[row]),
        minimum=_first_known(np.where(minimum < 0, np.nan, minimum), items.minimum[row], 0.0),
        multiple=_first_known(multiple, items.multiple[row], 0.0),
        lead_time=_first_known(np.where(lead_time < 0, np.nan, lead_time), items.lead_time[row], usual),
    )


@dataclass(frozen=True)
class Sourcing:
    """Gives the items of a level their terms; all arrays [items].

    `chosen` is written as the levels go by: the index of the supplier term that an item is bought by, -1 for none.
    """

    items: ItemTable
    produced: BoolArray
    terms: SupplierTerms
    safety_stock: SafetyStockPolicy
    available: FloatArray
    on_order: FloatArray
    chosen: IntArray = field(init=False)

    def __post_init__(self) -> None:
        """Nobody has been chosen yet."""
        object.__setattr__(self, "chosen", np.full(self.items.count, -1, dtype=np.int64))

    def __call__(self, rows: IntArray, gross: FloatArray) -> Terms:
        """Terms of item rows; the need by which a supplier is chosen is what the horizon asks beyond stock and orders.

        The safety stock depends on the lead time and so on the supplier: the first supplier's stands in for the choice.
        """
        first = np.where(self.produced[rows], -1, first_terms(self.terms, rows))
        buffer = self.safety_stock.of(rows, self._lead_time(rows, first))
        need = np.maximum(gross.sum(axis=0) + buffer - self.available[rows] - self.on_order[rows], 0.0)
        chosen = np.where(self.produced[rows], -1, choose_terms(self.terms, rows, need))
        self.chosen[rows] = chosen
        lead_time = self._lead_time(rows, chosen)
        return Terms(
            lead_time=lead_time,
            minimum=np.nan_to_num(self._term_or_item(self.terms.minimum, self.items.minimum, rows, chosen)),
            multiple=np.nan_to_num(self._term_or_item(self.terms.multiple, self.items.multiple, rows, chosen)),
            safety_stock=self.safety_stock.of(rows, lead_time),
        )

    def known_lead_time(self) -> FloatArray:
        """Lead time of every item by its chosen term, NaN where nobody gives one, [items]."""
        rows = np.arange(self.items.count)
        return self._term_or_item(self.terms.lead_time, self.items.lead_time, rows, self.chosen)

    def unit_cost(self) -> FloatArray:
        """Price of the chosen term, else the item's cost, NaN where neither is known, [items]."""
        rows = np.arange(self.items.count)
        return self._term_or_item(self.terms.price, self.items.cost, rows, self.chosen)

    def _lead_time(self, rows: IntArray, chosen: IntArray) -> IntArray:
        """Lead time to plan with: an unknown one counts as 0 (and is named in the plan's warnings)."""
        known = self._term_or_item(self.terms.lead_time, self.items.lead_time, rows, chosen)
        return np.nan_to_num(known).astype(np.int64)

    @staticmethod
    def _term_or_item(of_term: FloatArray, of_item: FloatArray, rows: IntArray, chosen: IntArray) -> FloatArray:
        """The chosen term's value, the item's where no term is chosen, [rows]."""
        value = of_item[rows]
        bought = chosen >= 0
        value[bought] = of_term[chosen[bought]]
        return value


def _first_known(first: FloatArray, *others: FloatArray | float) -> FloatArray:
    """The first value that is not NaN."""
    value = first
    for other in others:
        value = np.where(np.isnan(value), other, value)
    return value
