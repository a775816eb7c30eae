"""Weekly and monthly sums of demand, exact for every reader as soon as the demand they sum is committed.

Where there are hypertables they are continuous aggregates, refreshed after a commit; what has changed since is in
`rollup_pending`, from whose earliest day on the views read demand itself. Elsewhere they are tables, and the
transaction that writes demand recomputes the periods it has touched.
"""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

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


async def follow(session: AsyncSession, feed: str) -> None:
    """Take the rows of the temporary table `changed` (item_id, day, is_gone) into the roll-ups."""
    bounds = (await session.execute(text("SELECT min(day), max(day) FROM pg_temp.changed"))).one()
    if bounds[0] is None:
        return
    if await has_hypertables(await session.connection()):
        pending = "INSERT INTO rollup_pending (first_day, last_day) VALUES (:first, :last)"
        await session.execute(text(pending), {"first": bounds[0], "last": bounds[1]})
        return
    for grain in GRAINS:
        await _recompute(session, grain, feed, bounds[0], bounds[1])


async def _recompute(session: AsyncSession, grain: str, feed: str, first: date, last: date) -> None:
    period = "date_trunc('{grain}', {day}::timestamp)::date"
    of_change = period.format(grain=grain, day="c.day")
    of_demand = period.format(grain=grain, day="d.day")
    await session.execute(
        text(
            f"""
            WITH touched AS MATERIALIZED (
                SELECT c.item_id, {of_change} AS period, bool_or(c.is_gone) AS has_gone
                FROM pg_temp.changed c GROUP BY 1, 2
            ), sums AS MATERIALIZED (
                SELECT d.item_id, {of_demand} AS period, sum(d.quantity) AS quantity, sum(d.revenue) AS revenue
                FROM touched t JOIN demand d ON d.item_id = t.item_id AND {of_demand} = t.period
                WHERE d.feed = :feed AND d.day BETWEEN :first AND :last GROUP BY 1, 2
            ), emptied AS (
                DELETE FROM {GRAINS[grain]} r USING touched t
                WHERE t.has_gone AND r.item_id = t.item_id AND r.feed = :feed AND r.period = t.period
                AND NOT EXISTS (SELECT FROM sums s WHERE s.item_id = t.item_id AND s.period = t.period)
            )
            INSERT INTO {GRAINS[grain]} AS r (item_id, feed, period, quantity, revenue)
            SELECT item_id, :feed, period, quantity, revenue FROM sums
            ON CONFLICT (item_id, feed, period) DO UPDATE SET quantity = excluded.quantity, revenue = excluded.revenue
            """
        ),
        {"feed": feed, "first": _first_of(grain, first), "last": _last_of(grain, last)},
    )


def _first_of(grain: str, day: date) -> date:
    return day - timedelta(days=day.weekday()) if grain == "week" else month_of(day)[0]


def _last_of(grain: str, day: date) -> date:
    return day + timedelta(days=6 - day.weekday()) if grain == "week" else month_of(day)[1] - timedelta(days=1)


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
