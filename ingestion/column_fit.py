"""How well a column of a file fits a field, by header and by values, and which column each field of a table gets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ingestion.column_values import MOST_DISTINCT, ColumnValues
from ingestion.header_words import Match, field_match, words
from ingestion.targets import TARGETS, Field, Kind, Target
from ingestion.targets.fields import MAX_CODE_CHARS

LEAST_SCORE = 0.3
KNOWN_ENOUGH = 0.8
_NEARLY_ALL = 0.95
_UNSURE = 0.9
# What values can say against or for a header: with none that fit, a bit more than half of its score is left.
_HEADER_ALONE = 0.55
# Without a header's word, by values alone: known codes say most, that there is some number least.
_BY_CODES, _BY_CHOICES, _BY_DATES, _BY_NUMBERS = 0.6, 0.5, 0.35, 0.3


@dataclass(frozen=True, slots=True)
class FieldSuggestion:
    """The column suggested for a field: its place in the file, its header, a score from 0 to 1, and why."""

    field: str
    place: int
    column: str
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A column that a mapping can name: its place in the file, header, what the header may mean, and its values."""

    place: int
    header: str
    meanings: Mapping[str, Match]
    values: ColumnValues


def choice_words(table: str, field: str, spec: Field) -> dict[str, str]:
    """What the field's choices, or yes and no, are called besides their own word; keys in lower case."""
    if spec.kind is Kind.BOOLEAN:
        return dict(words().choices["boolean"])
    return words().choices_of(table, field, spec.choices) if spec.kind is Kind.CHOICE else {}


def is_mapped(table: str, field: str) -> bool:
    """Whether a mapping may read the field: the line of an invoice's line is counted, not read."""
    return (table, field) != ("sales_lines", "line")


def assign(table: str, candidates: Sequence[Candidate]) -> list[FieldSuggestion]:
    """For each field at most one column and for each column at most one field, best scores first; in field order."""
    target = TARGETS[table]
    pairs = [
        found
        for name, spec in target.fields.items()
        if is_mapped(table, name)
        for candidate in candidates
        if (found := _scored(table, name, spec, candidate)) is not None and found.score >= LEAST_SCORE
    ]
    order = {name: place for place, name in enumerate(target.fields)}
    taken: dict[str, FieldSuggestion] = {}
    used: set[int] = set()
    for pair in sorted(pairs, key=lambda pair: (-pair.score, order[pair.field], pair.place)):
        if pair.field not in taken and pair.place not in used:
            taken[pair.field] = pair
            used.add(pair.place)
    return [taken[name] for name in target.fields if name in taken]


def needed(target: Target) -> list[str]:
    """Fields that a mapping must have a column or a constant for."""
    return [name for name, spec in target.fields.items() if spec.required and spec.default is None]


def _scored(table: str, field: str, spec: Field, candidate: Candidate) -> FieldSuggestion | None:
    match = field_match(candidate.meanings, table, field)
    if match is None:
        score, reason = next(_bare(spec, candidate.values, choice_words(table, field, spec)), (0.0, ""))
        reasons = [reason]
    else:
        fit, reason = next(_fits(table, field, spec, candidate.values))
        score = match.score * (_HEADER_ALONE + (1 - _HEADER_ALONE) * fit)
        reasons = [f"the header is like '{match.word}'", *([reason] if reason else [])]
    if not score:
        return None
    return FieldSuggestion(field, candidate.place, candidate.header, round(score, 3), tuple(reasons))


def _percent(share: float, what: str) -> str:
    return f"{int(share * 100)} % of the values are {what}"


def _fits(table: str, field: str, spec: Field, values: ColumnValues) -> Iterator[tuple[float, str]]:
    """How well values fit a field that the header speaks for, 0 to 1, and what tells so; the first counts."""
    if not values.filled:
        yield _UNSURE, "all values of the sample are empty"
    elif spec.kind is Kind.NUMBER:
        yield values.numbers, _percent(values.numbers, "numbers")
    elif spec.kind is Kind.WHOLE:
        yield values.wholes, _percent(values.wholes, "whole numbers")
    elif spec.kind is Kind.DATE:
        date = values.date
        yield (date.share, f"dates as {date.format}") if date is not None else (0.0, "the values are no dates")
    elif spec.kind in (Kind.BOOLEAN, Kind.CHOICE):
        share = _listed(spec, values, choice_words(table, field, spec))
        yield share, _percent(share, "yes or no" if spec.kind is Kind.BOOLEAN else f"among {', '.join(spec.choices)}")
    else:
        yield from _text_fits(table, field, spec, values)


def _text_fits(table: str, field: str, spec: Field, values: ColumnValues) -> Iterator[tuple[float, str]]:
    if spec.pattern:
        share = _mean(values.texts.str.contains(f"^(?:{spec.pattern})$"))
        yield share, _percent(share, f"like {spec.example}")
    if values.date is not None:
        yield 0.3, "the values are dates"
    if field == "email":
        share = _mean(values.texts.str.contains("@", literal=True))
        yield share, _percent(share, "addresses")
    if spec.kind is Kind.CODE and _mean(values.texts.str.len_chars() > MAX_CODE_CHARS) > 0.1:
        yield 0.2, "the values are too long for codes"
    if spec.refers_to:
        share, reason = _as_codes(spec, values)
        if share:
            yield 0.7 + 0.3 * share, reason
    if TARGETS[table].key == (field,) and values.texts.len() < _NEARLY_ALL * min(values.filled, MOST_DISTINCT):
        yield 0.4, "values occur more than once"
    yield _UNSURE, ""


def _bare(spec: Field, values: ColumnValues, called: dict[str, str]) -> Iterator[tuple[float, str]]:
    """The score of a column whose header says nothing of the field, by its values alone; the first counts."""
    if not values.filled:
        return
    share, reason = _as_codes(spec, values)
    if share >= KNOWN_ENOUGH:
        yield _BY_CODES * share, reason
    if spec.kind is Kind.CHOICE and (share := _listed(spec, values, called)) >= _NEARLY_ALL:
        yield _BY_CHOICES * share, _percent(share, f"among {', '.join(spec.choices)}")
    if not spec.required or spec.default is not None:
        return
    if spec.kind is Kind.DATE and values.date is not None and values.date.share >= _NEARLY_ALL:
        yield _BY_DATES, f"dates as {values.date.format}"
    is_code = any(share >= KNOWN_ENOUGH for share in (values.known or {}).values())
    if spec.kind is Kind.NUMBER and values.numbers >= _NEARLY_ALL and values.date is None and not is_code:
        yield _BY_NUMBERS, _percent(values.numbers, "numbers")


def _as_codes(spec: Field, values: ColumnValues) -> tuple[float, str]:
    """Share of values that are codes of what the field refers to, or suppliers' codes of it."""
    known, suppliers = values.known_share(spec.refers_to), values.supplier_codes if spec.refers_to == "items" else 0.0
    if suppliers > known:
        return suppliers, _percent(suppliers, "suppliers' codes of items")
    return known, _percent(known, f"known codes of {spec.refers_to.replace('_', ' ')}")


def _mean(flags: pl.Series) -> float:
    return float(flags.cast(pl.Float64).fill_null(0.0).sum()) / max(flags.len(), 1)


def _listed(spec: Field, values: ColumnValues, called: dict[str, str]) -> float:
    """Share of values that are choices, by their own word or another one."""
    other = sum(text in called or text in spec.choices for text in values.few) / max(len(values.few), 1)
    return min(1.0, values.booleans + other) if spec.kind is Kind.BOOLEAN else other


def table_scores(
    assigned: dict[str, list[FieldSuggestion]], columns: int, named: str | None
) -> list[tuple[str, float]]:
    """Tables by how well a file fills them, best first: fields that must be there, columns used, the file's name."""
    return sorted(_table_scores(assigned, columns, named), key=lambda pair: -pair[1])


def _table_scores(
    assigned: dict[str, list[FieldSuggestion]], columns: int, named: str | None
) -> Iterator[tuple[str, float]]:
    for table, found in assigned.items():
        target = TARGETS[table]
        scores = {each.field: each.score for each in found}
        must = needed(target)
        # A choice that is the same in all rows needs no column; any other field does.
        there = [scores.get(name, 0.8 if target.fields[name].kind is Kind.CHOICE else 0.0) for name in must]
        lacks = sum(score == 0.0 for score in there)
        total = 0.55 * sum(there) / len(there) + 0.3 * sum(scores.values()) / max(columns, 1) + 0.15 * (table == named)
        yield table, round(total * 0.5**lacks, 3)
