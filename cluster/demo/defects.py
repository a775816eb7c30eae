"""A handful of broken rows, as real exports have them, so that the report of rejected rows has something to show."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from cluster.demo.export import Export, Exports

Row = dict[str, str | None]
EXACT_DUPLICATE = "exact duplicate"

_OLD_CODES = ("FG-99010", "FG-99025", "SP-OLD-4", "DELIVERY", "SAMPLE")
_NO_NUMBERS = ("12 pcs", "n/a", "#REF!", "approx. 5")


@dataclass(frozen=True, slots=True)
class _Defect:
    """Copies of sound rows with something wrong in them: `count` in all files of a mapping together."""

    mapping: str
    cause: str
    count: int
    spoilt: Callable[[Row, int], Row]


def _put(column: str, *texts: str | None) -> Callable[[Row, int], Row]:
    """Writes one of the texts, in turn, into a column."""
    return lambda row, number: {**row, column: texts[number % len(texts)]}


def _negate(column: str) -> Callable[[Row, int], Row]:
    return lambda row, _: {**row, column: f"-{row[column]}"}


def _same(row: Row, _number: int) -> Row:
    return dict(row)


_DEFECTS = (
    _Defect("erp_items", "unknown kind", 1, lambda row, _: {**row, "code": "FG-99990", "kind": "tool"}),
    _Defect("erp_items", "text in a number", 1, lambda row, _: {**row, "code": "RM-99995", "cost": "on request"}),
    _Defect("erp_supplier_terms", "unknown supplier", 1, _put("supplier", "V-99990")),
    _Defect("erp_bom_lines", "unknown component", 3, _put("component", "CP-OLD-7", "RM-OLD-31", "CP-OLD-12")),
    _Defect("erp_bom_lines", "zero quantity", 1, _put("quantity_per", "0")),
    _Defect("erp_stock", "unknown item", 3, _put("Item No.", "FG-99010", "SCRAP", "CP-OLD-7")),
    _Defect("erp_stock", "text in a number", 1, _put("Qty on Hand", "recount")),
    _Defect("erp_open_orders", "unknown item", 1, _put("Item No.", "CP-OLD-12")),
    _Defect("erp_open_orders", "zero quantity", 1, _put("Open Qty", "0")),
    _Defect("erp_firm_orders", "missing date", 1, lambda row, _: {**row, "line": "90", "due_date": None}),
    _Defect("erp_firm_orders", "unknown item", 1, lambda row, _: {**row, "line": "95", "item": "SAMPLE"}),
    _Defect("erp_routings", "unknown work centre", 1, _put("work_centre", "WC-OLD")),
    _Defect("erp_demand", "unknown item", 11, _put("item", *_OLD_CODES)),
    _Defect("erp_demand", "negative quantity", 8, _negate("quantity")),
    _Defect("erp_demand", "missing date", 6, _put("day", None)),
    _Defect("erp_demand", "text in a number", 6, _put("quantity", *_NO_NUMBERS)),
    _Defect("erp_demand", EXACT_DUPLICATE, 8, _same),
)


def spoil(rng: np.random.Generator, exports: Exports) -> Exports:
    """The exports with defects spread in; every sound row stays where it is, in order.

    Files of one mapping share its defects in turn, the last (the newest) first. A file without rows gets none.
    """
    spoilt = []
    for export in exports:
        siblings = [other.file_name for other in reversed(exports) if other.mapping == export.mapping]
        place = siblings.index(export.file_name)
        counts = {
            defect: len(range(place, defect.count, len(siblings)))
            for defect in _DEFECTS
            if defect.mapping == export.mapping
        }
        spoilt.append(_spoil_one(rng, export, {defect: count for defect, count in counts.items() if count}))
    return spoilt


def _spoil_one(rng: np.random.Generator, export: Export, counts: dict[_Defect, int]) -> Export:
    frame = export.frame
    wanted = sum(counts.values())
    if not wanted or frame.height < wanted:
        return export
    sources = rng.choice(frame.height, wanted, replace=False).tolist()
    rows: list[Row] = []
    for defect, count in counts.items():
        rows += [defect.spoilt(frame.row(sources.pop(), named=True), number) for number in range(count)]
    broken = pl.DataFrame(rows, schema=frame.schema)
    # between sound rows, never before the first: a reader guesses a column's type from the top of a file
    places = np.concatenate([np.arange(frame.height), rng.integers(frame.height, size=wanted)])
    mixed = pl.concat([frame, broken])[np.argsort(places, kind="stable")]
    return replace(export, frame=mixed, defects={defect.cause: count for defect, count in counts.items()})
