"""Old months of forecasts and job events go as whole partitions, demand never; policies do the same on TimescaleDB."""

from __future__ import annotations

from datetime import date

import pytest
from series_world import assert_exact, store_demand, store_items
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from actors.owner import Connections
from db import retention
from db.models import Job
from db.repositories import jobs
from db.retention import Retention
from db.timeseries import has_hypertables, partitions, prepare_months

D = date
TODAY = D(2027, 3, 10)
WANTED = Retention(forecast_days=365, job_event_days=60, restatement_days=300)


async def fill(session: AsyncSession) -> None:
    """Forecasts, job events and demand of long ago and of late."""
    await store_items(session)
    await store_demand(session, ("A", D(2011, 1, 3), 1.0), ("A", D(2027, 3, 1), 1.0))
    connection = await session.connection()
    weeks = [D(2026, 2, 2), D(2026, 3, 9), D(2027, 3, 1)]
    await prepare_months(connection, "forecast", weeks)
    await prepare_months(connection, "job_event", [D(2026, 12, 1), D(2027, 1, 1)])
    for week in weeks:
        values = {"run": uuid7(), "item": uuid7(), "week": week}
        await session.execute(text("INSERT INTO forecast VALUES (:run, :item, :week, 1, 1, 1, 1, 1, 1)"), values)
    # 2019 has no partition of its own: whoever wrote then was not stopped by that.
    for at in ("2019-05-05", "2026-12-31 23:59:59", "2027-01-01 00:00:00", "2027-02-02"):
        await session.execute(
            text(
                "INSERT INTO job_event (job_id, at, kind, state, attempt, progress, step, message)"
                f" VALUES (:job, '{at}+00', 'plan', 'done', 1, 1, '', '')"
            ),
            {"job": uuid7()},
        )


async def test_old_months_are_dropped_and_coming_ones_prepared(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        if await has_hypertables(await session.connection()):
            pytest.skip("TimescaleDB's own policies do this")
        await fill(session)
    async with connections.sessions.begin() as session:
        assert await retention.apply(await session.connection(), WANTED, TODAY) >= 2
    async with connections.sessions.begin() as session:
        connection = await session.connection()
        assert await retention.apply(connection, WANTED, TODAY) == 0
        assert await partitions(connection, "forecast") == {"forecast_2026_03", "forecast_2027_03"}
        kept = await partitions(connection, "job_event")
        assert "job_event_2026_12" not in kept
        assert {"job_event_2027_01", "job_event_2027_04", "job_event_2027_05", "job_event_default"} <= kept
        moments = (await session.execute(text("SELECT at::date FROM job_event ORDER BY at"))).scalars().all()
        assert moments == [D(2027, 1, 1), D(2027, 2, 2)]
        assert (await session.execute(text("SELECT count(*) FROM demand"))).scalar_one() == 2
        await assert_exact(session)


async def test_policies_are_set_once_and_follow_the_settings(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        connection = await session.connection()
        if not await has_hypertables(connection):
            pytest.skip("no TimescaleDB: native partitions are dropped instead")
        await fill(session)
        assert await retention.apply(connection, retention.DEFAULTS, TODAY) == 0
        assert await retention.apply(connection, WANTED, TODAY) == 3
        assert await retention.apply(connection, WANTED, TODAY) == 0
        found = await session.execute(
            text(
                "SELECT hypertable_name, coalesce(config ->> 'drop_after', config ->> 'compress_after')::interval"
                " FROM timescaledb_information.jobs WHERE proc_name = ANY(:names)"
            ),
            {"names": ["policy_retention", "policy_compression"]},
        )
        days = sorted((name, after.days) for name, after in found)
        assert days == [("demand", 300), ("forecast", 60), ("forecast", 365), ("job_event", 7), ("job_event", 60)]


async def test_no_missing_month_stops_the_queue(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        if await has_hypertables(await session.connection()):
            pytest.skip("a hypertable makes its chunks itself")
        for name in await partitions(await session.connection(), "job_event") - {"job_event_default"}:
            await session.execute(text(f"DROP TABLE {name}"))
        job = Job(kind="plan")
        session.add(job)
        await session.flush()
    async with connections.sessions.begin() as session:
        # What is in the default partition stays there; maintenance only prepares months that nobody has reached.
        today = (await jobs.clock(session)).date()
        await retention.apply(await session.connection(), WANTED, today)
        states = text("SELECT state FROM job_event WHERE job_id = :job")
        assert (await session.execute(states, {"job": job.id})).scalars().all() == ["waiting"]
