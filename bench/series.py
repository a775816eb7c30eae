"""Series of one item out of 20,000 items and 2 million demand rows, and what keeping the roll-ups costs a writer.

Run: python -m bench.series. With FMRP_DATABASE_URL it measures on that server, in a database of its own.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from datetime import date, timedelta

import polars as pl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from bench.fresh import given_postgres
from db import rollups
from db.repositories import items, plant, targets

ITEMS, WEEKS, BATCH_WEEKS, READS, ROUNDS = 20_000, 100, 10, 400, 3
FIRST = date(2025, 1, 6)
LIMIT_MS = 20.0


def demand_of(weeks: range) -> pl.DataFrame:
    """A day of demand in each of these weeks for every item."""
    codes = pl.DataFrame({"item": [f"I{number:05}" for number in range(ITEMS)], "place": range(ITEMS)})
    mondays = pl.DataFrame({"monday": [FIRST + timedelta(weeks=week) for week in weeks]})
    return codes.join(mondays, how="cross").select(
        "item",
        day=pl.col("monday") + pl.duration(days=pl.col("place") % 5),
        quantity=(pl.col("place") % 97 + 1).cast(pl.Float64),
        revenue=(pl.col("place") % 89).cast(pl.Float64),
    )


async def fill(engine: AsyncEngine) -> None:
    """Store everything as ingestion would, and print what the last files cost."""
    query = "INSERT INTO item (id, code, name, kind) SELECT gen_random_uuid(), code, code, 'finished' FROM names"
    async with engine.begin() as connection:
        await connection.execute(text(f"WITH names AS (SELECT unnest(CAST(:codes AS text[])) AS code) {query}"),
                                 {"codes": [f"I{number:05}" for number in range(ITEMS)]})  # fmt: skip
    frames = [demand_of(range(first, first + BATCH_WEEKS)) for first in range(0, WEEKS, BATCH_WEEKS)]
    taken = [await store(engine, frame) for frame in frames]
    again = [await store(engine, frames[-1]) for _ in range(ROUNDS)]
    changed = [
        await store(engine, frames[-1].with_columns(pl.col("quantity") + number + 1)) for number in range(ROUNDS)
    ]
    for name, values in (("new", taken), ("same again", again), ("restated", changed)):
        print(f"  a file of {frames[0].height:,} rows, {name}: {shown(values, 's')}")
    single = [
        await store(engine, frames[0].head(1).with_columns(pl.col("quantity") + number + 1)) for number in range(ROUNDS)
    ]
    print(f"  a file of one row: {shown(single, 's', '.3f')}")
    began = time.perf_counter()
    if await rollups.refresh(engine):
        print(f"  refreshing the continuous aggregates after all of them: {time.perf_counter() - began:.1f} s")
    async with engine.begin() as connection:
        rows = (await connection.execute(text("SELECT count(*) FROM demand"))).scalar_one()
        print(f"{rows:,} demand rows of {ITEMS:,} items")
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text("VACUUM ANALYZE"))


async def store(engine: AsyncEngine, frame: pl.DataFrame) -> float:
    """Seconds to merge one file's rows with their roll-ups."""
    began = time.perf_counter()
    async with AsyncSession(engine) as session, session.begin():
        await targets.store(session, "demand", frame, feed="bench")
    return time.perf_counter() - began


def shown(values: list[float], unit: str, form: str = ".2f") -> str:
    """Median and spread."""
    return f"{statistics.median(values):{form}} {unit} ({min(values):{form}} to {max(values):{form}})"


async def read(engine: AsyncEngine, grain: str, note: str = "") -> None:
    """Print the p95 of one item's series, and how it stands to the limit; `note` says in what circumstances."""
    chosen = random.Random(4)
    tails: list[float] = []
    middles: list[float] = []
    async with AsyncSession(engine) as session:
        ids = list((await session.execute(text("SELECT id FROM item ORDER BY code"))).scalars())
        for _ in range(ROUNDS):
            times = []
            for item_id in chosen.sample(ids, READS):
                began = time.perf_counter()
                rows = await items.demand(session, item_id, grain, None, None)
                times.append((time.perf_counter() - began) * 1000)
                assert sum(row[1] for row in rows) > 0
            times.sort()
            tails.append(times[int(READS * 0.95)])
            middles.append(times[READS // 2])
    ratio = statistics.median(tails) / LIMIT_MS
    print(
        f"one item by {grain}{note}: p50 {shown(middles, 'ms')}, p95 {shown(tails, 'ms')};"
        f" limit {LIMIT_MS:.0f} ms: x{ratio:.2f} (below 1 is within)"
    )


async def measure(url: str) -> None:
    """Fill and read."""
    engine = create_async_engine(url)
    try:
        await fill(engine)
        for grain in ("week", "month", "day"):
            await read(engine, grain)
        await store(engine, demand_of(range(WEEKS - BATCH_WEEKS, WEEKS)))
        await read(engine, "week", f", the last {BATCH_WEEKS} weeks of all items just restated")
        await rollups.refresh(engine)
        await store(engine, demand_of(range(1)).with_columns(quantity=pl.lit(3.0)))
        await read(engine, "week", ", the first week of all items just restated")
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            async with AsyncSession(engine) as session:
                history = await plant.read_weekly_history(session)
            took.append(time.perf_counter() - began)
        print(f"a year of weeks of all items, {history.height:,} rows: {shown(took, 's')}")
    finally:
        await engine.dispose()


def main() -> None:
    """Measure on the server that is given, else on a fresh embedded PostgreSQL."""
    with given_postgres() as url:
        asyncio.run(measure(url))


if __name__ == "__main__":
    main()
