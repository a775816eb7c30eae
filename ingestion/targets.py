"""The tables a file can fill: fields, types, ranges and natural keys, in the columns every room shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import polars as pl

FIRST_DATE, LAST_DATE = date(1990, 1, 1), date(2100, 12, 31)
ITEM_KINDS = ("finished", "semi_finished", "component", "raw_material", "packaging", "trading_good")


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

    at_least / above / at_most / below bound a number. `default` fills an empty field. `refers_to` names the table whose
    codes it must be one of. `zero_is_empty`: systems without empty numbers write 0 for "none".
    """

    kind: Kind
    required: bool = False
    default: Any = None
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    refers_to: str = ""
    zero_is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A table: its fields in order, its natural key, the grain of its rows, and pairs of fields that must differ."""

    name: str
    fields: Mapping[str, Field]
    key: tuple[str, ...]
    grain: str = ""
    must_differ: tuple[tuple[str, str], ...] = ()
    in_order: tuple[tuple[str, str], ...] = ()

    def schema(self) -> dict[str, pl.DataType]:
        """Columns and dtypes of the rows that are taken."""
        return {name: DTYPES[spec.kind] for name, spec in self.fields.items()}


def _code(refers_to: str = "") -> Field:
    return Field(Kind.CODE, required=True, refers_to=refers_to)


_TEXT = Field(Kind.TEXT)
_NAME = Field(Kind.TEXT, required=True)
_DATE = Field(Kind.DATE)
_DUE = Field(Kind.DATE, required=True)
_MONEY = Field(Kind.NUMBER, at_least=0)
_SIZE = Field(Kind.NUMBER, at_least=0)
_MULTIPLE = Field(Kind.NUMBER, above=0, zero_is_empty=True)
_DAYS = Field(Kind.WHOLE, at_least=0, at_most=3_650)
_ACTIVE = Field(Kind.BOOLEAN, required=True, default=True)
_OPEN_QUANTITY = Field(Kind.NUMBER, required=True, above=0)
_HOURS = Field(Kind.NUMBER, required=True, at_least=0)

_ITEMS = Target(
    "items",
    {
        "code": _code(),
        "name": _NAME,
        "kind": Field(Kind.CHOICE, required=True, choices=ITEM_KINDS),
        "unit": Field(Kind.TEXT, required=True, default="pcs"),
        "category": _TEXT,
        "cost": _MONEY,
        "price": _MONEY,
        "lead_time_days": _DAYS,
        "min_order_qty": _SIZE,
        "order_multiple": _MULTIPLE,
        "safety_stock": _SIZE,
        "service_level": Field(Kind.NUMBER, above=0, below=1, zero_is_empty=True),
        "active": _ACTIVE,
    },
    key=("code",),
)
_SUPPLIERS = Target(
    "suppliers",
    {"code": _code(), "name": _NAME, "email": _TEXT, "lead_time_days": _DAYS, "active": _ACTIVE},
    key=("code",),
)
_SUPPLIER_TERMS = Target(
    "supplier_terms",
    {
        "item": _code("items"),
        "supplier": _code("suppliers"),
        "price": _MONEY,
        "min_order_qty": _SIZE,
        "order_multiple": _MULTIPLE,
        "lead_time_days": _DAYS,
        "priority": Field(Kind.WHOLE, required=True, default=1, at_least=1, at_most=1_000),
    },
    key=("item", "supplier"),
)
_BOM_LINES = Target(
    "bom_lines",
    {
        "parent": _code("items"),
        "component": _code("items"),
        "quantity_per": _OPEN_QUANTITY,
        "scrap_share": Field(Kind.NUMBER, required=True, default=0.0, at_least=0, below=1),
        "valid_from": _DATE,
        "valid_to": _DATE,
    },
    key=("parent", "component"),
    must_differ=(("parent", "component"),),
    in_order=(("valid_from", "valid_to"),),
)
_STOCK = Target(
    "stock",
    {
        "item": _code("items"),
        "location": Field(Kind.CODE, required=True, default="main"),
        "on_hand": Field(Kind.NUMBER, required=True),
        "reserved": Field(Kind.NUMBER, required=True, default=0.0, at_least=0),
        "quarantined": Field(Kind.NUMBER, required=True, default=0.0, at_least=0),
    },
    key=("item", "location"),
)
_OPEN_ORDERS = Target(
    "open_orders",
    {
        "number": _code(),
        "kind": Field(Kind.CHOICE, required=True, choices=("purchase", "production")),
        "item": _code("items"),
        "supplier": Field(Kind.CODE, refers_to="suppliers"),
        "quantity": _OPEN_QUANTITY,
        "due_date": _DUE,
    },
    key=("number", "item"),
)
_FIRM_ORDERS = Target(
    "firm_orders",
    {
        "number": _code(),
        "line": Field(Kind.WHOLE, required=True, default=1, at_least=0, at_most=1_000_000_000),
        "item": _code("items"),
        "customer": _TEXT,
        "quantity": _OPEN_QUANTITY,
        "due_date": _DUE,
    },
    key=("number", "line"),
)
_WORK_CENTRES = Target(
    "work_centres",
    {
        "code": _code(),
        "name": _NAME,
        "hours_per_day": Field(Kind.NUMBER, required=True, above=0, at_most=10_000),
        "efficiency": Field(Kind.NUMBER, required=True, default=1.0, above=0, at_most=5),
    },
    key=("code",),
)
_ROUTINGS = Target(
    "routings",
    {
        "item": _code("items"),
        "sequence": Field(Kind.WHOLE, required=True, at_least=0, at_most=1_000_000_000),
        "work_centre": _code("work_centres"),
        "setup_hours": Field(Kind.NUMBER, required=True, default=0.0, at_least=0),
        "unit_hours": _HOURS,
    },
    key=("item", "sequence"),
)
_DEMAND = Target(
    "demand",
    {
        "item": _code("items"),
        "day": _DUE,
        "quantity": Field(Kind.NUMBER, required=True, at_least=0),
        "revenue": Field(Kind.NUMBER),
    },
    key=("item", "day"),
    grain="daily",
)
# `line` is counted here, not read: the occurrence of the item within the document.
_SALES_LINES = Target(
    "sales_lines",
    {
        "document": _code(),
        "item": _code("items"),
        "line": Field(Kind.WHOLE),
        "day": _DUE,
        "customer": _TEXT,
        "quantity": Field(Kind.NUMBER, required=True),
        "price": _MONEY,
    },
    key=("document", "item", "line"),
    grain="line",
)

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        _ITEMS,
        _SUPPLIERS,
        _SUPPLIER_TERMS,
        _BOM_LINES,
        _STOCK,
        _OPEN_ORDERS,
        _FIRM_ORDERS,
        _WORK_CENTRES,
        _ROUTINGS,
        _DEMAND,
        _SALES_LINES,
    )
}


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
