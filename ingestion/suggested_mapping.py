"""From columns assigned to fields to a whole mapping: formats, other words for choices, units, policies."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ingestion.column_fit import KNOWN_ENOUGH, Candidate, FieldSuggestion, choice_words, needed
from ingestion.column_values import ColumnValues, NumberStyle
from ingestion.header_words import field_match
from ingestion.known import KnownCodes
from ingestion.mapping import SUPPLIER_ITEM, CreatedItem, Delimiter, Mapping, shipped
from ingestion.table import Parsed, header_key
from ingestion.targets import TARGETS, Field, Kind
from ingestion.units_column import unit_columns

_ISO = ("%Y-%m-%d",)
_PERCENT = 0.01
_SHOWN_TEXTS = 5
_MOST_NAME_CHARS = 50
_MOST_WORDS = 200
RESERVED_NAMES = frozenset({"preview", "suggest"})
"""Names no mapping may have: routes of the API are called so."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known of a file and its table before the mapping is written."""

    parsed: Parsed
    table: str
    found: Sequence[FieldSuggestion]
    candidates: Sequence[Candidate]
    style: NumberStyle
    known: KnownCodes
    encoding: str
    file_name: str

    def values_of(self, place: int) -> ColumnValues:
        """The values of the column at that place in the file."""
        return next(each.values for each in self.candidates if each.place == place)


def drafted(draft: Draft) -> tuple[Mapping, tuple[str, ...], list[str]]:
    """(the mapping, fields the table needs that no column fills, what a person should look at)."""
    target = TARGETS[draft.table]
    told: list[str] = []
    formats = _common_formats(draft)
    columns: dict[str, dict[str, Any]] = {}
    for each in draft.found:
        columns[each.field], words = _column(draft, each, target.fields[each.field], formats)
        told += words
    missing = tuple(name for name in needed(target) if name not in columns)
    for name in missing:
        columns[name], word = _stand_in(draft, name, target.fields[name], columns)
        told.append(word)
    extra, of_unit, words = unit_columns(draft.parsed, draft.table, draft.found, draft.candidates, draft.known)
    told += words
    for field in of_unit:
        columns[field] |= {"unit_from": next(iter(extra))}
    columns |= extra
    policies, words = _policies(draft, columns)
    told += words + _number_doubts(draft.style)
    mapping = Mapping.model_validate(
        {
            "name": _name(draft.file_name, draft.table),
            "description": _description(draft.file_name),
            "target": draft.table,
            "grain": target.grain,
            "encoding": draft.encoding,
            "delimiter": draft.parsed.delimiter if draft.parsed.delimiter in get_args(Delimiter) else "auto",
            "decimal": draft.style.decimal,
            "thousands": draft.style.thousands,
            "date_formats": formats,
            "columns": columns,
            **policies,
        }
    )
    return mapping, missing, told


# -- columns ---------------------------------------------------------------------------------------------------------


def _column(
    draft: Draft, found: FieldSuggestion, spec: Field, formats: tuple[str, ...]
) -> tuple[dict[str, Any], list[str]]:
    values = draft.values_of(found.place)
    column: dict[str, Any] = {"names": (found.column,)}
    told: list[str] = []
    if spec.kind is Kind.DATE and values.date is not None:
        if values.date.formats != formats:
            column["date_formats"] = values.date.formats
        if values.date.other:
            told.append(
                f"column {found.column!r}: {values.date.example!r} can be read as {values.date.format} or as"
                f" {values.date.other}; the first was picked, {values.date.why}"
            )
    if spec.kind in (Kind.CHOICE, Kind.BOOLEAN):
        column["values"], words = _other_words(draft.table, found, spec, values)
        told += words
    if spec.kind is Kind.NUMBER and 1 in (spec.at_most, spec.below) and 1 < values.largest <= 100:
        column["factor"] = _PERCENT
        told.append(f"column {found.column!r}: taken as percent, as {found.field} is a share from 0 to 1")
    if spec.refers_to == "items" and values.supplier_codes >= KNOWN_ENOUGH > values.known_share("items"):
        column["lookup"] = SUPPLIER_ITEM
        told.append(f"column {found.column!r}: taken for suppliers' own codes of items")
    return column, told


def _other_words(
    table: str, found: FieldSuggestion, spec: Field, values: ColumnValues
) -> tuple[dict[str, str], list[str]]:
    """Texts to be replaced, if there are any to replace, and those that mean nothing."""
    in_ours = {
        word.casefold(): value
        for mapping in shipped().values()
        if mapping.target == table and found.field in mapping.columns
        for word, value in mapping.columns[found.field].values.items()
    }
    called = {**choice_words(table, found.field, spec), **in_ours}
    lower = values.texts.str.to_lowercase().unique(maintain_order=True)
    own = spec.choices if spec.kind is Kind.CHOICE else ()
    foreign = [text for text in lower if text not in own and text not in called]
    told = []
    if spec.kind is Kind.CHOICE and foreign:
        shown = ", ".join(repr(text[:40]) for text in foreign[:_SHOWN_TEXTS])
        told.append(f"column {found.column!r}: say under `values` what {shown} is: {', '.join(spec.choices)}")
    is_used = any(text in called for text in lower)
    return (dict(list(called.items())[:_MOST_WORDS]) if is_used else {}), told


def _stand_in(draft: Draft, name: str, spec: Field, columns: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What a field gets that must be there and has no column."""
    if spec.kind is Kind.CHOICE:
        return {"constant": spec.choices[0]}, f"no column for {name}: every row is taken as {spec.choices[0]!r}"
    claimed = {header_key(header) for column in columns.values() for header in column.get("names", ())}
    wanted = next(
        word for word in (name, f"{draft.table} {name}", *(f"{name} {n}" for n in range(999)))
        if header_key(word) not in claimed
    )  # fmt: skip
    return {"names": (wanted,)}, f"no column for {name}, which {draft.table} needs: name it, or give a constant"


def _common_formats(draft: Draft) -> tuple[str, ...]:
    """The date formats most of the columns have."""
    fields = TARGETS[draft.table].fields
    found = Counter(
        date.formats
        for each in draft.found
        if fields[each.field].kind is Kind.DATE and (date := draft.values_of(each.place).date) is not None
    )
    return found.most_common(1)[0][0] if found else _ISO


def _number_doubts(style: NumberStyle) -> list[str]:
    if style.other is None:
        return []
    ways = [_number_told(*each) for each in ((style.decimal, style.thousands), style.other)]
    return [f"{style.example!r} can be read with {ways[0]} or with {ways[1]}; the first was picked: {style.why}"]


def _number_told(decimal: str, thousands: str) -> str:
    return f"decimal {decimal!r}" + (f" and thousands {thousands!r}" if thousands else "")


# -- the mapping as a whole ------------------------------------------------------------------------------------------


def _policies(draft: Draft, columns: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """What is to become of rows that name what is not there."""
    fields = TARGETS[draft.table].fields
    policies: dict[str, Any] = {}
    told: list[str] = []
    for each in draft.found:
        spec = fields[each.field]
        if not spec.refers_to or spec.creates or columns[each.field].get("lookup"):
            continue
        texts = draft.values_of(each.place).texts
        unknown = texts.filter(~texts.is_in(draft.known.of(spec.refers_to).implode())).to_list()
        if not unknown:
            continue
        shown = ", ".join(repr(text[:40]) for text in unknown[:_SHOWN_TEXTS])
        told.append(
            f"column {each.column!r}: {len(unknown):,} of the codes looked at are no known"
            f" {spec.refers_to.replace('_', ' ')}, such as {shown}"
        )
        policies["unknown_items" if spec.refers_to == "items" else "unknown_references"] = "park"
    has_items = draft.known.of("items").len() > 0
    # Where no item is there yet, sales are mostly what one begins with.
    if policies.get("unknown_items") == "park" and not has_items and draft.table in ("demand", "sales_lines"):
        policies["unknown_items"] = "create"
        policies["created_item"], name_column = _created_item(draft, columns)
        columns |= name_column
        told.append("there are no items yet: they are created as rows name them")
    elif policies:
        told.append("rows that name what is not there are parked, and taken once it is")
    return policies, told


def _created_item(draft: Draft, columns: dict[str, dict[str, Any]]) -> tuple[CreatedItem, dict[str, Any]]:
    """Items named by a column that no field takes, if there is one, and priced by the price."""
    used = {each.place for each in draft.found}
    meanings = [
        (match.score, each.header)
        for each in draft.candidates
        if each.place not in used and (match := field_match(each.meanings, "items", "name")) is not None
    ]
    extra = {"description": {"names": (max(meanings)[1],), "type": Kind.TEXT, "required": False}} if meanings else {}
    price = "price" if "price" in columns else None
    return CreatedItem(name_from="description" if extra else None, price_from=price), extra


def _name(file_name: str, table: str) -> str:
    """A name for the mapping: the file's without day and ending."""
    stem = file_name.rsplit(".", 1)[0].removesuffix(".csv").casefold()
    words = [word for word in re.split(r"[^a-z]+", stem) if word]
    name = "_".join(words)[:_MOST_NAME_CHARS].strip("_") or table
    return f"{name}_file" if name in RESERVED_NAMES or name in shipped() else name


def _description(file_name: str) -> str:
    return f"Suggested for {re.sub(r'[^ -~]', '_', file_name)[:100]}"
