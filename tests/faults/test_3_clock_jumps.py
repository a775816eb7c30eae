"""The clock of a dispatcher, or of a whole machine, jumps an hour: nothing runs early, nobody is taken for dead."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest
from clocks import MovableClock, library
from observed import database_now, job, rows, start, until, until_begun, until_ended
from pydantic import SecretStr
from sqlalchemy import text

from actors import jobs
from actors.kinds import load_work_modules
from actors.owner import Connections
from cluster.local.postgres import EmbeddedPostgres
from db import migrate
from settings import Settings
from tests.faults import work

MODULES = ("tests.faults.work",)
HOUR_S = 3600
pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(120),
    pytest.mark.skipif(library() is None, reason="no movable clock: install Debian's package faketime"),
]


@contextmanager
def dispatcher(settings: Settings, name: str, clock: MovableClock | None = None) -> Iterator[None]:
    """A dispatcher with its owner in a process of its own."""
    environment = {
        **os.environ,
        "FMRP_DATABASE_URL": settings.require_database_url(),
        "FMRP_REDIS_URL": settings.require_redis_url(),
        "FMRP_JOB_HEARTBEAT_S": "2",
        "FMRP_WORK_MODULES": '["tests.faults.work"]',
        **(clock.environment if clock else {}),
    }
    started = subprocess.Popen([sys.executable, "-m", "bench.queue_dispatcher", name], env=environment)
    try:
        yield
    finally:
        started.kill()
        started.wait()


def seen_by_processes(clock: MovableClock) -> float:
    """How far from the true time a process with this clock believes it is."""
    command = [sys.executable, "-c", "import time; print(time.time())"]
    ran = subprocess.run(command, env={**os.environ, **clock.environment}, capture_output=True, text=True, check=True)
    return float(ran.stdout) - time.time()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the kinds that misbehave."""
    return settings.model_copy(update={"work_modules": MODULES})


@pytest.fixture
async def system(settings: Settings) -> AsyncIterator[Connections]:
    """This test's own database."""
    async for opened in prepared(settings):
        yield opened


async def prepared(settings: Settings) -> AsyncIterator[Connections]:
    """Connections to a database with the tables of the effects."""
    load_work_modules(MODULES)
    opened = Connections(settings, "test")
    async with opened.sessions.begin() as session:
        for statement in work.TABLES:
            await session.execute(text(statement))
    yield opened
    await opened.close()


async def workers(system: Connections) -> set[str]:
    """Dispatchers nobody has taken for dead."""
    return {str(row[0]) for row in await rows(system, "SELECT id FROM worker")}


async def both_serve(system: Connections) -> set[str]:
    """Wait for two dispatchers; returns them."""

    async def found() -> set[str] | None:
        seen = await workers(system)
        return seen if len(seen) == 2 else None

    seen: set[str] = await until(found, "two dispatchers", 30)
    return seen


async def test_a_dispatcher_whose_clock_jumps_runs_nothing_early_and_loses_nothing(
    settings: Settings, system: Connections, tmp_path: Path
) -> None:
    clock = MovableClock(tmp_path, "dispatcher")
    with dispatcher(settings, "jumping", clock), dispatcher(settings, "steady"):
        known = await both_serve(system)
        running = await start(system, "fault_effect", 10, seconds=6.0)
        async with system.sessions.begin() as session:
            later, _ = await jobs.start(session, "fault_effect", {"seconds": 0}, requested_by="faults", delay_s=5.0)
        for offset in (HOUR_S, -HOUR_S, 0):
            await until_begun(system, running[0])
            clock.move(offset)
            assert abs(await asyncio.to_thread(seen_by_processes, clock) - offset) < 60, "the clock did not move"
            await asyncio.sleep(1.5)  # the time a jump is given to do harm: more than a heartbeat's interval
        assert (await until_ended(system, [*running, later.id])).is_exactly_once
        begun = await until_begun(system, later.id)
        assert begun.at >= (await job(system, later.id)).run_at, "it ran before its time"
        assert {(await job(system, each)).attempts for each in running} == {1}, "a live worker was taken for dead"
        assert await workers(system) == known


@pytest.fixture
def moved_database(settings: Settings, tmp_path: Path) -> Iterator[tuple[Settings, MovableClock]]:
    """A PostgreSQL server whose clock can be moved."""
    clock = MovableClock(tmp_path, "machine")
    server = EmbeddedPostgres(tmp_path / "pg", "test")
    with patch.dict(os.environ, clock.environment):
        server.start()
    try:
        migrate.upgrade(server.url)
        yield settings.model_copy(update={"database_url": SecretStr(server.url)}), clock
    finally:
        server.stop()


@pytest.mark.faults_full
async def test_when_the_clock_of_the_whole_machine_jumps_jobs_go_on(
    moved_database: tuple[Settings, MovableClock],
) -> None:
    settings, clock = moved_database
    async for system in prepared(settings):
        with dispatcher(settings, "one", clock), dispatcher(settings, "two", clock):
            known = await both_serve(system)
            running = await start(system, "fault_effect", 10, seconds=6.0)
            await until_begun(system, running[0])
            fresh = []
            for offset in (HOUR_S, -HOUR_S, 0):
                clock.move(offset)
                moved_s = (await database_now(system) - datetime.now(UTC)).total_seconds()
                assert abs(moved_s - offset) < 60, "the clock did not move; the test proves nothing"
                fresh += await start(system, "fault_effect", seconds=0)
                assert (await until_ended(system, fresh, 10)).is_exactly_once, f"new jobs stand still at {offset} s"
            assert (await until_ended(system, running)).is_exactly_once
            assert {(await job(system, each)).attempts for each in running} == {1}, "a live worker was taken for dead"
            assert await workers(system) == known
