"""kill -9 of any one process: the job it held is begun again within 15 s, and its effect happens once."""

from __future__ import annotations

import os
import signal

import pytest
from observed import ORPHAN_LIMIT_S, database_now, start, until_begun, until_ended
from victims import HEAD, NEEDLES, is_foreign, kill

from actors.owner import Connections
from cluster.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(150)]

# Long enough to be killed in, and still there while its second attempt begins.
SECONDS = 6.0
# These orphan nothing: the job they do not hold goes on undisturbed.
BESIDE = ("API replica", "Serve proxy", "Serve controller", "forecaster replica", "dashboard", "Redis")


async def orphan(system: Connections, stack: Stack, victim: str) -> tuple[float, int]:
    """Kill the victim while a job runs; returns seconds until its next attempt began and how many attempts it took."""
    (job_id,) = await start(system, "fault_effect", seconds=SECONDS)
    first = await until_begun(system, job_id)
    killed_at = await database_now(system)
    if victim == "owning actor":
        os.kill(first.pid, signal.SIGKILL)
    else:
        assert kill(stack, NEEDLES[victim]) > 0, f"{victim} was not found"
    again = await until_begun(system, job_id, first.attempt + 1)
    ended = await until_ended(system, [job_id])
    assert ended.is_exactly_once, ended
    return (again.at - killed_at).total_seconds(), again.attempt


@pytest.mark.parametrize(
    "victim",
    [
        "owning actor",
        "dispatcher",
        # Ray as a whole goes down with each of these.
        *(pytest.param(victim, marks=pytest.mark.faults_full) for victim in HEAD),
    ],
)
async def test_an_orphaned_job_begins_again_in_time(system: Connections, stack: Stack, victim: str) -> None:
    recovery_s, _ = await orphan(system, stack, victim)
    print(f"{victim}: begun again after {recovery_s:.1f} s")
    assert recovery_s < ORPHAN_LIMIT_S


@pytest.mark.faults_full
@pytest.mark.parametrize("victim", BESIDE)
async def test_a_job_does_not_notice_the_loss_of_what_it_does_not_use(
    system: Connections, stack: Stack, victim: str
) -> None:
    if is_foreign(victim):
        pytest.skip("the tests do not kill a server they did not start")
    (job_id,) = await start(system, "fault_effect", seconds=2.0)
    await until_begun(system, job_id)
    assert kill(stack, NEEDLES[victim]) > 0, f"{victim} was not found"
    ended = await until_ended(system, [job_id], 30)
    assert ended.is_exactly_once, ended


async def test_jobs_outlive_a_kill_of_the_database_server(system: Connections, stack: Stack) -> None:
    if is_foreign("PostgreSQL"):
        pytest.skip("the tests do not kill a server they did not start")
    ids = await start(system, "fault_effect", 40, seconds=1.0)
    await until_begun(system, ids[0])
    assert kill(stack, NEEDLES["PostgreSQL"]) > 0
    ended = await until_ended(system, ids, 90)
    assert ended.is_exactly_once, ended


async def test_jobs_do_not_need_what_redis_held(system: Connections, stack: Stack) -> None:
    ids = await start(system, "fault_effect", 40, seconds=0.5)
    await until_begun(system, ids[0])
    await system.redis.flushall()
    ended = await until_ended(system, ids)
    assert ended.is_exactly_once, ended
