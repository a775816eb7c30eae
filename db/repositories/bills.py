"""Bills of material around one item: the lines below it, those above it, and what its parts cost.

A recursive query visits each item once, whatever the number of ways to it: it ends on a cycle too, and takes as long
as there are lines.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl
from sqlalchemy import RowMapping, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.copy import read_frame
from db.models import UnitConversion
from db.records import TABLES
from db.versions import version_of

_S, _F, _I = pl.String, pl.Float64, pl.Int64
LINE_SCHEMA: dict[str, Any] = {"parent": _S, "component": _S, "quantity_per": _F, "scrap_share": _F}
ITEM_SCHEMA: dict[str, Any] = {
    **{"item": _S, "name": _S, "kind": _S, "unit": _S, "standard_cost": _F, "lead_time_days": _I, "lot": _F},
    **{"price": _F, "supplier": _S, "setup_cost": _F, "operation_cost": _F, "centres_without_cost": _S},
}
# What bills and their costs are made from.
TABLES_READ = ("item", "bom_line", "supplier", "supplier_term", "routing_operation", "work_centre")

# $1 item, $2 day, $3 version of the item's own bill or null; below it, and above it, the version in use counts.
_EFFECTIVE = "$2::date BETWEEN coalesce(b.valid_from, $2::date) AND coalesce(b.valid_to, $2::date)"
_IN_USE = "b.version = CASE WHEN p.id = $1::uuid THEN coalesce($3::text, p.bom_version) ELSE p.bom_version END"
_BELOW = f"""
WITH RECURSIVE reached (item_id) AS (
    SELECT $1::uuid
    UNION
    SELECT b.component_item_id FROM reached r JOIN item p ON p.id = r.item_id
        JOIN bom_line b ON b.parent_item_id = p.id AND {_IN_USE} AND {_EFFECTIVE}
)
SELECT p.code, c.code, b.quantity_per, b.scrap_share FROM reached r JOIN item p ON p.id = r.item_id
    JOIN bom_line b ON b.parent_item_id = p.id AND {_IN_USE} AND {_EFFECTIVE}
    JOIN item c ON c.id = b.component_item_id
"""
_USING = (
    f"JOIN item p ON p.id = b.parent_item_id AND p.bom_version = b.version AND p.deleted_at IS NULL AND {_EFFECTIVE}"
)
_ABOVE = f"""
WITH RECURSIVE reached (item_id) AS (
    SELECT $1::uuid
    UNION
    SELECT b.parent_item_id FROM reached r JOIN bom_line b ON b.component_item_id = r.item_id {_USING}
)
SELECT p.code, c.code, b.quantity_per, b.scrap_share FROM reached r
    JOIN bom_line b ON b.component_item_id = r.item_id {_USING}
    JOIN item c ON c.id = r.item_id
"""
_ITEMS = """
SELECT i.code, i.name, i.kind, i.unit, i.cost, coalesce(i.lead_time_days, s.lead_time_days),
    coalesce(i.lot_size, i.min_order_qty), s.price, s.code, coalesce(r.setup_cost, 0), coalesce(r.operation_cost, 0),
    r.centres
FROM item i
LEFT JOIN LATERAL (
    SELECT t.price, p.code, coalesce(t.lead_time_days, p.lead_time_days) AS lead_time_days
    FROM supplier_term t JOIN supplier p ON p.id = t.supplier_id
    WHERE t.item_id = i.id AND t.active AND p.active AND p.deleted_at IS NULL
        AND $2::date BETWEEN coalesce(t.valid_from, $2::date) AND coalesce(t.valid_to, $2::date)
    ORDER BY t.priority, p.code LIMIT 1
) s ON true
LEFT JOIN LATERAL (
    SELECT sum(o.setup_hours * w.cost_per_hour) AS setup_cost, sum(o.unit_hours * w.cost_per_hour) AS operation_cost,
        string_agg(DISTINCT w.code, ', ') FILTER (WHERE w.cost_per_hour IS NULL) AS centres
    FROM routing_operation o JOIN work_centre w ON w.id = o.work_centre_id WHERE o.item_id = i.id
) r ON true
WHERE i.code = ANY($1::text[])
"""
_REACHED_LINES = """
WITH RECURSIVE reached (item_id) AS (
    SELECT id FROM item WHERE code = ANY($1::text[])
    UNION
    SELECT b.component_item_id FROM reached r JOIN bom_line b ON b.parent_item_id = r.item_id
)
SELECT p.code, c.code FROM reached r JOIN bom_line b ON b.parent_item_id = r.item_id
    JOIN item p ON p.id = r.item_id JOIN item c ON c.id = b.component_item_id
"""
_ALL_LINES = """
SELECT p.code, c.code FROM bom_line b JOIN item p ON p.id = b.parent_item_id JOIN item c ON c.id = b.component_item_id
"""
# From this many items on, reading every line is quicker than following them.
_MANY = 100
_CATEGORIES_ABOVE = """
WITH RECURSIVE reached (code, parent) AS (
    SELECT code, parent FROM item_category WHERE code = ANY(:codes)
    UNION
    SELECT c.code, c.parent FROM reached r JOIN item_category c ON c.code = r.parent
)
SELECT code, parent FROM reached WHERE parent IS NOT NULL
"""
_CATEGORIES = """
SELECT c.id, c.code, c.name, c.parent, count(i.id) AS items FROM item_category c
    LEFT JOIN item i ON i.category = c.code AND i.deleted_at IS NULL GROUP BY c.id ORDER BY c.code
"""
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext(:key))")


async def find_item(session: AsyncSession, key: str) -> RowMapping | None:
    """Id, code, unit, and the `version` of all that bills are made from, of the item with that id or code."""
    items = TABLES["items"]
    own = items.table.c
    query = select(own.id, own.code, own.unit, version_of(TABLES_READ).label("version"))
    return (await session.execute(items.matching(items.named(query, key), ()))).mappings().one_or_none()


async def begin_snapshot(session: AsyncSession) -> None:
    """Begin a transaction whose queries all see the same data, in place of the one there is."""
    await session.rollback()
    await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


async def lines_below(session: AsyncSession, item_id: uuid.UUID, on: date, version: str | None = None) -> pl.DataFrame:
    """All lines effective on a day that can be reached down from an item, in LINE_SCHEMA."""
    lines = await read_frame(session, _BELOW, item_id, on, version, schema=LINE_SCHEMA)
    return lines.sort("parent", "component")


async def lines_above(session: AsyncSession, item_id: uuid.UUID, on: date) -> pl.DataFrame:
    """All lines effective on a day that lead up from an item, in LINE_SCHEMA."""
    lines = await read_frame(session, _ABOVE, item_id, on, schema=LINE_SCHEMA)
    return lines.sort("parent", "component")


async def items(session: AsyncSession, codes: Sequence[str], on: date) -> pl.DataFrame:
    """What these items are and cost, in ITEM_SCHEMA: supplier and price are the first active supplier's on the day."""
    return (await read_frame(session, _ITEMS, list(codes), on, schema=ITEM_SCHEMA)).sort("item")


async def lock_structure(session: AsyncSession, name: str) -> None:
    """Let writers of one structure (bom_line, item_category) go one after the other, to the end of this transaction.

    Whoever holds it sees what all before it have committed, as each statement looks anew.
    """
    await session.execute(_LOCK, {"key": f"fmrp-structure-{name}"})


async def lines_reached(session: AsyncSession, components: Sequence[str]) -> list[tuple[str, str]]:
    """(parent, component) of every line of any version and date that can be reached down from these items, at least."""
    schema = {"parent": _S, "component": _S}
    if len(components) < _MANY:
        lines = await read_frame(session, _REACHED_LINES, list(components), schema=schema)
    else:
        lines = await read_frame(session, _ALL_LINES, schema=schema)
    return lines.unique().rows()


async def category_lines_reached(session: AsyncSession, codes: Sequence[str]) -> list[tuple[str, str]]:
    """(category, the one it is part of), from these upwards."""
    rows = await session.execute(text(_CATEGORIES_ABOVE), {"codes": list(codes)})
    return [(row.code, row.parent) for row in rows]


async def categories(session: AsyncSession) -> Sequence[Any]:
    """All categories by code: code, name, parent, items (directly in it)."""
    return (await session.execute(text(_CATEGORIES))).all()


async def conversions(session: AsyncSession, item_id: uuid.UUID) -> dict[str, float]:
    """Other units of an item: how many of its own unit one of them is."""
    query = select(UnitConversion.unit, UnitConversion.factor).where(UnitConversion.item_id == item_id)
    return {row.unit: float(row.factor) for row in (await session.execute(query)).all()}
