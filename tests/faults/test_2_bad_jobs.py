"""Jobs that harm their own process: they end with a reason, the process comes back, and their neighbours go on."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
from memory_group import MemoryGroup, Unavailable, memory_group
from observed import Account, job, rows, start, until, until_begun, until_ended

from actors import jobs
from actors.owner import Connections
from tests.faults.work import GRACE_S

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(240)]

MIB = 1024**2
# Asking, waiting out the grace, ending the process and writing it down, on a busy machine.
SLACK_S = 8.0


async def neighbours(system: Connections) -> list[uuid.UUID]:
    """Well-behaved jobs in the same actor, at work."""
    # Long enough not to slip through between two deaths of their process.
    ids = await start(system, "fault_effect", 20, seconds=1.0)
    await until_begun(system, ids[0])
    return ids


async def all_done(system: Connections, ids: list[uuid.UUID]) -> Account:
    """The neighbours' end."""
    ended = await until_ended(system, ids, 120)
    assert ended.is_exactly_once, ended
    return ended


async def test_a_poison_job_is_held_and_its_neighbours_are_not(system: Connections) -> None:
    beside = await neighbours(system)
    (poison,) = await start(system, "fault_poison")
    await until_ended(system, [poison], 180)
    ended = await job(system, poison)
    assert ended.state == "held"
    assert "took its worker down" in (ended.error or "")
    assert ended.losses == system.settings.job_max_losses
    begun = await rows(system, "SELECT count(DISTINCT pid) FROM fault_begin WHERE job_id = :job", job=poison)
    assert begun[0][0] == ended.losses, "each attempt had a process of its own to take down"
    await all_done(system, beside)


async def test_a_job_that_ignores_cancellation_loses_its_process(system: Connections) -> None:
    (stubborn,) = await start(system, "fault_stubborn", seconds=120)
    first = await until_begun(system, stubborn)
    beside = await neighbours(system)
    asked = time.monotonic()
    async with system.sessions.begin() as session:
        await jobs.cancel(session, stubborn)
    ended = await until_ended(system, [stubborn], GRACE_S + SLACK_S)
    took_s = time.monotonic() - asked
    assert ended.states == {"cancelled": 1}
    print(f"cancelled {took_s:.1f} s after it was asked; its grace was {GRACE_S:.0f} s")
    assert ended.missing == 1, "a cancelled job has had its effect"
    await all_done(system, beside)
    await until_process_is_another(system, first.pid)


@pytest.mark.faults_full
async def test_a_job_whose_time_runs_out_and_does_not_stop_loses_its_process(system: Connections) -> None:
    (overdue,) = await start(system, "fault_overdue", seconds=120, max_attempts=1)
    first = await until_begun(system, overdue)
    ended = await until_ended(system, [overdue], 120)
    assert ended.states == {"failed": 1}, ended
    assert "longer than" in ((await job(system, overdue)).error or "")
    assert ended.missing == 1
    await until_process_is_another(system, first.pid)


async def test_a_job_that_holds_the_event_loop_has_its_effect_once(system: Connections) -> None:
    """It holds it for longer than a heartbeat; nobody may take the process for dead and let both attempts count."""
    seconds = system.settings.job_heartbeat_s + 2
    (blocking,) = await start(system, "fault_blocking", seconds=seconds)
    beside = await start(system, "fault_effect", 10)
    ended = await until_ended(system, [blocking], 120)
    assert ended.is_exactly_once, ended
    await all_done(system, beside)


async def test_out_of_memory_in_python_fails_the_job_alone(system: Connections) -> None:
    beside = await neighbours(system)
    (hungry,) = await start(system, "fault_hungry")
    await until_ended(system, [hungry])
    ended = await job(system, hungry)
    assert ended.state == "failed"
    assert "MemoryError" in (ended.error or "")
    assert ended.attempts == 1, "it would meet the same limit again"
    await all_done(system, beside)


@pytest.mark.faults_full
async def test_a_process_ended_by_the_kernel_for_its_memory_is_a_dead_letter(system: Connections) -> None:
    try:
        with memory_group(600 * MIB) as group:
            (crowded,) = await start(system, "fault_crowded", group=group.name)
            feeding = asyncio.create_task(feed(system, group, crowded))
            await until_ended(system, [crowded], 180)
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
    except Unavailable as reason:
        pytest.skip(str(reason))
    ended = await job(system, crowded)
    assert ended.state == "held"
    assert "took its worker down" in (ended.error or "")
    (after,) = await start(system, "fault_effect")
    assert (await until_ended(system, [after])).is_exactly_once


async def feed(system: Connections, group: MemoryGroup, job_id: uuid.UUID) -> None:
    """Put every process that begins the job into the group, as it begins."""
    taken: set[int] = set()
    while True:
        begun = await rows(system, "SELECT pid FROM fault_begin WHERE job_id = :job", job=job_id)
        for (pid,) in begun:
            if pid not in taken:
                taken.add(pid)
                group.take(pid)
        await asyncio.sleep(0.1)


async def until_process_is_another(system: Connections, pid: int) -> None:
    """Wait until jobs run in a new process."""

    async def is_another() -> bool:
        (probe,) = await start(system, "fault_effect", seconds=0)
        return bool((await until_begun(system, probe)).pid != pid)

    await until(is_another, "a new process", 30)
