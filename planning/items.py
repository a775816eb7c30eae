"""The item master as arrays, and the way from item codes to item rows."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from planning.arrays import BoolArray, FloatArray, IntArray
from planning.inputs import Findings


@dataclass(frozen=True)
class ItemTable:
    """Items in the order of their frame, arrays [items]; NaN where a value is not given or was refused."""

    codes: pl.Series
    kind: pl.Series
    active: BoolArray
    cost: FloatArray
    lead_time: FloatArray
    minimum: FloatArray
    multiple: FloatArray
    safety_stock: FloatArray
    service_level: FloatArray

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.codes)

    @cached_property
    def _rows(self) -> pl.DataFrame:
        return pl.DataFrame({"code": self.codes, "row": pl.Series(np.arange(self.count, dtype=np.int64))})

    def locate(self, frame: pl.DataFrame, column: str, source: str, findings: Findings) -> pl.DataFrame:
        """The frame with a column `row`, without the lines of unknown items, which are named under `source`."""
        found = frame.join(self._rows, left_on=column, right_on="code", how="left", maintain_order="left")
        unknown = found.filter(pl.col("row").is_null())
        findings.name(unknown[column], source, f"not in the item master: left out of {source}")
        return found.filter(pl.col("row").is_not_null())

    def code_list(self, rows: IntArray) -> pl.Series:
        """Codes of item rows."""
        return self.codes.gather(rows)


def read_items(items: pl.DataFrame, findings: Findings) -> ItemTable:
    """The item table of a conformed frame; refused values and repeated codes are named, the first row of a code holds.

    An item without the flag `active` is active.
    """
    findings.name(items.filter(~pl.col("code").is_first_distinct())["code"], "code", "more than once: the first holds")
    frame = items.filter(pl.col("code").is_not_null()).unique("code", keep="first", maintain_order=True)
    codes = frame["code"]
    return ItemTable(
        codes=codes,
        kind=frame["kind"].fill_null(""),
        active=frame["active"].fill_null(True).to_numpy(),
        cost=to_floats(frame["cost"]),
        lead_time=_at_least_zero(codes, to_floats(frame["lead_time_days"]), "lead_time_days", findings),
        minimum=_at_least_zero(codes, to_floats(frame["min_order_qty"]), "min_order_qty", findings),
        multiple=above_zero(codes, to_floats(frame["order_multiple"]), "order_multiple", findings),
        safety_stock=_at_least_zero(codes, to_floats(frame["safety_stock"]), "safety_stock", findings),
        service_level=_service_levels(codes, to_floats(frame["service_level"]), findings),
    )


def to_floats(column: pl.Series) -> FloatArray:
    """A numeric column as float64, NaN for null and for infinite values."""
    values: FloatArray = column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def above_zero(codes: pl.Series, values: FloatArray, field_name: str, findings: Findings) -> FloatArray:
    """Values with those at or below 0 named and made NaN."""
    refused = values <= 0
    findings.name(codes.filter(pl.Series(refused)), field_name, "zero or negative: ignored")
    return np.where(refused, np.nan, values)


def _at_least_zero(codes: pl.Series, values: FloatArray, field_name: str, findings: Findings) -> FloatArray:
    """Values with those below 0 named and made NaN."""
    refused = values < 0
    findings.name(codes.filter(pl.Series(refused)), field_name, "negative: ignored")
    return np.where(refused, np.nan, values)


def _service_levels(codes: pl.Series, values: FloatArray, findings: Findings) -> FloatArray:
    """Service levels with those outside (0, 1) named and made NaN."""
    refused = (values <= 0) | (values >= 1)
    findings.name(codes.filter(pl.Series(refused)), "service_level", "not between 0 and 1: ignored")
    return np.where(refused, np.nan, values)
