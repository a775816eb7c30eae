"""Saved templates: how the columns of one kind of file become the fields of a table. Written in TOML."""

import codecs
import re
import tomllib
from collections.abc import Iterator
from collections.abc import Mapping as Dict
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ingestion.errors import BadMapping
from ingestion.table import ParseOptions, header_key
from ingestion.targets import TARGETS, Kind, Target, literal

SHIPPED = Path(__file__).parent / "mappings"
SUPPLIER_ITEM = "supplier_item"
"""The lookup that needs no table in the mapping: suppliers' own codes of items, as their terms have them."""
ENCODINGS = (
    "auto", "utf-8", "utf-16", "ascii", "cp437", "cp850", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257",
    "iso-8859-1", "iso-8859-2", "iso-8859-5", "iso-8859-7", "iso-8859-9", "iso-8859-15", "gb18030", "shift_jis",
)  # fmt: skip
"""Those that people are offered."""
Delimiter = Literal["auto", ",", ";", "\t", "|"]
Scalar = str | int | float | bool


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """Where a field comes from and what is done to its text, in this order: strip, unmark, upper, values, lookup,
    default.

    names: accepted headers; case, blanks and punctuation do not matter. constant: the same value for every row.
    values: replaces whole texts, looked up without regard to case; others stay. lookup: a table of the mapping that
    must know the text, or `supplier_item`: a supplier's own code becomes the item's (that supplier's, where the mapping
    has a column `supplier`). required: None leaves it to the table. date_formats: in place of the mapping's. type: only
    for columns the table does not have (for filters, new items, units). unmark: takes off the apostrophe that our own
    exports put before what would run as a formula.
    unit, unit_from: the unit of measure of the numbers, for all rows or by another column, where it is not the item's
    own; an amount a unit is divided where a quantity is multiplied. factor: how many of the item's own one such unit
    is, in place of the conversion on record; without a unit the number is just multiplied.
    """

    names: tuple[str, ...] = ()
    required: bool | None = None
    constant: Scalar | None = None
    default: Scalar | None = None
    type: Kind | None = None
    date_formats: tuple[str, ...] = ()
    values: dict[str, str] = Field(default_factory=dict)
    lookup: str | None = None
    unit: str | None = Field(default=None, min_length=1)
    unit_from: str | None = None
    factor: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    strip: bool = True
    unmark: bool = False
    upper: bool = False
    whole: bool = False

    @field_validator("date_formats")
    @classmethod
    def _formats(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        return _checked_formats(formats)


class Condition(_Strict):
    """One test of a field's value; every test given must hold. An empty field fails all but `empty`."""

    field: str
    matches: str | None = None
    not_matches: str | None = None
    is_one_of: tuple[str, ...] | None = None
    not_one_of: tuple[str, ...] | None = None
    below: float | None = None
    at_most: float | None = None
    above: float | None = None
    at_least: float | None = None
    before: date | None = None
    after: date | None = None
    empty: bool | None = None

    @field_validator("matches", "not_matches")
    @classmethod
    def _pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                pl.Series(["x"]).str.contains(pattern)
            except pl.exceptions.PolarsError as error:
                raise ValueError(f"{pattern!r} is no regular expression") from error
        return pattern

    @model_validator(mode="after")
    def _tests_something(self) -> Self:
        if self.model_fields_set <= {"field"}:
            raise ValueError("tests nothing")
        return self


class RowFilter(_Strict):
    """Rows for which all conditions hold are rejected. `{field}` in the reason shows that field's value."""

    reason: str = Field(min_length=1)
    when: tuple[Condition, ...] = Field(min_length=1)


class CreatedItem(_Strict):
    """How an item first seen in this file is created: fixed values, and fields that fill name and price.

    The name is the text most often given, the price the median of those above 0.
    """

    kind: str = "finished"
    unit: str = "pcs"
    category: str | None = None
    lead_time_days: int | None = Field(default=None, ge=0)
    name_from: str | None = None
    price_from: str | None = None

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        choices = TARGETS["items"].fields["kind"].choices
        if kind not in choices:
            raise ValueError(f"{kind!r} is not one of {', '.join(choices)}")
        return kind


class Mapping(_Strict):
    """One template. `grain` says what a row is where the table knows several: daily total or invoice line.

    partial: rows only change what they name, by their key: no other field is required, and defaults stay out of it.
    lookups: tables of texts by name, for columns to share. unknown_items: a row with an item that is not there makes it
    (`create`), is kept until it is there (`park`), or is rejected for good; unknown_references: the same of suppliers,
    work centres, unit conversions and whatever else is not made as rows name it, but for `create`.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    description: str = ""
    target: str
    grain: Literal["", "daily", "line"] = ""
    encoding: str = "utf-8"
    delimiter: Delimiter = "auto"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    date_formats: Annotated[tuple[str, ...], Field(min_length=1)] = ("%Y-%m-%d",)
    sheet: str = ""
    partial: bool = False
    columns: dict[str, Column]
    lookups: dict[str, dict[str, str]] = Field(default_factory=dict)
    filters: tuple[RowFilter, ...] = ()
    unknown_items: Literal["create", "park", "refuse"] = "refuse"
    unknown_references: Literal["park", "refuse"] = "refuse"
    created_item: CreatedItem = CreatedItem()

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        if encoding != "auto":
            try:
                known = codecs.lookup(encoding)
            except LookupError as error:
                raise ValueError(f"unknown encoding {encoding!r}") from error
            # "hex", "zlib" and the like are codecs too, but give bytes.
            if not getattr(known, "_is_text_encoding", True):
                raise ValueError(f"{encoding!r} is no text encoding")
        return encoding

    @field_validator("date_formats")
    @classmethod
    def _formats(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        return _checked_formats(formats)

    @model_validator(mode="after")
    def _fits_its_target(self) -> Self:
        if self.target not in TARGETS:
            raise ValueError(f"unknown target '{self.target}', expected one of {', '.join(sorted(TARGETS))}")
        table = TARGETS[self.target]
        if self.grain and self.grain != table.grain:
            raise ValueError(f"grain '{self.grain}' does not fit target '{self.target}'")
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands are the same character")
        self._check_columns(table)
        for message in (*self._faulty_lookups(table), *self._faulty_units(table)):
            raise ValueError(message)
        self._check_filters()
        return self

    def _check_columns(self, table: Target) -> None:
        owners: dict[str, str] = {}
        for field, column in self.columns.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", field):
                raise ValueError(f"column '{field}': a field's name has lower-case letters, digits and underscores")
            if field in table.fields and column.type is not None:
                raise ValueError(f"column '{field}': its type is the table's and cannot be set")
            if field not in table.fields and column.type is None:
                raise ValueError(
                    f"column '{field}': table '{table.name}' has no such field; give a type to read it anyway"
                )
            for value in (column.constant, column.default):
                literal(self.kind_of(field), value)
            if not column.names and column.constant is None:
                raise ValueError(f"column '{field}': give names or a constant")
            for name in column.names:
                owner = owners.setdefault(header_key(name), field)
                if owner != field or not header_key(name):
                    raise ValueError(f"header '{name}' is claimed by both '{owner}' and '{field}'")
        for field, spec in table.fields.items():
            if spec.required and spec.default is None and field not in self.columns:
                raise ValueError(f"table '{table.name}' needs a column for '{field}'")

    def _faulty_lookups(self, table: Target) -> Iterator[str]:
        for name, texts in self.lookups.items():
            if name == SUPPLIER_ITEM or not texts:
                yield f"a lookup '{name}' {'is there already' if texts else 'lists nothing'}"
        for field, column in self.columns.items():
            if column.lookup is None:
                continue
            if column.lookup == SUPPLIER_ITEM:
                if field not in table.fields or table.fields[field].refers_to != "items":
                    yield f"column '{field}': it names no item, so a supplier's code of items is no use"
                if self.unknown_items == "create":
                    yield f"column '{field}': an item cannot be created from a supplier's code; park or refuse it"
            elif column.lookup not in self.lookups:
                yield f"column '{field}': there is no lookup '{column.lookup}'; name one of this mapping's lookups"

    def _faulty_units(self, table: Target) -> Iterator[str]:
        for field, column in self.columns.items():
            has_unit = column.unit is not None or column.unit_from is not None
            if not has_unit and column.factor is None:
                continue
            if self.kind_of(field) not in (Kind.NUMBER, Kind.WHOLE) or not column.names:
                yield f"column '{field}': only numbers from the file have a unit or a factor"
            if has_unit and (field not in table.fields or not table.fields[field].unit_of):
                yield f"column '{field}': it is not counted in an item's unit; a factor alone multiplies it"
            if column.unit_from is not None:
                if column.unit is not None or column.factor is not None:
                    yield f"column '{field}': give unit_from alone, or a unit with or without a factor"
                if column.unit_from not in self.columns or self.kind_of(column.unit_from) not in (Kind.CODE, Kind.TEXT):
                    yield f"column '{field}': unit_from '{column.unit_from}' is no column of texts in this mapping"

    def _check_filters(self) -> None:
        used = [condition.field for row_filter in self.filters for condition in row_filter.when]
        used += [field for row_filter in self.filters for field in re.findall(r"\{(\w+)\}", row_filter.reason)]
        used += [field for field in (self.created_item.name_from, self.created_item.price_from) if field]
        for field in used:
            if field not in self.columns:
                raise ValueError(f"a filter or created_item uses '{field}', which is no column of this mapping")
        for condition in (condition for row_filter in self.filters for condition in row_filter.when):
            bounds = (condition.below, condition.at_most, condition.above, condition.at_least)
            if any(bound is not None for bound in bounds) and self.kind_of(condition.field) not in (
                Kind.NUMBER,
                Kind.WHOLE,
            ):
                raise ValueError(f"a filter compares '{condition.field}' with a number, which it is not")
            days = (condition.before, condition.after)
            if any(day is not None for day in days) and self.kind_of(condition.field) is not Kind.DATE:
                raise ValueError(f"a filter compares '{condition.field}' with a day, which it is not")

    def kind_of(self, field: str) -> Kind:
        """What the field holds, from the table or from the mapping for a column of its own."""
        spec = TARGETS[self.target].fields.get(field)
        return spec.kind if spec is not None else self.columns[field].type or Kind.TEXT

    def is_required(self, field: str) -> bool:
        """Whether the file must have the column and every row a value (or a default stands in)."""
        if self.partial:
            return field in TARGETS[self.target].key
        column = self.columns.get(field)
        spec = TARGETS[self.target].fields.get(field)
        if self.target == "sales_lines" and field == "line":
            return column is not None
        if column is not None and column.required is not None:
            return column.required or (spec is not None and spec.required)
        return spec is not None and spec.required

    @property
    def counts_lines(self) -> bool:
        """Whether invoice lines have no number of their own, and are counted within their document."""
        return self.target == "sales_lines" and "line" not in self.columns

    def parse_options(self) -> ParseOptions:
        """How to read a file of this kind."""
        fields = [frozenset(header_key(n) for n in column.names) for column in self.columns.values() if column.names]
        return ParseOptions(self.encoding, self.delimiter, self.sheet, tuple(fields))


def _checked_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    for text in formats:
        if "%" not in text:
            raise ValueError(f"{text!r} is no date format such as '%Y-%m-%d'")
        try:
            pl.Series(["2024-01-02 03:04:05"]).str.strptime(pl.Datetime("us"), text, strict=False)
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"{text!r} is no date format: {error}") from error
    return formats


def load_mapping(path: Path) -> Mapping:
    """One template from a TOML file named after it. BadMapping says what is wrong with it."""
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        mapping = Mapping.model_validate(content)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadMapping(f"no valid TOML ({error})", file=path.name) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadMapping(first["msg"], file=path.name, field=place or None) from error
    if mapping.name != path.stem:
        raise BadMapping(f"is named '{mapping.name}'", file=path.name, expected=f"the file's own name, '{path.stem}'")
    return mapping


def load_mappings(folder: Path = SHIPPED) -> Dict[str, Mapping]:
    """All templates of a folder by name; without a folder, those that come with the product."""
    return {path.stem: load_mapping(path) for path in sorted(folder.glob("*.toml"))}


@cache
def shipped() -> Dict[str, Mapping]:
    """The mappings that come with the product, by name; they change with the product only."""
    return load_mappings()
