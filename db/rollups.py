"""Weekly and monthly sums of demand, exact for every reader as soon as the demand they sum is committed.

Where there are hypertables they are continuous aggregates, refreshed after a commit; what has changed since is in
`rollup_pending`, from whose earliest day on the views read demand itself. Elsewhere they are tables, and the
transaction that writes demand moves the sums by what it has changed.
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import polars as pl
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from db.copy import append, stage
from db.timeseries import has_hypertables, month_of

GRAINS = {"week": "demand_week", "month": "demand_month"}
# Whole weeks and months around any changed day.
MARGIN = timedelta(days=31)
LOCK_NOT_AVAILABLE = "55P03"


async def lock_feed(session: AsyncSession, feed: str) -> None:
    """Let one writer at a time change the demand of a feed, so that a sum is made of all that is committed."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtext('fmrp-demand'), hashtext(:feed))"), {"feed": feed}
    )


async def follow(session: AsyncSession, feed: str, differing: pl.DataFrame) -> None:
    """Take into the roll-ups what a writer has changed: `db.demand_writes.differences` with item_id as text.

    The temporary table `spans` names the items (item_id).
    """
    if await has_hypertables(await session.connection()):
        pending = "INSERT INTO rollup_pending (first_day, last_day) VALUES (:first, :last)"
        bounds = {"first": differing["day"].min(), "last": differing["day"].max()}
        await session.execute(text(pending), bounds)
        return
    for grain in GRAINS:
        moved = await asyncio.to_thread(moves, differing, grain)
        # A sum cannot say whether it is still of anything: where a day or a revenue has gone, it is made anew.
        await _add(session, grain, feed, moved.filter(~pl.col("lost")).drop("lost"))
        await _recompute(session, grain, feed, moved.filter("lost").select("item_id", "period"))


def moves(differing: pl.DataFrame, grain: str) -> pl.DataFrame:
    """By how much the sums of items and periods have moved: item_id, period, quantity, revenue, lost.

    A revenue is null where no day of the period has or had one. `lost`: a day is gone, or its revenue.
    """
    delta = {
        name: pl.when(pl.col(name).is_not_null() | pl.col(f"{name}_was").is_not_null()).then(
            pl.col(name).fill_null(0) - pl.col(f"{name}_was").fill_null(0)
        )
        for name in ("quantity", "revenue")
    }
    lost = [pl.col(name).is_null() & pl.col(f"{name}_was").is_not_null() for name in delta]
    return (
        differing.lazy()
        .select("item_id", _period(grain).alias("period"), lost=pl.any_horizontal(lost), **delta)
        .group_by("item_id", "period")
        .agg(
            pl.col("quantity").sum(),
            pl.when(pl.col("revenue").count() > 0).then(pl.col("revenue").sum()),
            pl.col("lost").any(),
        )
        .sort("item_id", "period")
        .collect()
    )


def _period(grain: str) -> pl.Expr:
    return pl.col("day").dt.truncate("1w" if grain == "week" else "1mo")


async def _add(session: AsyncSession, grain: str, feed: str, moved: pl.DataFrame) -> None:
    if moved.is_empty():
        return
    of_these = (
        f"SELECT EXISTS (SELECT FROM pg_temp.spans s JOIN {GRAINS[grain]} r ON r.item_id = s.item_id"
        " WHERE r.feed = :feed AND r.period BETWEEN :first AND :last)"
    )
    bounds = {"feed": feed, "first": moved["period"].min(), "last": moved["period"].max()}
    if not (await session.execute(text(of_these), bounds)).scalar_one():
        await append(session, GRAINS[grain], moved.with_columns(feed=pl.lit(feed)))
        return
    await stage(session, "moved", moved, {"item_id": "uuid"})
    await session.execute(
        text(
            f"INSERT INTO {GRAINS[grain]} AS r (item_id, feed, period, quantity, revenue)"
            " SELECT item_id, :feed, period, quantity, revenue FROM pg_temp.moved"
            " ON CONFLICT (item_id, feed, period) DO UPDATE SET quantity = r.quantity + excluded.quantity,"
            " revenue = coalesce(r.revenue + excluded.revenue, r.revenue, excluded.revenue)"
        ),
        {"feed": feed},
    )


async def _recompute(session: AsyncSession, grain: str, feed: str, touched: pl.DataFrame) -> None:
    if touched.is_empty():
        return
    await stage(session, "touched", touched, {"item_id": "uuid"})
    period = f"date_trunc('{grain}', d.day::timestamp)::date"
    await session.execute(
        text(
            f"""
            WITH sums AS MATERIALIZED (
                SELECT d.item_id, {period} AS period, sum(d.quantity) AS quantity, sum(d.revenue) AS revenue
                FROM pg_temp.touched t JOIN demand d ON d.item_id = t.item_id AND {period} = t.period
                WHERE d.feed = :feed AND d.day BETWEEN :first AND :last GROUP BY 1, 2
            ), emptied AS (
                DELETE FROM {GRAINS[grain]} r USING pg_temp.touched t
                WHERE r.item_id = t.item_id AND r.feed = :feed AND r.period = t.period
                AND NOT EXISTS (SELECT FROM sums s WHERE s.item_id = t.item_id AND s.period = t.period)
            )
            INSERT INTO {GRAINS[grain]} AS r (item_id, feed, period, quantity, revenue)
            SELECT item_id, :feed, period, quantity, revenue FROM sums
            ON CONFLICT (item_id, feed, period) DO UPDATE SET quantity = excluded.quantity, revenue = excluded.revenue
            """
        ),
        {"feed": feed, "first": touched["period"].min(), "last": _last_of(grain, touched["period"].max())},  # type: ignore[arg-type]
    )


def _last_of(grain: str, first: date) -> date:
    """The last day of the period that begins on `first`."""
    return first + timedelta(days=6) if grain == "week" else month_of(first)[1] - timedelta(days=1)


async def refresh(engine: AsyncEngine) -> bool:
    """Bring the continuous aggregates up to what is committed; returns whether that was done.

    A refresh cannot run in a transaction, so it has a connection of its own. Killed midway it leaves the pending days,
    which the next one takes.
    """
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        if not await has_hypertables(connection) or not await _is_pending(connection):
            return False
        await connection.execute(text("SELECT pg_advisory_lock(hashtext('fmrp-rollup-refresh'))"))
        try:
            return await _refresh_pending(connection)
        except DBAPIError as error:
            # A policy is at the same days just now. They stay pending, so readers miss nothing, for the next one.
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            return False
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(hashtext('fmrp-rollup-refresh'))"))


async def _is_pending(connection: AsyncConnection) -> bool:
    return bool((await connection.execute(text("SELECT EXISTS (SELECT FROM rollup_pending)"))).scalar())


async def _refresh_pending(connection: AsyncConnection) -> bool:
    found = (await connection.execute(text("SELECT id, first_day, last_day FROM rollup_pending"))).all()
    if not found:
        return False  # another one was faster
    start, end = min(row[1] for row in found) - MARGIN, max(row[2] for row in found) + MARGIN
    for view in GRAINS.values():
        # Within these bounds only what has changed is computed anew.
        await connection.execute(
            text(
                f"CALL refresh_continuous_aggregate('{view}_aggregate', CAST('{start}' AS date), CAST('{end}' AS date))"
            )
        )
    done = text("DELETE FROM rollup_pending WHERE id = ANY(:ids)")
    await connection.execute(done, {"ids": [row[0] for row in found]})
    return True
