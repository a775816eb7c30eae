"""Demand to roll up, and the roll-ups compared with it."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories import targets
from ingestion.targets import TARGETS

# As computed here, whoever computed it there.
EXACT = """
    SELECT i.code, d.feed, date_trunc('{grain}', d.day::timestamp)::date AS period, sum(d.quantity), sum(d.revenue)
    FROM demand d JOIN item i ON i.id = d.item_id GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
ROLLED_UP = """
    SELECT i.code, r.feed, r.period, r.quantity, r.revenue
    FROM demand_{grain} r JOIN item i ON i.id = r.item_id ORDER BY 1, 2, 3
"""


def demand_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Demand rows as the ingestion room hands them over."""
    return pl.DataFrame(rows, schema=TARGETS["demand"].schema())


async def store_items(session: AsyncSession, codes: tuple[str, ...] = ("A", "B")) -> None:
    """Items of these codes."""
    rows = [{"code": code, "name": code, "kind": "finished", "unit": "pcs", "active": True} for code in codes]
    await targets.store(session, "items", pl.DataFrame(rows, schema=TARGETS["items"].schema()), feed="erp")


async def store_demand(session: AsyncSession, *rows: tuple[str, date, float], feed: str = "shop") -> None:
    """Merge (item, day, quantity) with twice the quantity as revenue."""
    frame = demand_frame(
        [{"item": item, "day": day, "quantity": number, "revenue": 2 * number} for item, day, number in rows]
    )
    await targets.store(session, "demand", frame, feed=feed)


async def rolled_up(session: AsyncSession, grain: str) -> list[tuple[Any, ...]]:
    """Everything in the roll-up of that grain."""
    return [tuple(row) for row in await session.execute(text(ROLLED_UP.format(grain=grain)))]


async def assert_exact(session: AsyncSession) -> None:
    """Both roll-ups are what the demand that this session sees sums up to."""
    for grain in ("week", "month"):
        expected = [tuple(row) for row in await session.execute(text(EXACT.format(grain=grain)))]
        assert await rolled_up(session, grain) == expected, grain
