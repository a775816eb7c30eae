"""The rules rows must meet, as expressions over a whole file. A row is rejected for the first rule it breaks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from ingestion.convert import LINE, text_of
from ingestion.known import KnownCodes
from ingestion.mapping import SUPPLIER_ITEM, Condition, Mapping, RowFilter
from ingestion.resolve import lookup_mark, unit_mark
from ingestion.targets import FIRST_DATE, LAST_DATE, TARGETS, Field, Kind, Target
from ingestion.targets.fields import MAX_ABS_NUMBER, MAX_CODE_CHARS, MAX_TEXT_CHARS

BROKEN = {"line": pl.Int64, "field": pl.String, "reason": pl.String, "parked": pl.Boolean}
"""Rows that break a rule: the first one each. parked: it breaks only such as stored data may come to meet."""
_SHOWN_CHARS = 60
# '#N/A', '#DIV/0!', '#NAME?', also in the languages of Excel ('#NV', '#WERT!'): what stands there instead of a value.
_SHEET_ERROR = r"^#(?:N/?[AV]|DIV/0!|\p{Lu}{3,12}[!?])$"
_EXPECTED = {
    Kind.NUMBER: "not a number",
    Kind.WHOLE: "not a whole number",
    Kind.DATE: "not a date of the expected form",
    Kind.BOOLEAN: "neither yes nor no",
}

__all__ = ["KnownCodes", "split_rows"]


@dataclass(frozen=True, slots=True)
class _Check:
    """One rule: the field at fault, when it is broken (null counts as kept), and the reason as text.

    parks: a row that breaks no other rule than such ones may be taken later, as it is.
    """

    field: str
    broken: pl.Expr
    reason: pl.Expr
    parks: bool = False


def split_rows(frame: pl.DataFrame, mapping: Mapping, known: KnownCodes) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows that meet every rule, the others as BROKEN), both in file order."""
    target = TARGETS[mapping.target]
    # Those that park come last: a row whose first fault is one of them has no other.
    checks = [
        *_filters(mapping),
        *_field_checks(target, mapping),
        *_pair_checks(target),
        *sorted(_stored_data_checks(target, mapping, known), key=lambda check: check.parks),
    ]
    first = pl.coalesce(
        pl.when(check.broken.fill_null(value=False)).then(pl.lit(place, dtype=pl.Int32))
        for place, check in enumerate(checks)
    )
    judged = frame.with_columns(first.alias("@check"))
    broken = judged.filter(pl.col("@check").is_not_null())
    # Reasons are worded for the rejected rows only: they are few, and words cost more than tests.
    worded = [
        group.select(
            pl.col(LINE).alias("line"),
            field=pl.lit(checks[place].field),
            reason=checks[place].reason.cast(pl.String),
            parked=pl.lit(checks[place].parks),
        )
        for (place,), group in broken.group_by("@check")
        if isinstance(place, int)
    ]
    rejected = pl.concat(worded).sort("line") if worded else pl.DataFrame(schema=BROKEN)
    # What stood in the file has told its reasons: of a good row only the values go on.
    texts = [name for name in judged.columns if name.startswith(text_of(""))]
    return judged.lazy().filter(pl.col("@check").is_null()).drop("@check", *texts).collect(), rejected


def _shown(name: str) -> pl.Expr:
    """What stood in the field, cut to a readable length, in quotes."""
    return pl.format("'{}'", pl.col(text_of(name)).fill_null("").str.head(_SHOWN_CHARS))


def _told(words: str, name: str) -> pl.Expr:
    return pl.concat_str(pl.lit(words + ": "), _shown(name))


# -- filters of the mapping ------------------------------------------------------------------------------------------


def _filters(mapping: Mapping) -> Iterator[_Check]:
    for row_filter in mapping.filters:
        broken = pl.all_horizontal(_holds(condition).fill_null(value=False) for condition in row_filter.when)
        yield _Check(row_filter.when[0].field, broken, _reason(row_filter))


def _holds(condition: Condition) -> pl.Expr:
    """Whether a condition holds; null where the field is empty."""
    value, text = pl.col(condition.field), pl.col(text_of(condition.field))
    tests: list[pl.Expr] = []
    if condition.matches is not None:
        tests.append(text.str.contains(condition.matches))
    if condition.not_matches is not None:
        tests.append(~text.str.contains(condition.not_matches))
    if condition.is_one_of is not None:
        tests.append(text.is_in(condition.is_one_of))
    if condition.not_one_of is not None:
        tests.append(~text.is_in(condition.not_one_of))
    if condition.below is not None:
        tests.append(value < condition.below)
    if condition.at_most is not None:
        tests.append(value <= condition.at_most)
    if condition.above is not None:
        tests.append(value > condition.above)
    if condition.at_least is not None:
        tests.append(value >= condition.at_least)
    if condition.before is not None:
        tests.append(value < condition.before)
    if condition.after is not None:
        tests.append(value > condition.after)
    if condition.empty is not None:
        tests.append(value.is_null() == condition.empty)
    return pl.all_horizontal(test.fill_null(value=False) for test in tests)


def _reason(row_filter: RowFilter) -> pl.Expr:
    """The reason with each {field} replaced by what stood there."""
    pieces = re.split(r"\{(\w+)\}", row_filter.reason)
    parts = [
        pl.lit(piece) if place % 2 == 0 else pl.col(text_of(piece)).fill_null("").str.head(_SHOWN_CHARS)
        for place, piece in enumerate(pieces)
    ]
    return pl.concat_str(parts)


# -- rules of the table ----------------------------------------------------------------------------------------------


def _field_checks(target: Target, mapping: Mapping) -> Iterator[_Check]:
    own = [name for name in mapping.columns if name not in target.fields]
    for name in [*target.fields, *own]:
        kind = mapping.kind_of(name)
        spec = target.fields.get(name) or Field(kind)
        value, text = pl.col(name), pl.col(text_of(name))
        if kind in _EXPECTED:
            unread = text.is_not_null() & value.is_null()
            if spec.zero_is_empty:
                unread = unread & ~text.str.contains(r"^[+-]?0*[.,]?0*$")
            yield _Check(name, unread, _told(_EXPECTED[kind], name))
        if mapping.is_required(name) and spec.default is None:
            yield _Check(name, value.is_null(), pl.lit("missing"))
        yield from _value_checks(name, spec, kind)
        if (column := mapping.columns.get(name)) is not None and column.whole and kind is Kind.NUMBER:
            yield _Check(name, value != value.floor(), _told("not a whole number", name))
        if column is not None and column.lookup in mapping.lookups:
            listed = sorted(set(mapping.lookups[column.lookup].values()))
            yield _Check(name, ~text.is_in(listed), _told(f"not in lookup '{column.lookup}'", name))
        if column is not None and column.unit_from is not None:
            has_none = text.is_not_null() & pl.col(column.unit_from).is_null()
            yield _Check(column.unit_from, has_none, pl.format("missing: the unit of {}", pl.lit(name)))


def _value_checks(name: str, spec: Field, kind: Kind) -> Iterator[_Check]:
    """Ranges, lengths, choices and plausible dates of one field."""
    value = pl.col(name)
    if kind in (Kind.NUMBER, Kind.WHOLE):
        yield _Check(name, value.abs() > MAX_ABS_NUMBER, _told("not plausible, beyond 10^15", name))
        for bound, broken, words in (
            (spec.at_least, value < (spec.at_least or 0), "must be at least"),
            (spec.above, value <= (spec.above or 0), "must be above"),
            (spec.at_most, value > (spec.at_most or 0), "must be at most"),
            (spec.below, value >= (spec.below or 0), "must be below"),
        ):
            if bound is not None:
                yield _Check(name, broken, _told(f"{words} {bound:g}, is", name))
    elif kind is Kind.DATE:
        outside = (value < FIRST_DATE) | (value > LAST_DATE)
        yield _Check(name, outside, _told(f"not between {FIRST_DATE.year} and {LAST_DATE.year}", name))
    elif kind is Kind.CHOICE:
        words = f"not one of {', '.join(spec.choices)}"
        yield _Check(name, ~value.is_in(spec.choices), _told(words, name))
    elif kind is not Kind.BOOLEAN:
        most = MAX_CODE_CHARS if kind is Kind.CODE else MAX_TEXT_CHARS
        yield _Check(name, value.str.len_chars() > most, _told(f"longer than {most} characters", name))
        # PostgreSQL takes no NUL in a text; a code with a line break in it is a shifted row.
        unwanted = r"[\x00-\x1f\x7f]" if kind is Kind.CODE else r"\x00"
        yield _Check(name, value.str.contains(unwanted), pl.lit("contains control characters"))
        yield _Check(name, value.str.contains(_SHEET_ERROR), _told("an error of the spreadsheet", name))
        if spec.pattern:
            told = _told(f"not of the form {spec.example}" if spec.example else "not of the expected form", name)
            yield _Check(name, ~value.str.contains(f"^(?:{spec.pattern})$"), told)


def _pair_checks(target: Target) -> Iterator[_Check]:
    for one, other in target.must_differ:
        yield _Check(other, pl.col(one) == pl.col(other), _told(f"the same as {one}", other))
    for early, late in target.in_order:
        yield _Check(late, pl.col(late) < pl.col(early), _told(f"before {early}", late))


# -- rules that need stored data -------------------------------------------------------------------------------------


def _stored_data_checks(target: Target, mapping: Mapping, known: KnownCodes) -> Iterator[_Check]:
    """Codes and units that are not there."""
    parks_items, parks_others = mapping.unknown_items == "park", mapping.unknown_references == "park"
    for name, column in mapping.columns.items():
        if column.lookup == SUPPLIER_ITEM:
            told = _told("no supplier's code of just one item", name)
            yield _Check(name, pl.col(lookup_mark(name)), told, parks_items)
        if column.unit_from is not None or (column.unit is not None and column.factor is None):
            unit = pl.col(column.unit_from) if column.unit_from is not None else pl.lit(column.unit)
            told = pl.format("unit '{}' has no conversion for '{}'", unit, pl.col(target.fields[name].unit_of))
            yield _Check(name, pl.col(unit_mark(name)), told, parks_others)
    for name, spec in target.fields.items():
        if not spec.refers_to or spec.creates or (spec.refers_to == "items" and mapping.unknown_items == "create"):
            continue
        codes = known.of(spec.refers_to)
        what = spec.refers_to.removesuffix("s").replace("_", " ")
        told = pl.format(f"unknown {what} '{{}}'", pl.col(name))
        parks = parks_items if spec.refers_to == "items" else parks_others
        yield _Check(name, ~pl.col(name).is_in(codes.implode()), told, parks)
