"""A column that says in which unit a row's quantities are counted."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from ingestion.column_fit import Candidate, FieldSuggestion
from ingestion.column_values import SAMPLE_ROWS
from ingestion.known import KnownCodes
from ingestion.table import Parsed
from ingestion.targets import TARGETS, Kind

_LEAST_MATCH = 0.8
_COVERED = 0.95
_NAME = "unit_of_measure"


def unit_columns(
    parsed: Parsed,
    table: str,
    found: Sequence[FieldSuggestion],
    candidates: Sequence[Candidate],
    known: KnownCodes,
) -> tuple[dict[str, dict[str, Any]], list[str], list[str]]:
    """(the mapping's own column with the unit, fields that are counted in it, what a person should look at).

    Only where the conversions on record cover the file: elsewhere every row would be rejected, so it is only told.
    """
    fields = TARGETS[table].fields
    counted = [each.field for each in found if fields[each.field].unit_of]
    used = {each.place for each in found}
    named = [
        each
        for each in candidates
        if each.place not in used and (match := each.meanings.get("unit")) is not None and match.score >= _LEAST_MATCH
    ]
    if not counted or not named or "unit" in fields:
        return {}, [], []
    column = max(named, key=lambda each: each.meanings["unit"].score)
    item = next((each for each in found if each.field == fields[counted[0]].unit_of), None)
    share = _covered(parsed, item.place, column.place, known) if item is not None else 0.0
    if share < _COVERED:
        told = (
            f"column {column.header!r} may be the unit of the quantities; the conversions on record know"
            f" {int(share * 100)} % of its rows, so it is not used"
        )
        return {}, [], [told]
    extra = {_NAME: {"names": (column.header,), "type": Kind.CODE}}
    return extra, counted, [f"column {column.header!r}: quantities are converted from this unit to the item's own"]


def _covered(parsed: Parsed, item: int, unit: int, known: KnownCodes) -> float:
    """Share of rows whose item has their unit."""
    pairs = (
        parsed.frame.head(SAMPLE_ROWS)
        .select(item=pl.col(f"c{item}").str.strip_chars(), unit=pl.col(f"c{unit}").str.strip_chars())
        .drop_nulls()
    )
    if pairs.is_empty():
        return 0.0
    return pairs.join(known.item_units.select("item", "unit").unique(), on=["item", "unit"]).height / pairs.height
