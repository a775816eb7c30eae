"""Each source has a process of its own: made for its job, lost without harm to the others, and gone when it is idle."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from victims import find

from actors import jobs
from actors.owner import Connections
from cluster.local.stack import Stack
from db.models import Job, Source
from db.models.job import FINAL_STATES
from db.repositories import jobs as repository
from tests.faults import work

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
NEEDLE = "ray::SourceActor"
PATIENCE_S = 60.0


@pytest.fixture
async def sources(connections: Connections) -> list[str]:
    """Codes of three sources that are there to be read."""
    codes = [f"s{uuid.uuid4().hex[:8]}" for _ in range(3)]
    async with connections.sessions.begin() as session:
        for statement in work.TABLES:
            await session.execute(text(statement))
        session.add_all(Source(code=code, name=code, connector="folder") for code in codes)
    return codes


async def start(connections: Connections, source: str, seconds: float = 0.0) -> Job:
    async with connections.sessions.begin() as session:
        job, _ = await jobs.start(
            session, "fault_source", {"source": source, "seconds": seconds}, requested_by="the test"
        )
    return job


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not (found := await condition()):
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for: {what}"
        await asyncio.sleep(0.1)
    return found


async def begun(connections: Connections, job: Job, attempt: int = 1) -> int:
    """Process id of the job's attempt, once it runs."""

    async def row() -> Any:
        async with connections.sessions() as session:
            query = text("SELECT pid FROM fault_begin WHERE job_id = :id AND attempt >= :attempt")
            return (await session.execute(query, {"id": job.id, "attempt": attempt})).scalar()

    return int(await until(row, f"attempt {attempt}"))


async def ended(connections: Connections, job: Job) -> Job:
    async def final() -> Job | None:
        async with connections.sessions() as session:
            found = await repository.get(session, job.id)
        return found if found is not None and found.state in FINAL_STATES else None

    found: Job = await until(final, "the job's end")
    return found


async def test_a_kill_of_one_sources_process_leaves_the_others_alone(
    stack: Stack, connections: Connections, sources: list[str]
) -> None:
    struck, spared = [await start(connections, source, seconds=8.0) for source in sources[:2]]
    victim, bystander = await begun(connections, struck), await begun(connections, spared)
    assert victim != bystander
    os.kill(victim, signal.SIGKILL)
    assert await begun(connections, struck, attempt=2) not in (victim, bystander)
    ends = [await ended(connections, job) for job in (struck, spared)]
    assert [(end.state, end.attempts, end.losses) for end in ends] == [("done", 2, 1), ("done", 1, 0)]
    async with connections.sessions() as session:
        query = text("SELECT count(*) FROM fault_effect WHERE job_id IN (:one, :other)")
        assert (await session.execute(query, {"one": struck.id, "other": spared.id})).scalar() == 2


async def test_idle_processes_make_room_and_go_and_come_back_with_the_next_job(
    stack: Stack, connections: Connections, sources: list[str]
) -> None:
    pids = []
    for source in sources:
        job = await start(connections, source)
        assert (await ended(connections, job)).state == "done"
        pids.append(await begun(connections, job))

    async def at_most(count: int) -> bool:
        return len(find(stack, NEEDLE)) <= count

    await until(lambda: at_most(2), "room being made")  # FMRP_SOURCE_PROCESSES
    assert pids[-1] in {process.pid for process in find(stack, NEEDLE)}
    again = await start(connections, sources[-1])
    assert (await ended(connections, again)).state == "done"
    assert await begun(connections, again) == pids[-1], "a process that is there is used again"
    await until(lambda: at_most(0), "the end of idle processes")  # FMRP_SOURCE_IDLE_S
    later = await start(connections, sources[-1])
    end = await ended(connections, later)
    assert (end.state, end.attempts) == ("done", 1)
    assert await begun(connections, later) != pids[-1]


async def test_a_deleted_source_keeps_no_process(stack: Stack, connections: Connections, sources: list[str]) -> None:
    job = await start(connections, sources[0])
    assert (await ended(connections, job)).state == "done"
    pid = await begun(connections, job)
    assert pid in {process.pid for process in find(stack, NEEDLE)}
    async with connections.sessions.begin() as session:
        await session.execute(text("UPDATE source SET deleted_at = now() WHERE code = :code"), {"code": sources[0]})
    before = asyncio.get_running_loop().time()

    async def is_gone() -> bool:
        return pid not in {process.pid for process in find(stack, NEEDLE)}

    await until(is_gone, "its process's end")
    assert asyncio.get_running_loop().time() - before < 8.0, "it waited until it was idle for long"
