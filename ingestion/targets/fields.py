"""What a field of a table may hold: its type, its range, and what it refers to."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any

import polars as pl

FIRST_DATE, LAST_DATE = date(1990, 1, 1), date(2100, 12, 31)
MAX_CODE_CHARS = 64
MAX_TEXT_CHARS = 500
MAX_ABS_NUMBER = 1e13  # money and quantities beyond it are damage; NUMERIC(20, 6) holds up to 1e14


class Kind(StrEnum):
    """What a field holds. A code is a short text without control characters that identifies something."""

    CODE = "code"
    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"
    DATE = "date"
    BOOLEAN = "boolean"
    CHOICE = "choice"


DTYPES: Mapping[Kind, pl.DataType] = {
    Kind.CODE: pl.String(),
    Kind.TEXT: pl.String(),
    Kind.NUMBER: pl.Float64(),
    Kind.WHOLE: pl.Int64(),
    Kind.DATE: pl.Date(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.CHOICE: pl.String(),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a table.

    at_least / above / at_most / below bound a number; `pattern` a text, whole. `default` fills an empty field.
    `refers_to` names the table whose codes it must be one of; with `creates`, a code that is not there yet is added to
    it. `zero_is_empty`: systems without empty numbers write 0 for "none". `unit_of` names the field with the item in
    whose unit the number is counted; with `per_unit` it is an amount a unit, as a price is. `about` and `example` are
    for people.
    """

    kind: Kind
    required: bool = False
    default: Any = None
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    refers_to: str = ""
    creates: bool = False
    zero_is_empty: bool = False
    unit_of: str = ""
    per_unit: bool = False
    about: str = ""
    example: Any = None

    def told(self, about: str, example: Any = None) -> "Field":
        """The same field described."""
        return replace(self, about=about, example=self.example if example is None else example)

    def in_unit_of(self, item: str) -> "Field":
        """The same field counted in the unit of the item that the field `item` names."""
        return replace(self, unit_of=item)

    def per_unit_of(self, item: str) -> "Field":
        """The same field as an amount for one unit of the item that the field `item` names."""
        return replace(self, unit_of=item, per_unit=True)


@dataclass(frozen=True, slots=True)
class Target:
    """A table: its fields in order, its natural key, the grain of its rows, and pairs of fields that must differ, or
    of which the first must not be after (above) the second."""

    name: str
    fields: Mapping[str, Field]
    key: tuple[str, ...]
    about: str = ""
    grain: str = ""
    must_differ: tuple[tuple[str, str], ...] = ()
    in_order: tuple[tuple[str, str], ...] = ()

    def schema(self) -> dict[str, pl.DataType]:
        """Columns and dtypes of the rows that are taken."""
        return {name: DTYPES[spec.kind] for name, spec in self.fields.items()}

    def references(self) -> frozenset[str]:
        """Names of the tables its fields refer to."""
        return frozenset(spec.refers_to for spec in self.fields.values() if spec.refers_to)


def code(refers_to: str = "", *, creates: bool = False, default: str | None = None, example: str = "") -> Field:
    """A required code, of its own or of another table."""
    return Field(
        Kind.CODE, required=True, refers_to=refers_to, creates=creates, default=default, example=example or None
    )


def choice(*choices: str, default: str | None = None) -> Field:
    """One of a few words; required."""
    return Field(Kind.CHOICE, required=True, choices=choices, default=default, example=default or choices[0])


NAME = Field(Kind.TEXT, required=True, about="Name people know it by", example="Pump housing")
NOTE = Field(Kind.TEXT, about="Free text")
ACTIVE = Field(Kind.BOOLEAN, required=True, default=True, about="Whether plans may use it", example=True)
DAY = Field(Kind.DATE, required=True, example="2026-12-01")
SOME_DAY = Field(Kind.DATE, example="2026-12-01")
VALID_FROM = SOME_DAY.told("First day it holds; empty: always", "2026-01-01")
VALID_TO = SOME_DAY.told("Last day it holds; empty: for good", "2026-12-31")
MONEY = Field(Kind.NUMBER, at_least=0, about="Money a unit", example=12.5)
SIZE = Field(Kind.NUMBER, at_least=0, about="In the item's unit", example=100.0)
MULTIPLE = Field(Kind.NUMBER, above=0, zero_is_empty=True, about="Orders are rounded up to a multiple", example=25.0)
DAYS = Field(Kind.WHOLE, at_least=0, at_most=3_650, about="Working days", example=10)
SHARE = Field(Kind.NUMBER, at_least=0, at_most=1, about="Share from 0 to 1", example=0.95)
QUANTITY = Field(Kind.NUMBER, required=True, about="In the item's unit", example=40.0)
OPEN_QUANTITY = Field(Kind.NUMBER, required=True, above=0, about="Still open, in the item's unit", example=40.0)
HOURS = Field(Kind.NUMBER, required=True, at_least=0, about="Hours", example=0.25)
TIME_OF_DAY = Field(
    Kind.CODE, required=True, pattern=r"([01][0-9]|2[0-3]):[0-5][0-9]", about="Time of day, HH:MM", example="06:00"
)


def literal(kind: Kind, value: Any) -> Any:
    """A constant or default written in a mapping as a value of `kind`; None stays None. ValueError if it is none."""
    if value is None:
        return None
    if kind is Kind.DATE and isinstance(value, str):
        return date.fromisoformat(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is Kind.NUMBER and is_number:
        return float(value)
    if kind is Kind.WHOLE and is_number and value == int(value):
        return int(value)
    if kind is Kind.BOOLEAN and isinstance(value, bool):
        return value
    if kind in (Kind.CODE, Kind.TEXT, Kind.CHOICE) and isinstance(value, str) and value:
        return value
    raise ValueError(f"{value!r} is no {kind.value}")
