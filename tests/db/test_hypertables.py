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

import polars as pl
import pytest
from alembic import command
from pydantic import SecretStr
from series_world import assert_exact, demand_frame, store_items
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from actors.owner import Connections
from cluster.local.postgres import EmbeddedPostgres
from db import migrate, rollups
from db.base import uuid7
from db.models import ForecastRun, Job
from db.repositories import forecasts, items, plant, targets
from db.timeseries import SERIES, partitions, prepare_months
from settings import Settings

D = date
# Months apart, on both sides of month and year ends.
DAYS = [D(2010, 1, 31), D(2010, 2, 1), D(2010, 2, 28), D(2024, 2, 29), D(2024, 12, 31), D(2025, 1, 1), D(2025, 3, 15)]
QUANTILES = ("mean", "q10", "q25", "q50", "q75", "q90")


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
        dimensions = (
            "SELECT hypertable_name, column_name, time_interval FROM timescaledb_information.dimensions"
            " WHERE hypertable_schema = 'public'"
        )
        found = (await session.execute(text(dimensions))).all()
        assert {row[0]: row[1] for row in found} == SERIES
        assert {row[2] for row in found} == {timedelta(days=30)}
        assert await column(session, "SELECT value FROM capability WHERE name = 'hypertables'") == [
            f"timescaledb {timescale_version}"
        ]


async def test_roll_ups_are_continuous_aggregates_with_finite_policies(
    timescale_version: str, connections: Connections
) -> None:
    async with connections.sessions() as session:
        views = (
            "SELECT view_name::text, materialized_only FROM timescaledb_information.continuous_aggregates ORDER BY 1"
        )
        assert [tuple(row) for row in await session.execute(text(views))] == [
            ("demand_month_aggregate", False),
            ("demand_week_aggregate", False),
        ]
        for view in rollups.GRAINS.values():
            definition = f"SELECT pg_get_viewdef('{view}'::regclass)"
            assert f"{view}_aggregate" in (await column(session, definition))[0]
        policies = "SELECT proc_name::text, config FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL"
        found = [tuple(row) for row in await session.execute(text(policies))]
        names = [name for name, _ in found]
        assert {name: names.count(name) for name in names} == {
            "policy_refresh_continuous_aggregate": 2,
            "policy_compression": 3,
            "policy_retention": 2,
        }
        # An open start would compute all of history anew each time.
        refreshes = [config for name, config in found if name == "policy_refresh_continuous_aggregate"]
        assert all(config["start_offset"] == "6 mons" for config in refreshes)
        # Demand is kept for ever.
        dropped = "SELECT hypertable_name FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
        assert sorted(await column(session, dropped)) == ["forecast", "job_event"]


async def test_a_refresh_materialises_what_was_stored_and_asks_demand_no_more(
    timescale_version: str, connections: Connections
) -> None:
    async with connections.sessions.begin() as session:
        await store_items(session)
        await store_days(session, DAYS, 1.0)
    async with connections.sessions() as session:
        assert await column(session, "SELECT count(*) FROM rollup_pending") == [1]
    assert await rollups.refresh(connections.engine) is True
    assert await rollups.refresh(connections.engine) is False
    async with connections.sessions() as session:
        assert await column(session, "SELECT count(*) FROM rollup_pending") == [0]
        stored = (
            "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
            " FROM timescaledb_information.continuous_aggregates WHERE view_name = 'demand_week_aggregate'"
        )
        table = (await column(session, stored))[0]
        assert (await column(session, f"SELECT count(*) FROM {table}"))[0] == 2 * len(
            {day.isocalendar()[:2] for day in DAYS}
        )
        await assert_exact(session)


async def test_a_refresh_beside_a_policy_leaves_its_days_to_the_next_one(
    timescale_version: str, connections: Connections
) -> None:
    async with connections.sessions.begin() as session:
        await store_items(session)
        await store_days(session, DAYS, 1.0)
    # What a policy that refreshes all of the weeks has noted of itself.
    note = (
        "INSERT INTO _timescaledb_catalog.continuous_aggs_jobs_refresh_ranges SELECT mat_hypertable_id,"
        " -9223372036854775808, 9223372036854775807, pg_backend_pid(), 0, now()"
        " FROM _timescaledb_catalog.continuous_agg WHERE user_view_name = 'demand_week_aggregate'"
    )
    async with connections.engine.connect() as plain:
        policy = await plain.execution_options(isolation_level="AUTOCOMMIT")
        await policy.execute(text(note))
        assert await rollups.refresh(connections.engine) is False
        async with connections.sessions() as session:
            await assert_exact(session)
        await policy.execute(text("DELETE FROM _timescaledb_catalog.continuous_aggs_jobs_refresh_ranges"))
    assert await rollups.refresh(connections.engine) is True
    async with connections.sessions() as session:
        await assert_exact(session)


async def test_a_month_stated_anew_goes_into_the_columnstore_and_back_out(
    timescale_version: str, connections: Connections
) -> None:
    """An ERP states a month anew long after it: more rows than a statement may take out of the columnstore."""
    codes = tuple(f"I{number:04}" for number in range(4000))
    month = [D(2021, 6, day) for day in range(1, 31)]
    rows = pl.DataFrame({"item": codes}).join(pl.DataFrame({"day": month}), how="cross")
    rows = rows.with_columns(quantity=pl.lit(2.0), revenue=pl.lit(3.0))
    compressed = (
        "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'demand' AND is_compressed"
    )
    async with connections.sessions.begin() as session:
        await store_items(session, codes)
        await targets.store(session, "demand", rows, feed="erp")
    await rollups.refresh(connections.engine)
    async with connections.engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        job = "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = 'demand'"
        policy = (await connection.execute(text(f"{job} AND proc_name = 'policy_compression'"))).scalar_one()
        # By hand only: were it to run by itself beside the writes, they might meet in a deadlock and be tried again.
        await connection.execute(text(f"SELECT alter_job({policy}, scheduled => false)"))
        await connection.execute(text(f"CALL run_job({policy})"))
        assert (await connection.execute(text(compressed))).scalar_one() >= 1
    async with connections.sessions.begin() as session:
        await assert_exact(session)
        await targets.store(session, "demand", rows.with_columns(quantity=pl.lit(5.0)), feed="erp")
    async with connections.sessions.begin() as session:
        await assert_exact(session)
        # Invoice lines of some items are cancelled: their days are gone, those of others stay.
        some = rows.filter(pl.col("item") < "I2000", pl.col("day") > D(2021, 6, 3))
        await targets.replace_demand(session, some["item"], some, feed="erp")
    await rollups.refresh(connections.engine)
    async with connections.sessions() as session:
        await assert_exact(session)
        assert await column(session, "SELECT count(*) FROM demand") == [2000 * 27 + 2000 * 30]
        assert sorted(await column(session, "SELECT sum(quantity)::int FROM demand GROUP BY quantity")) == [
            2 * 2000 * 27,
            5 * 2000 * 30,
        ]


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
            assert await partitions(await session.connection(), table) == set()
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
        for grain in ("day", "week", "month"):
            found = await items.demand(session, item.id, grain, D(2010, 2, 1), D(2025, 2, 1))
            read[grain] = pl.DataFrame([tuple(row) for row in found], orient="row")
        single = await forecasts.item_forecast(session, run_id, "A")
        assert single is not None
        read["one"] = pl.DataFrame([{name: getattr(row, name) for name in ("week", *QUANTILES)} for row in single[2]])
    return read
