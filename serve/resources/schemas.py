"""Bodies of a resource, made from its fields: to create it, to change it, as it is answered, as a row of a list."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import JSON, Boolean, Date, DateTime, Float, Integer, Numeric, Uuid
from sqlalchemy.types import TypeEngine

from ingestion.targets import Field, Kind
from ingestion.targets.fields import MAX_CODE_CHARS, MAX_TEXT_CHARS, NOTE
from serve.parameters import LARGEST, NO_CONTROL, TRIMMED
from serve.resources.resource import Resource

# Quantities and money are kept to a millionth: what is smaller would be stored as 0.
LEAST = 0.000001
MOST_ROWS = 5_000
INT4 = 2_147_483_647
_NO_NUL = r"^[^\x00]*\Z"
_KEPT_FOR_US: dict[str, tuple[Any, str]] = {
    "id": (uuid.UUID, "Key of the row"),
    "revision": (int, "Counts its changes; the ETag"),
    "created_at": (datetime, "When it was made"),
    "updated_at": (datetime, "When it was last changed"),
    "deleted_at": (datetime, "When it was deleted"),
    "feed": (str, "Where it came from; api: entered here"),
}
_PYTHON_TYPES: dict[Kind, Any] = {Kind.NUMBER: float, Kind.WHOLE: int, Kind.DATE: date, Kind.BOOLEAN: bool}
_SQL_TYPES: tuple[tuple[type[TypeEngine[Any]], Any], ...] = (
    (Uuid, uuid.UUID),
    (Boolean, bool),
    (Integer, int),
    (Float, float),
    (Numeric, float),
    (DateTime, datetime),
    (Date, date),
    (JSON, Any),
)


@dataclass(frozen=True)
class Schemas:
    """The structs of one resource. `create`, `change`, `upsert`, `bulk` are None where it can only be read."""

    answer: type[msgspec.Struct]
    row: type[msgspec.Struct]
    create: type[msgspec.Struct] | None = None
    change: type[msgspec.Struct] | None = None
    upsert: type[msgspec.Struct] | None = None
    bulk: type[msgspec.Struct] | None = None


@cache
def make_schemas(resource: Resource) -> Schemas:
    """Make the structs of a resource."""
    name, shown = resource.name_one, [(each, *_answered(resource, each)) for each in resource.table.shown]
    answer = _struct(name, [(each, kind) for each, kind in shown], f"{resource.about or resource.one}: one of them.")
    always = resource.table.always_shown
    rest = [(each, kind | UnsetType, UNSET) for each, kind in shown if each not in always]
    row = _struct(
        f"{name}Row",
        [*((each, kind) for each, kind in shown if each in always), *rest],
        f"A row of the list of {resource.many}; with `fields`, only those asked for.",
    )
    if resource.target is None:
        return Schemas(answer, row)
    create: list[Any] = []
    change: list[Any] = []
    upsert: list[Any] = []
    for each, spec in resource.target.fields.items():
        kind = field_type(spec)
        optional = kind if spec.required else kind | None
        upsert.append((each, kind) if each in resource.target.key else (each, kind | UnsetType, UNSET))
        change.append((each, optional | UnsetType, UNSET))
        if spec.required and spec.default is None:
            create.append((each, kind))
        else:
            create.append((each, optional, spec.default))
    one = _struct(f"{name}Upsert", sorted(upsert, key=len), f"A {resource.one} to create, or by its key to change.")
    rows: Any = Annotated[list[one], Meta(min_length=1, max_length=MOST_ROWS)]  # type: ignore[valid-type]
    return Schemas(
        answer,
        row,
        _struct(f"{name}Create", sorted(create, key=len), f"A new {resource.one}."),
        _struct(f"{name}Change", change, f"What is to change of a {resource.one}; what is left out stays."),
        one,
        _struct(f"{name}Bulk", [("rows", rows)], f"Many {resource.many} to create or change."),
    )


def one_of(choices: Sequence[str]) -> Any:
    """The type of a text that is one of these."""
    made: Any = Literal
    return made[tuple(choices)]


def field_type(spec: Field) -> Any:
    """What a body may hold in a field, with its bounds, its description and an example."""
    return Annotated[_plain_type(spec), Meta(**_allowed(spec), **_told(spec))]


def _told(spec: Field) -> dict[str, Any]:
    examples = [spec.example] if spec.example is not None else None
    return {"description": spec.about or None, "examples": examples}


def _plain_type(spec: Field) -> Any:
    return one_of(spec.choices) if spec.choices else _PYTHON_TYPES.get(spec.kind, str)


def _allowed(spec: Field) -> dict[str, Any]:
    """Bounds of a number, closed: above 0 is the least number that is kept. Length and pattern of a text."""
    if spec.kind in (Kind.NUMBER, Kind.WHOLE):
        step, most = (LEAST, LARGEST) if spec.kind is Kind.NUMBER else (1, INT4)
        low = spec.at_least if spec.above is None else spec.above + step
        high = spec.at_most if spec.below is None else spec.below - step
        return {"ge": -most if low is None else low, "le": most if high is None else high}
    if spec.kind is Kind.CODE:
        pattern = rf"^({spec.pattern})\Z" if spec.pattern else TRIMMED
        return {"min_length": 1, "max_length": MAX_CODE_CHARS, "pattern": pattern}
    if spec.kind is Kind.TEXT and spec.required:
        return {"min_length": 1, "max_length": MAX_TEXT_CHARS, "pattern": TRIMMED}
    if spec.kind is Kind.TEXT:
        return {"max_length": MAX_TEXT_CHARS, "pattern": _NO_NUL if spec is NOTE else NO_CONTROL}
    return {}


def _answered(resource: Resource, name: str) -> tuple[Any]:
    if name in _KEPT_FOR_US:
        kind, about = _KEPT_FOR_US[name]
        kind = Annotated[kind, Meta(description=about)]
    elif resource.target is not None and name in resource.target.fields:
        kind = _plain(resource.target.fields[name])
    else:
        kind = _of_column(resource, name)
    return (kind | None if resource.table.is_nullable(name) else kind,)


def _plain(spec: Field) -> Any:
    """What is answered in a field: whatever is stored, so without bounds."""
    return Annotated[_plain_type(spec), Meta(**_told(spec))]


def _of_column(resource: Resource, name: str) -> Any:
    if name in resource.choices:
        return one_of(resource.choices[name])
    if name in resource.table.references:
        return str
    sql_type = resource.table.shown_as(name).type
    return next((python for kind, python in _SQL_TYPES if isinstance(sql_type, kind)), str)


def _struct(name: str, fields: list[Any], about: str) -> type[msgspec.Struct]:
    struct = msgspec.defstruct(
        name, fields, kw_only=True, forbid_unknown_fields=True, module=__name__, namespace={"__doc__": about}
    )
    globals()[name] = struct  # where type hints are looked up
    return struct
