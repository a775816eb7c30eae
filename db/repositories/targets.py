"""How the rows of each ingestion target are merged into its tables: `db.record_writes` for what people keep, here the
series. A value the file leaves empty keeps what is stored. Re-reading the same rows changes nothing.
"""

from __future__ import annotations

from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db import demand_writes, rollups
from db.copy import read_frame, stage
from db.record_writes import Merge
from db.records import TABLES

SALES_LINE_SCHEMA: dict[str, Any] = {
    "document": pl.String,
    "item": pl.String,
    "line": pl.Int64,
    "day": pl.Date,
    "customer": pl.String,
    "quantity": pl.Float64,
    "price": pl.Float64,
}

# A file of these is the whole truth of its feed.
SNAPSHOTS = frozenset({"stock", "open_orders", "firm_orders"})
SERIES_TARGETS = ("demand", "sales_lines")
TARGETS = (*TABLES, *SERIES_TARGETS)
_ITEM = "JOIN item i ON i.code = s.item"


async def store(session: AsyncSession, target: str, rows: pl.DataFrame, *, feed: str, is_whole: bool = True) -> None:
    """Merge accepted rows of a target into the database, in the caller's transaction.

    `is_whole`: of a snapshot target, these are all rows of the feed, and what is missing is gone.

    Sales lines are stored as they are; the caller then derives daily demand from `read_sales_lines`.

    Raises:
        KeyError: no such target.
    """
    if target in SERIES_TARGETS:
        if not rows.is_empty():
            await (demand_writes.merge if target == "demand" else _store_sales_lines)(session, rows, feed=feed)
        return
    is_snapshot = is_whole and target in SNAPSHOTS
    if rows.is_empty() and not is_snapshot:
        return
    merge = Merge(session, TABLES[target], rows, feed)
    await merge.stage()
    await merge.store(snapshot=is_snapshot)


async def _store_sales_lines(session: AsyncSession, rows: pl.DataFrame, *, feed: str) -> None:
    # Held from the first line on: demand is derived from all lines of a feed, so none may be under way unseen.
    await rollups.lock_feed(session, feed)
    await stage(session, "staged", rows.select(list(SALES_LINE_SCHEMA)))
    await session.execute(
        text(
            "INSERT INTO sales_line (feed, document, item_id, line, day, customer, quantity, price)"
            f" SELECT :feed, s.document, i.id, s.line, s.day, s.customer, s.quantity, s.price FROM staged s {_ITEM}"
            " ON CONFLICT (feed, document, item_id, line) DO UPDATE SET day = excluded.day,"
            " customer = excluded.customer, quantity = excluded.quantity, price = excluded.price"
        ),
        {"feed": feed},
    )


async def numbered_on(session: AsyncSession, rows: pl.DataFrame, *, feed: str) -> pl.DataFrame:
    """Sales lines, numbered within document and item after those that the feed has stored."""
    await stage(session, "touched", rows.select("document", "item").unique())
    stored = await read_frame(
        session,
        "SELECT l.document, i.code, max(l.line) FROM touched s"
        f" {_ITEM} JOIN sales_line l ON l.item_id = i.id AND l.feed = $1 AND l.document = s.document GROUP BY 1, 2",
        feed,
        schema={"document": pl.String, "item": pl.String, "last": pl.Int64},
    )
    numbered = rows.join(stored, on=["document", "item"], how="left", maintain_order="left")
    return numbered.with_columns(pl.col("line") + pl.col("last").fill_null(0)).drop("last")


async def read_sales_lines(session: AsyncSession, items: pl.Series, *, feed: str) -> pl.DataFrame:
    """All stored lines of these items in a feed, in `SALES_LINE_SCHEMA`."""
    await stage(session, "touched", pl.DataFrame({"item": items.unique()}))
    return await read_frame(
        session,
        "SELECT l.document, i.code, l.line, l.day, l.customer, l.quantity, l.price FROM touched s"
        f" {_ITEM} JOIN sales_line l ON l.item_id = i.id AND l.feed = $1 ORDER BY l.day, l.document, l.line",
        feed,
        schema=SALES_LINE_SCHEMA,
    )


async def replace_demand(session: AsyncSession, items: pl.Series, rows: pl.DataFrame, *, feed: str) -> None:
    """Replace the whole daily demand of these items in a feed by `rows` (item, day, quantity, revenue).

    Only days that differ are written, so an old chunk without a change stays as it is.
    """
    await demand_writes.replace(session, items, rows, feed=feed)
