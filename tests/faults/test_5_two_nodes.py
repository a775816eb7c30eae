"""A node is cut off from the head and works on: what it holds is begun again elsewhere, and only one effect gets in.
A node that is told that it will go hands over, and no attempt is lost."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from observed import rows, start, until_begun, until_ended
from sqlalchemy import text
from two_nodes import FAR, NEAR, TwoNodes, why_not
from victims import is_foreign

from actors.kinds import load_work_modules
from actors.owner import Connections
from settings import Settings
from tests.faults import work

MODULES = ("tests.faults.work",)
ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
FIND_NODE = """
import ray, sys
ray.init(address=sys.argv[1], log_to_driver=False)
print(next(node["NodeID"] for node in ray.nodes() if node["NodeManagerAddress"] == sys.argv[2]))
"""
pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(180)]
# Longer than Ray takes to give the far node up and start the actors on the near one, so that both attempts run at once.
SECONDS = 16.0


@pytest.fixture
async def system(settings: Settings) -> AsyncIterator[Connections]:
    """This test's own database, whose socket both sides of the cut reach: the far side can do harm all the time."""
    if is_foreign("PostgreSQL"):
        pytest.skip("the far node reaches the embedded PostgreSQL by its socket, and no server of yours")
    if reason := why_not():
        pytest.skip(reason)
    load_work_modules(MODULES)
    opened = Connections(settings, "test")
    async with opened.sessions.begin() as session:
        for statement in work.TABLES:
            await session.execute(text(statement))
    yield opened
    await opened.close()


def environment(settings: Settings) -> dict[str, str]:
    """What the actors load their settings from."""
    return {
        "FMRP_DATABASE_URL": settings.require_database_url(),
        "FMRP_REDIS_URL": settings.require_redis_url(),
        "FMRP_WORK_MODULES": '["tests.faults.work"]',
        "FMRP_DATA_DIR": str(settings.data_dir),
        "PYTHONPATH": str(ROOT),
    }


async def place(cluster: TwoNodes, dispatcher_side: str) -> None:
    """Start the actors."""
    command = [sys.executable, "-m", "tests.faults.far_actors", cluster.address, NEAR, FAR, dispatcher_side]
    ran = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("dispatcher_side", ["near", pytest.param("far", marks=pytest.mark.faults_full)])
async def test_the_cut_off_side_gets_no_second_effect_in(
    settings: Settings, system: Connections, dispatcher_side: str
) -> None:
    with TwoNodes(environment(settings)) as cluster:
        await place(cluster, dispatcher_side)
        ids = await start(system, "fault_effect", 5, seconds=SECONDS)
        first = await until_begun(system, ids[0])
        assert first.pid in cluster.far_pids()
        cluster.cut()
        again = await until_begun(system, ids[0], first.attempt + 1)
        recovery_s = (again.at - first.at).total_seconds()
        print(f"begun again on the near side after {recovery_s:.1f} s")
        assert again.pid not in cluster.far_pids()
        assert _lives(first.pid), "the far side has ended already: nothing was put to the test"
        ended = await until_ended(system, ids)
        assert ended.is_exactly_once, ended
        # The far attempt ended before the near one did, and was refused; the link's return changes nothing.
        cluster.heal()
        far_effects = await rows(system, "SELECT count(*) FROM fault_effect WHERE pid = :pid", pid=first.pid)
        assert far_effects[0][0] == 0


def give_notice(cluster: TwoNodes) -> None:
    """What an autoscaler does when the provider takes a node away."""
    run: dict[str, Any] = {"env": cluster.environment, "capture_output": True, "text": True, "timeout": 60}
    found = subprocess.run([sys.executable, "-c", FIND_NODE, cluster.address, FAR], check=True, **run)
    reason = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot notice"]
    command = [RAY, "drain-node", f"--address={cluster.address}", f"--node-id={found.stdout.split()[-1]}", *reason]
    subprocess.run([*command, "--deadline-remaining-seconds=120"], check=True, **run)


@pytest.mark.faults_full
async def test_the_dispatcher_of_a_node_about_to_go_moves_and_its_jobs_end_once(
    settings: Settings, system: Connections
) -> None:
    with TwoNodes(environment(settings)) as cluster:
        await place(cluster, "far")
        (old,) = await rows(system, "SELECT pid FROM worker")
        assert old.pid in cluster.far_pids()
        ids = await start(system, "fault_effect", 5, seconds=6.0)
        await until_begun(system, ids[0])
        await asyncio.to_thread(give_notice, cluster)
        ended = await until_ended(system, ids)
        assert ended.is_exactly_once, ended
        (tried,) = await rows(system, "SELECT max(attempts) AS attempts, max(losses) AS losses FROM job")
        assert (tried.attempts, tried.losses) == (1, 0), "an attempt was lost though there was time to end it"
        later = await start(system, "fault_effect", 1, seconds=0.1)
        assert (await until_ended(system, later)).is_exactly_once
        (new,) = await rows(system, "SELECT pid FROM worker")
        assert new.pid not in cluster.far_pids()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
