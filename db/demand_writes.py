"""Daily demand on its way into its table: compared with what is stored first, so that only what differs is written.

Days that are not there yet go straight into the table by COPY, which is most of a file or all of it; changed and gone
ones beside it. The roll-ups follow by the same differences, in the same transaction.
"""

from __future__ import annotations

import asyncio
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db import rollups
from db.copy import append, read_frame, stage
from db.timeseries import allow_restatement, prepare_months

# Exact, as NUMERIC(20, 6) holds it: what is summed here must be what the table would sum up to.
AMOUNT = pl.Decimal(38, 6)
AMOUNTS = ("quantity", "revenue")
KEY = ("n", "day")
STORED: dict[str, Any] = {"n": pl.Int32, "day": pl.Date, "quantity": AMOUNT, "revenue": AMOUNT}
UUID = {"item_id": "uuid"}
# A file that states one day in more than so many of an item's span is compared day by day, not span by span: what is
# read of the table never exceeds so many times the file.
SPARSE = 4
BLOCK_ROWS = 200_000
# Up to so many items are named to a deletion, which then takes no others' rows out of the columnstore.
FEW_ITEMS = 100


async def merge(session: AsyncSession, rows: pl.DataFrame, *, feed: str) -> None:
    """Merge rows (item, day, quantity, revenue; each item and day once) into a feed's demand."""
    await rollups.lock_feed(session, feed)
    items = await _keys(session, rows["item"])
    given = await asyncio.to_thread(exact, rows, items)
    if given.is_empty():
        return
    stored = await _stored(session, items, spans(given), feed)
    await _write(session, items, await asyncio.to_thread(differences, given, stored), feed)


async def replace(session: AsyncSession, codes: pl.Series, rows: pl.DataFrame, *, feed: str) -> None:
    """Replace the whole demand of these items in a feed by `rows` (item, day, quantity, revenue)."""
    await rollups.lock_feed(session, feed)
    items = await _keys(session, codes)
    given = await asyncio.to_thread(exact, rows, items)
    stored = await _stored(session, items, None, feed)
    await _write(session, items, await asyncio.to_thread(differences, given, stored, whole=True), feed)


# -- what differs ----------------------------------------------------------------------------------------------------


def exact(rows: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """The rows of known items in the order of the table's key: n (of `items`), day, and amounts as they are stored.

    A float stands for the shortest decimal that reads as it, as in the file; beyond six places it is rounded.
    """
    return (
        rows.lazy()
        .join(items.lazy().select("item", "n"), on="item")
        .select(*KEY, *(pl.col(name).cast(pl.String).cast(AMOUNT) for name in AMOUNTS))
        .sort(KEY)
        .collect()
    )


def spans(given: pl.DataFrame) -> pl.DataFrame:
    """Where rows stored under the keys of `given` can be: n, first, last; a span for each item, or one for each row."""
    of_items = given.group_by("n").agg(first=pl.col("day").min(), last=pl.col("day").max())
    days = of_items.select((pl.col("last") - pl.col("first")).dt.total_days().sum() + pl.len()).item()
    if days <= SPARSE * given.height:
        return of_items
    return given.select("n", first="day", last="day")


def differences(
    given: pl.DataFrame, stored: pl.DataFrame, *, whole: bool = False, block_rows: int = BLOCK_ROWS
) -> pl.DataFrame:
    """Rows of which the table holds something else, as n, day, the amounts and, as *_was, those stored.

    A new day has no quantity_was. With `whole`, days that are stored and not given are among them, and are `is_gone`.
    Compared in blocks of items with about `block_rows` rows, which bounds the memory.
    """
    given = given.with_columns(is_gone=pl.lit(value=False))
    if stored.is_empty():
        return given.with_columns(pl.lit(None, dtype=AMOUNT).alias(f"{name}_was") for name in AMOUNTS)
    rows, items = max(given.height, stored.height), 1 + max(_most(given), _most(stored))
    step = max(1, items * block_rows // rows)
    blocks = [pl.col("n").is_between(first, first + step - 1) for first in range(0, items, step)]
    return pl.concat(_compared(given.filter(block), stored.filter(block), whole) for block in blocks)


def _most(frame: pl.DataFrame) -> int:
    return -1 if frame.is_empty() else int(frame["n"].max())  # type: ignore[arg-type]


def _compared(given: pl.DataFrame, stored: pl.DataFrame, whole: bool) -> pl.DataFrame:
    both = given.join(
        stored, on=KEY, how="full" if whole else "left", coalesce=True, suffix="_was", maintain_order="left"
    )
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_was")) for name in AMOUNTS]
    return both.filter(pl.any_horizontal(differs)).with_columns(pl.col("is_gone").fill_null(value=True))


# -- in the database -------------------------------------------------------------------------------------------------


async def _keys(session: AsyncSession, codes: pl.Series) -> pl.DataFrame:
    """The items of these codes that are there: item, item_id (text), and n, which counts them in the order of keys."""
    await stage(session, "named", pl.DataFrame({"item": codes.unique()}))
    query = "SELECT i.code, i.id FROM pg_temp.named s JOIN item i ON i.code = s.item ORDER BY i.id"
    found = await read_frame(session, query, schema={"item": pl.String, "item_id": pl.String})
    return found.with_columns(n=pl.int_range(pl.len(), dtype=pl.Int32))


async def _stored(session: AsyncSession, items: pl.DataFrame, where: pl.DataFrame | None, feed: str) -> pl.DataFrame:
    """What is stored within these spans of items, or of the items at all, in STORED."""
    query = (
        "SELECT s.n, d.day, d.quantity, d.revenue FROM pg_temp.spans s"
        " JOIN demand d ON d.item_id = s.item_id AND d.feed = $1"
    )
    keys = items.select("n", "item_id")
    if where is None:
        await stage(session, "spans", keys, UUID)
        return await read_frame(session, query, feed, schema=STORED)
    await stage(session, "spans", where.join(keys, on="n"), UUID)
    # An equality, where it is one, can be hashed; the outer bounds leave most of the table's months aside.
    single = where.select((pl.col("first") == pl.col("last")).all()).item()
    query += " AND " + ("d.day = s.first" if single else "d.day BETWEEN s.first AND s.last")
    bounds = " WHERE d.day BETWEEN $2 AND $3"
    return await read_frame(session, query + bounds, feed, where["first"].min(), where["last"].max(), schema=STORED)


async def _write(session: AsyncSession, items: pl.DataFrame, differing: pl.DataFrame, feed: str) -> None:
    if differing.is_empty():
        return
    connection = await session.connection()
    keys = items.select("n", "item_id")
    is_new, is_gone = pl.col("quantity_was").is_null(), pl.col("is_gone")
    columns = ("item_id", pl.lit(feed).alias("feed"), "day", *AMOUNTS)
    named = differing.join(keys, on="n", maintain_order="left")
    fresh = named.filter(is_new).select(columns)
    changed = named.filter(~is_new & ~is_gone).select(columns)
    gone = named.filter(is_gone).select("item_id", "day")
    await prepare_months(connection, "demand", fresh["day"].unique())
    await allow_restatement(connection)
    if not fresh.is_empty():
        await append(session, "demand", fresh)
    if not changed.is_empty():
        await _change(session, changed)
    if not gone.is_empty():
        await _delete(session, gone, feed)
    await rollups.follow(session, feed, named)


async def _change(session: AsyncSession, changed: pl.DataFrame) -> None:
    await stage(session, "changed", changed, UUID)
    await session.execute(
        text(
            "INSERT INTO demand (item_id, feed, day, quantity, revenue)"
            " SELECT item_id, feed, day, quantity, revenue FROM pg_temp.changed"
            " ON CONFLICT (item_id, feed, day) DO UPDATE"
            " SET quantity = excluded.quantity, revenue = excluded.revenue"
        )
    )


async def _delete(session: AsyncSession, gone: pl.DataFrame, feed: str) -> None:
    await stage(session, "gone", gone, UUID)
    bounds = {"feed": feed, "first": gone["day"].min(), "last": gone["day"].max()}
    query = (
        "DELETE FROM demand d USING pg_temp.gone g WHERE d.item_id = g.item_id AND d.feed = :feed"
        " AND d.day = g.day AND d.day BETWEEN :first AND :last"
    )
    # What a row is joined with is not known yet when its batch is taken out of the columnstore.
    items = gone["item_id"].unique().sort().to_list()
    if len(items) > FEW_ITEMS:
        await session.execute(text(query), bounds)
        return
    named = " AND d.item_id = ANY(CAST(:items AS uuid[]))"
    await session.execute(text(query + named), bounds | {"items": items})
