"""Mappings as files are read with them: those that come with the product, and the plant's own beside them."""

from __future__ import annotations

import re
from collections.abc import Collection
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import SavedMapping
from db.record_export import read_rows
from db.records import TABLES, codes
from db.repositories import mappings
from ingestion import mapping as templates
from ingestion.known import KnownCodes
from ingestion.mapping import SUPPLIER_ITEM, Mapping
from ingestion.targets import TARGETS

# What a message about a mapping as a whole begins with, and the field it is about.
_ABOUT = (
    ("unknown target", "target"),
    ("grain", "grain"),
    ("decimal", "thousands"),
    ("a filter", "filters"),
    ("a lookup", "lookups"),
)
_COLUMN = re.compile(r"column '(?P<name>[^']*)'")


shipped = templates.shipped


class UnknownMapping(ValueError):
    """No mapping of that name, shipped or saved."""


class BadDefinition(ValueError):
    """What was given is no mapping; `errors` holds the path of each field at fault and what is wrong with it."""

    def __init__(self, errors: Dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors.items()))
        self.errors = dict(errors)


@dataclass(frozen=True)
class Template:
    """A mapping ready for use. `changed_at` is when somebody last changed it; None for one that is shipped."""

    mapping: Mapping
    changed_at: datetime | None = None


def checked(name: str, definition: Dict[str, Any]) -> Mapping:
    """The mapping that a definition describes.

    Raises:
        BadDefinition: it contradicts itself or the table it fills.
    """
    try:
        return Mapping.model_validate({**definition, "name": name})
    except ValidationError as error:
        found: dict[str, str] = {}
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            message = each["msg"].removeprefix("Value error, ")
            found.setdefault(".".join(str(part) for part in each["loc"]) or _about(message), message)
        # A list whose items are at fault is told to be too short as well.
        inner = {path: told for path, told in found.items() if not any(each.startswith(f"{path}.") for each in found)}
        raise BadDefinition(inner) from error


def _about(message: str) -> str:
    if named := _COLUMN.match(message):
        return f"columns.{named['name']}"
    return next((field for start, field in _ABOUT if message.startswith(start)), "columns")


def of_saved(saved: SavedMapping) -> Template:
    """A stored mapping, ready for use.

    Raises:
        BadDefinition: it was stored by a version of the product that knew other mappings.
    """
    return Template(checked(saved.name, saved.definition), saved.updated_at)


async def find_mapping(session: AsyncSession, name: str) -> Template:
    """The mapping of that name, wherever it comes from.

    Raises:
        UnknownMapping: there is none.
        BadDefinition: see `of_saved`.
    """
    if (found := shipped().get(name)) is not None:
        return Template(found)
    saved = await mappings.find(session, name)
    if saved is None:
        raise await unknown_mapping(session, name)
    return of_saved(saved)


async def unknown_mapping(session: AsyncSession, name: str) -> UnknownMapping:
    """The error that names those there are."""
    there = sorted({*shipped(), *(each.name for each in await mappings.every(session))})
    return UnknownMapping(f"mapping: there is none named {name!r}; expected one of {', '.join(there)}")


async def hold_mappings(session: AsyncSession, names: Collection[str]) -> set[str]:
    """Which of these names mean no mapping; the others stay until this transaction ends."""
    own = set(names) - shipped().keys()
    return own - await mappings.hold(session, own) if own else set()


def needs_conversions(mapping: Mapping) -> bool:
    """Whether reading a file with this mapping takes units of items or suppliers' codes, beside the codes there are."""
    columns = mapping.columns.values()
    return any(
        each.unit_from is not None or (each.unit is not None and each.factor is None) or each.lookup == SUPPLIER_ITEM
        for each in columns
    )


async def known_to(session: AsyncSession, mapping: Mapping | None = None) -> KnownCodes:
    """What is stored that a file read with this mapping is held against; without one, what any mapping may need."""
    targets = [TARGETS[mapping.target]] if mapping is not None else list(TARGETS.values())
    references = frozenset[str]().union(*(target.references() for target in targets))
    known = KnownCodes(**await codes(session, references))
    return known if mapping is not None and not needs_conversions(mapping) else await with_conversions(session, known)


async def with_conversions(session: AsyncSession, known: KnownCodes) -> KnownCodes:
    """The same codes with the units of all items and suppliers' own codes of them."""
    return known.beside(item_units=await _item_units(session), supplier_items=await _supplier_items(session))


async def _item_units(session: AsyncSession) -> pl.DataFrame:
    own = (await _rows(session, "items", ("code", "unit"))).rename({"code": "item"})
    others = await _rows(session, "unit_conversions", ("item", "unit", "factor"))
    return pl.concat([own.with_columns(factor=pl.lit(1.0)), others])


async def _supplier_items(session: AsyncSession) -> pl.DataFrame:
    terms = await _rows(session, "supplier_terms", ("supplier", "supplier_item_code", "item"))
    return terms.rename({"supplier_item_code": "code"}).drop_nulls("code")


async def _rows(session: AsyncSession, name: str, fields: tuple[str, ...]) -> pl.DataFrame:
    table = TABLES[name]
    return await read_rows(session, table, table.matching(table.rows(fields), ()), table.order, fields, None)
