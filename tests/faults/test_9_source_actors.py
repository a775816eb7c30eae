"""Each source has a process of its own: made for its job, lost without harm to the others, and gone when it is idle."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid

import pytest
from observed import job, start, until, until_begun, until_ended
from sqlalchemy import text
from victims import find

from actors.owner import Connections
from cluster.local.stack import Stack
from db.models import Source

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(150)]
NEEDLE = "ray::SourceActor"


@pytest.fixture
async def sources(system: Connections) -> list[str]:
    """Codes of three sources that are there to be read."""
    codes = [f"s{uuid.uuid4().hex[:8]}" for _ in range(3)]
    async with system.sessions.begin() as session:
        session.add_all(Source(code=code, name=code, connector="folder") for code in codes)
    return codes


def pids(stack: Stack) -> set[int]:
    """Processes of sources that are there."""
    return {process.pid for process in find(stack, NEEDLE)}


async def until_at_most(stack: Stack, count: int) -> None:
    async def few() -> bool:
        return len(pids(stack)) <= count

    await until(few, f"at most {count} processes of sources", 60)


async def ran(system: Connections, source: str) -> int:
    """Run a short job of the source at its first attempt; returns the process that did it."""
    (job_id,) = await start(system, "fault_source", source=source, seconds=0.0)
    assert (await until_ended(system, [job_id])).is_exactly_once
    assert (await job(system, job_id)).attempts == 1
    return int((await until_begun(system, job_id)).pid)


async def test_a_kill_of_one_sources_process_leaves_the_others_alone(system: Connections, sources: list[str]) -> None:
    (struck,), (spared,) = [await start(system, "fault_source", source=code, seconds=4.0) for code in sources[:2]]
    victim, bystander = await until_begun(system, struck), await until_begun(system, spared)
    assert victim.pid != bystander.pid
    os.kill(victim.pid, signal.SIGKILL)
    again = await until_begun(system, struck, attempt=2)
    assert again.pid not in (victim.pid, bystander.pid)
    assert (await until_ended(system, [struck, spared])).is_exactly_once
    ends = [await job(system, each) for each in (struck, spared)]
    assert [(end.attempts, end.losses) for end in ends] == [(2, 1), (1, 0)]


async def test_a_deleted_source_keeps_no_process_and_a_restored_one_gets_another(
    system: Connections, stack: Stack, sources: list[str]
) -> None:
    first = await ran(system, sources[0])
    assert first in pids(stack)
    switch = "UPDATE source SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE code = :code"
    async with system.sessions.begin() as session:
        await session.execute(text(switch), {"code": sources[0]})

    async def is_gone() -> bool:
        return first not in pids(stack)

    await until(is_gone, "its process's end", 60)
    async with system.sessions.begin() as session:
        await session.execute(text(switch), {"code": sources[0]})
    assert await ran(system, sources[0]) != first


@pytest.mark.faults_full
async def test_idle_processes_make_room_and_go_and_come_back_with_the_next_job(
    system: Connections, stack: Stack, sources: list[str]
) -> None:
    *_, last = [await ran(system, source) for source in sources]
    await until_at_most(stack, 2)  # FMRP_CONNECTOR_PROCESSES
    assert last in pids(stack)
    assert await ran(system, sources[-1]) == last, "a process that is there is used again"
    await until_at_most(stack, 0)  # FMRP_CONNECTOR_IDLE_S
    assert await ran(system, sources[-1]) != last


@pytest.mark.faults_full
async def test_jobs_that_meet_a_process_on_its_way_out_lose_no_attempt(
    system: Connections, stack: Stack, sources: list[str]
) -> None:
    """Jobs begun around the moment at which an idle process ends: 6 s after the one before."""
    for pause_s in (5.6, 5.9, 6.2, 6.5, 7.0, 7.5, 8.0, 8.5):
        await ran(system, sources[0])
        await asyncio.sleep(pause_s)
    await ran(system, sources[0])
