"""What is stored already, as far as reading a file needs it."""

from collections.abc import Iterable
from copy import copy
from typing import Self

import polars as pl

Codes = Iterable[str] | pl.Series
ITEM_UNITS = {"item": pl.String, "unit": pl.String, "factor": pl.Float64}
SUPPLIER_ITEMS = {"supplier": pl.String, "code": pl.String, "item": pl.String}


class KnownCodes:
    """Codes already in the database, by table: what a row may refer to.

    item_units: ITEM_UNITS, one row for each unit an item can be counted in: `factor` of its own unit is one of that
    unit; its own unit is among them with factor 1. supplier_items: SUPPLIER_ITEMS, suppliers' own codes of items.
    """

    def __init__(self, **codes: Codes) -> None:
        self._codes = codes
        self.item_units = pl.DataFrame(schema=ITEM_UNITS)
        self.supplier_items = pl.DataFrame(schema=SUPPLIER_ITEMS)

    def beside(self, *, item_units: pl.DataFrame | None = None, supplier_items: pl.DataFrame | None = None) -> Self:
        """The same codes, with these frames in place of empty ones."""
        made = copy(self)
        made.item_units = self.item_units if item_units is None else item_units
        made.supplier_items = self.supplier_items if supplier_items is None else supplier_items
        return made

    def after(self, table: str, rows: pl.DataFrame) -> Self:
        """With the units and the suppliers' codes that rows of a table bring once they are stored."""
        if table == "items":
            own = rows.select(item="code", unit="unit", factor=pl.lit(1.0)).drop_nulls()
            return self.beside(item_units=pl.concat([own, self.item_units]))
        if table == "unit_conversions":
            return self.beside(item_units=pl.concat([rows.select(*ITEM_UNITS), self.item_units]))
        if table == "supplier_terms":
            terms = rows.select("supplier", "item", code="supplier_item_code").drop_nulls().select(*SUPPLIER_ITEMS)
            return self.beside(supplier_items=pl.concat([terms, self.supplier_items]))
        return self

    def of(self, table: str) -> pl.Series:
        """The codes of a table such as `items`; none of a table that was not given."""
        codes = self._codes.get(table, ())
        if isinstance(codes, pl.Series):
            return codes.cast(pl.String).unique()
        return pl.Series(sorted(set(codes)), dtype=pl.String)
