"""Series tables on a real TimescaleDB: hypertables after migration, and the same rows as native partitions give.

Runs only where FMRP_DATABASE_URL names a server that has the community-licensed extension preloaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
from alembic import command
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from actors.owner import Connections
from cluster.local.postgres import EmbeddedPostgres
from db import migrate
from db.base import uuid7
from db.models import ForecastRun, Job
from db.repositories import forecasts, items, plant, targets
from db.timeseries import SERIES, prepare_months
from ingestion.targets import TARGETS
from settings import Settings

INSTALL = (
    "no TimescaleDB: install timescaledb-2-postgresql-16 (community licence, not the -oss build), set"
    " shared_preload_libraries = 'timescaledb', restart, and name the server in FMRP_DATABASE_URL"
)
D = date
# Months apart, on both sides of month and year ends.
DAYS = [D(2010, 1, 31), D(2010, 2, 1), D(2010, 2, 28), D(2024, 2, 29), D(2024, 12, 31), D(2025, 1, 1), D(2025, 3, 15)]
QUANTILES = ("mean", "q10", "q25", "q50", "q75", "q90")


async def version_of(url: str) -> str | None:
    """Version of the community-licensed TimescaleDB in this server; None without one.

    It is asked for apart from `detect_timescale`, so that a fault there fails these tests and never skips them.
    """
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        preloaded = await connection.fetchval("SHOW shared_preload_libraries")
        available = "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'"
        version: str | None = await connection.fetchval(available)
        if version is None or "timescaledb" not in preloaded:
            return None
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        return version if await connection.fetchval("SHOW timescaledb.license") == "timescale" else None
    finally:
        await connection.close()


@pytest.fixture
def timescale_version(empty_database_url: str) -> str:
    """The server's TimescaleDB; skips where there is none."""
    version = asyncio.run(version_of(empty_database_url))
    if version is None:
        pytest.skip(INSTALL)
    return version


@pytest.fixture
def native_settings(timescale_version: str, settings: Settings, server_folder: Path) -> Iterator[Settings]:
    """A migrated database without TimescaleDB, to compare with."""
    server = EmbeddedPostgres(server_folder / "native", "test")
    server.start()
    try:
        migrate.upgrade(server.url)
        yield settings.model_copy(update={"database_url": SecretStr(server.url)})
    finally:
        server.stop()


@asynccontextmanager
async def opened(url: str) -> Any:
    """A session of its own on a database."""
    engine = create_async_engine(url)
    try:
        async with AsyncSession(engine) as session:
            yield session
    finally:
        await engine.dispose()


async def column(session: AsyncSession, query: str) -> list[Any]:
    """First column of a query."""
    return list((await session.execute(text(query))).scalars())


def demand_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Demand rows as the ingestion room hands them over."""
    return pl.DataFrame(rows, schema=TARGETS["demand"].schema())


async def store_items(session: AsyncSession) -> None:
    """Two items."""
    rows = [{"code": code, "name": code, "kind": "finished", "unit": "pcs", "active": True} for code in ("A", "B")]
    await targets.store(session, "items", pl.DataFrame(rows, schema=TARGETS["items"].schema()), feed="erp")


async def store_days(session: AsyncSession, days: list[date], factor: float, feed: str = "shop") -> None:
    """A day's quantity tells which item and day it is of."""
    rows = [
        {
            "item": item,
            "day": day,
            "quantity": factor * (start + day.toordinal() % 97),
            "revenue": None if start else 9.5,
        }
        for start, item in enumerate(("A", "B"))
        for day in days
    ]
    await targets.store(session, "demand", demand_frame(rows), feed=feed)


async def store_forecast(session: AsyncSession, mondays: list[date]) -> Any:
    """A run with one row a week for item A."""
    job = Job(kind="forecast")
    session.add(job)
    await session.flush()
    run = ForecastRun(id=uuid7(), job_id=job.id, as_of=mondays[0], horizon_weeks=len(mondays), items=1)
    rows = [
        {"item": "A", "week": week} | {name: 1.25 * place + week.day for place, name in enumerate(QUANTILES)}
        for week in mondays
    ]
    series = {
        **{"item": "A", "demand_class": "smooth", "adi": 1.0, "cv2": 0.1, "abc": "A", "xyz": "X", "model": "m"},
        **{"reason": "r", "service_level": 0.95, "lead_time_weeks": 2.0, "lead_time_mean": 5.0},
        "lead_time_quantile": 7.0,
    }
    metrics = {"model": "chosen", "demand_class": "all", "series": 1}
    measures = ("wql", "rmsse", "mase", "wape", "bias", "coverage_80")
    frame = pl.DataFrame([metrics | dict.fromkeys(measures, 0.5)])
    await forecasts.store(session, run, pl.DataFrame(rows), pl.DataFrame([series]), frame)
    return run.id


async def test_series_are_hypertables_after_migration(timescale_version: str, connections: Connections) -> None:
    async with connections.sessions() as session:
        tables = "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = 'public'"
        assert sorted(await column(session, tables)) == sorted(SERIES)
        dimensions = "SELECT hypertable_name, column_name, time_interval FROM timescaledb_information.dimensions"
        found = (await session.execute(text(dimensions))).all()
        assert {row[0]: row[1] for row in found} == SERIES
        assert {row[2] for row in found} == {timedelta(days=30)}
        assert await column(session, "SELECT value FROM capability WHERE name = 'hypertables'") == [
            f"timescaledb {timescale_version}"
        ]
        # No job of ours runs behind the operator's back: columnstore policies are written by hand.
        policies = "SELECT proc_name FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL"
        assert await column(session, policies) == []


def test_up_down_up_finds_no_difference_with_chunks_there(timescale_version: str, empty_database_url: str) -> None:
    async def fill() -> list[Any]:
        async with opened(empty_database_url) as session:
            await store_items(session)
            await store_days(session, DAYS, 1.0)
            await store_forecast(session, [D(2010, 2, 1), D(2025, 1, 6)])
            await session.commit()
            return await column(session, "SELECT chunk_name FROM timescaledb_information.chunks")

    async def left() -> list[Any]:
        async with opened(empty_database_url) as session:
            ours = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            chunks = "SELECT relname FROM pg_class WHERE relname LIKE '%\\_hyper\\_%'"
            return await column(session, ours) + await column(session, chunks)

    migrate.upgrade(empty_database_url)
    assert len(asyncio.run(fill())) > 4
    command.check(migrate.config(empty_database_url))
    migrate.downgrade(empty_database_url, "base")
    assert asyncio.run(left()) == []
    migrate.upgrade(empty_database_url)
    command.check(migrate.config(empty_database_url))
    assert len(asyncio.run(fill())) > 4


async def test_demand_is_stored_and_replaced_across_the_years(timescale_version: str, connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        await store_items(session)
        await store_days(session, DAYS, 1.0)
    async with connections.sessions.begin() as session:
        await store_days(session, [*DAYS[1:], D(2026, 7, 1)], 2.0)
    async with connections.sessions() as session:
        found = (await plant.read_demand(session)).filter(pl.col("item") == "A")
        expected = {DAYS[0]: 1.0} | dict.fromkeys([*DAYS[1:], D(2026, 7, 1)], 2.0)
        assert dict(found.select("day", "quantity").iter_rows()) == {
            day: factor * (day.toordinal() % 97) for day, factor in expected.items()
        }
        # Chunks, not partitions: every row lies in one, and none in the table itself.
        assert await column(session, "SELECT count(*) FROM ONLY demand") == [0]
        chunks = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'demand'"
        assert (await column(session, chunks))[0] >= 5


async def test_the_partition_code_does_nothing(timescale_version: str, connections: Connections) -> None:
    relations = "SELECT oid FROM pg_class ORDER BY oid"
    async with connections.sessions.begin() as session:
        before = await column(session, relations)
        for table in SERIES:
            await prepare_months(await session.connection(), table, DAYS)
        assert await column(session, relations) == before
        with pytest.raises(KeyError):
            await prepare_months(await session.connection(), "item", DAYS)


async def test_rows_are_those_that_native_partitions_give(
    timescale_version: str, connections: Connections, native_settings: Settings
) -> None:
    native = Connections(native_settings, "test")
    try:
        answers = [await answer(each) for each in (connections, native)]
        async with native.sessions() as session:
            assert await column(session, "SELECT name FROM capability") == []
    finally:
        await native.close()
    ours, theirs = answers
    assert ours["demand"].height > len(DAYS)
    assert ours["forecast"].height == 3
    for name, frame in theirs.items():
        assert ours[name].equals(frame), name


async def answer(connections: Connections) -> dict[str, pl.DataFrame]:
    """Write, replace and delete series rows; then everything the system reads of them."""
    async with connections.sessions.begin() as session:
        await store_items(session)
        await store_days(session, DAYS, 1.0)
        await store_days(session, DAYS[2:5], 3.0, feed="erp")
        run_id = await store_forecast(session, [D(2024, 12, 30), D(2025, 1, 6), D(2025, 2, 3)])
    async with connections.sessions.begin() as session:
        await store_days(session, DAYS[3:], 2.5)
        rows = demand_frame([{"item": "B", "day": D(2011, 6, 1), "quantity": 4.0}])
        await targets.replace_demand(session, pl.Series(["B"]), rows, feed="erp")
    read = {}
    async with connections.sessions() as session:
        read["demand"] = (await plant.read_demand(session)).sort("item", "day", "feed")
        read["weekly"] = await plant.read_weekly_history(session)
        read["forecast"], read["series"] = await plant.read_forecast(session, run_id)
        item = await items.find(session, "A")
        assert item is not None
        for grain in ("day", "week"):
            found = await items.demand(session, item.id, grain, D(2010, 2, 1), D(2025, 2, 1))
            read[grain] = pl.DataFrame([tuple(row) for row in found], orient="row")
        single = await forecasts.item_forecast(session, run_id, "A")
        assert single is not None
        read["one"] = pl.DataFrame([{name: getattr(row, name) for name in ("week", *QUANTILES)} for row in single[2]])
    return read
