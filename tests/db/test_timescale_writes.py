"""Demand goes into a real TimescaleDB by COPY: into months of the columnstore, and beside TimescaleDB's own work."""

from __future__ import annotations

import asyncio
import random
from datetime import date, timedelta
from typing import Any

import asyncpg
import polars as pl
import pytest
from series_world import assert_exact, demand_frame, store_items
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from actors.owner import Connections
from actors.retry import is_passing
from db import rollups
from db.copy import append, read_frame
from db.repositories import targets

D = date
CODES = tuple(f"I{number:03}" for number in range(40))
JUNE = [D(2021, 6, 1) + timedelta(days=day) for day in range(30)]
ROUNDS = 8
IN_COLUMNSTORE = (
    "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'demand' AND is_compressed"
)


def stated(codes: tuple[str, ...], days: list[date], quantity: float) -> pl.DataFrame:
    """That quantity, and twice as much revenue, for each item and day."""
    return demand_frame(
        [{"item": code, "day": day, "quantity": quantity, "revenue": 2 * quantity} for code in codes for day in days]
    )


async def into_the_columnstore(connections: Connections) -> int:
    """Run the policy of demand now; returns how many chunks are there then."""
    async with connections.engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        job = "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = 'demand'"
        policy = (await connection.execute(text(f"{job} AND proc_name = 'policy_compression'"))).scalar_one()
        # By hand only, so that a test knows when.
        await connection.execute(text(f"SELECT alter_job({policy}, scheduled => false)"))
        await connection.execute(text(f"CALL run_job({policy})"))
        return int((await connection.execute(text(IN_COLUMNSTORE))).scalar_one())


async def rows_in_the_columnstore(connections: Connections) -> int:
    """Rows of demand in batches, not counting those that were taken out."""
    batches = (
        "SELECT s.compress_relid::regclass::text FROM _timescaledb_catalog.compression_settings s"
        " JOIN timescaledb_information.chunks c ON s.relid = format('%I.%I', chunk_schema, chunk_name)::regclass"
        " WHERE c.hypertable_name = 'demand' AND c.is_compressed"
    )
    async with connections.sessions() as session:
        tables = (await session.execute(text(batches))).scalars().all()
        counts = [await session.execute(text(f"SELECT sum(_ts_meta_count) FROM {table}")) for table in tables]
        return sum(count.scalar_one() or 0 for count in counts)


async def totals(connections: Connections) -> list[tuple[Any, ...]]:
    """Rows and quantity of each feed; the roll-ups are what they sum up to."""
    async with connections.sessions() as session:
        await assert_exact(session)
        query = "SELECT feed, count(*), sum(quantity)::float FROM demand GROUP BY feed ORDER BY feed"
        return [tuple(row) for row in await session.execute(text(query))]


async def test_new_days_join_a_month_that_is_in_the_columnstore(
    timescale_version: str, connections: Connections
) -> None:
    async with connections.sessions.begin() as session:
        await store_items(session, CODES)
        await targets.store(session, "demand", stated(CODES[:30], JUNE[::2], 2.0), feed="shop")
    await rollups.refresh(connections.engine)
    assert await into_the_columnstore(connections) >= 1
    # Days between those there, items that are not there, another feed; and the same file again, which changes nothing.
    for _ in range(2):
        async with connections.sessions.begin() as session:
            await targets.store(session, "demand", stated(CODES, JUNE, 2.0), feed="shop")
            await targets.store(session, "demand", stated(CODES[:5], JUNE, 7.0), feed="erp")
        expected = [("erp", 5 * 30, 5 * 30 * 7.0), ("shop", 40 * 30, 40 * 30 * 2.0)]
        assert await totals(connections) == expected
    # All of it in the columnstore, and out again: nothing is there twice, nothing has gone.
    await rollups.refresh(connections.engine)
    assert await into_the_columnstore(connections) >= 1
    assert await totals(connections) == expected


async def test_a_day_that_is_in_the_columnstore_cannot_come_in_twice(
    timescale_version: str, connections: Connections
) -> None:
    """COPY writes what was seen to be missing; the key holds even where that was wrong."""
    async with connections.sessions.begin() as session:
        await store_items(session, CODES)
        await targets.store(session, "demand", stated(CODES, JUNE, 2.0), feed="shop")
    assert await into_the_columnstore(connections) >= 1
    async with connections.sessions() as session:
        query = "SELECT item_id, feed, day, 5.0, 5.0 FROM demand WHERE day = '2021-06-15' LIMIT 1"
        schema = {
            "item_id": pl.String,
            "feed": pl.String,
            "day": pl.Date,
            "quantity": pl.Float64,
            "revenue": pl.Float64,
        }
        again = await read_frame(session, query, schema=schema)
        with pytest.raises(DBAPIError) as refused:
            await append(session, "demand", again)
        assert getattr(refused.value.orig, "sqlstate", None) == "23505"
        await session.rollback()
    assert await totals(connections) == [("shop", 40 * 30, 40 * 30 * 2.0)]


async def test_days_of_one_item_go_without_taking_others_out_of_the_columnstore(
    timescale_version: str, connections: Connections
) -> None:
    days = [day + timedelta(days=late) for late in (0, 90) for day in JUNE]
    async with connections.sessions.begin() as session:
        await store_items(session, CODES)
        await targets.store(session, "demand", stated(CODES, days, 2.0), feed="erp")
    await rollups.refresh(connections.engine)
    assert await into_the_columnstore(connections) >= 2
    assert await rows_in_the_columnstore(connections) == 40 * 60
    # An invoice of the first day and one of the last are cancelled.
    async with connections.sessions.begin() as session:
        left = stated(("I007",), days[1:-1], 2.0)
        await targets.replace_demand(session, left["item"].unique(), left, feed="erp")
    assert await totals(connections) == [("erp", 40 * 60 - 2, (40 * 60 - 2) * 2.0)]
    assert await rows_in_the_columnstore(connections) >= 39 * 60
    await rollups.refresh(connections.engine)
    assert await totals(connections) == [("erp", 40 * 60 - 2, (40 * 60 - 2) * 2.0)]


async def test_writers_beside_refreshes_and_the_columnstore_lose_nothing(
    timescale_version: str, connections: Connections
) -> None:
    """Writers add, change and take away days, each in its own feed, while the months go into the columnstore."""
    async with connections.sessions.begin() as session:
        await store_items(session, CODES)
    days = [D(2021, 6, 1) + timedelta(days=day) for day in range(120)]
    held: dict[str, dict[tuple[str, date], float]] = {"shop": {}, "erp": {}, "web": {}}

    async def write(feed: str) -> None:
        chance = random.Random(feed)
        for _ in range(ROUNDS):
            span = chance.randrange(len(days) - 30)
            frame = stated(CODES[:: chance.randint(1, 3)], days[span : span + 30], float(chance.randint(1, 9)))
            is_whole = chance.random() < 0.3
            await _insistently(connections, frame, feed, is_whole)
            rows = {row[:2]: row[2] for row in frame.select("item", "day", "quantity").iter_rows()}
            kept = {
                key: number for key, number in held[feed].items() if not is_whole or key[0] not in set(frame["item"])
            }
            held[feed] = kept | rows

    async def disturb(done: asyncio.Event) -> None:
        while not done.is_set():
            await rollups.refresh(connections.engine)
            try:
                await into_the_columnstore(connections)
            except DBAPIError as error:
                # The job met a writer in some chunk; its next run takes that.
                if "columnstore policy failure" not in str(error) and not is_passing(error):
                    raise

    done = asyncio.Event()
    disturbing = asyncio.create_task(disturb(done))
    try:
        await asyncio.gather(*(write(feed) for feed in held))
    finally:
        done.set()
        await disturbing
    expected = sorted((feed, len(rows), sum(rows.values())) for feed, rows in held.items())
    assert await totals(connections) == expected
    await rollups.refresh(connections.engine)
    assert await totals(connections) == expected
    async with connections.sessions() as session:
        assert (await session.execute(text("SELECT count(*) FROM rollup_pending"))).scalar_one() == 0


async def _insistently(connections: Connections, frame: pl.DataFrame, feed: str, is_whole: bool) -> None:
    """Store as the ingestion's attempts do: a passing fault, such as a deadlock with the columnstore, is met again."""
    while True:
        try:
            async with connections.sessions.begin() as session:
                if is_whole:
                    await targets.replace_demand(session, frame["item"].unique(), frame, feed=feed)
                else:
                    await targets.store(session, "demand", frame, feed=feed)
        except (DBAPIError, asyncpg.PostgresError) as error:
            if not is_passing(error):
                raise
        else:
            return
