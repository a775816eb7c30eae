"""A thousand jobs while something is killed every two seconds: each has its effect exactly once, none lost or stuck."""

from __future__ import annotations

import asyncio
import os
import uuid

import pytest
from chaos import Chaos, recoveries, table
from observed import ORPHAN_LIMIT_S, rows, start, until_ended
from victims import whole_again

from actors.owner import Connections
from cluster.local.stack import Stack

SECONDS = float(os.environ.get("FMRP_CHAOS_SECONDS", "30"))
SEED = int(os.environ.get("FMRP_CHAOS_SEED", "1"))
JOBS, BATCH = 1000, 10
# After the last blow: Ray comes back, and what is left runs off.
PATIENCE_S = 150.0
pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(SECONDS + PATIENCE_S + 150)]


async def feed(system: Connections) -> list[uuid.UUID]:
    """Start the jobs evenly over the time, whatever is away just then."""
    async with asyncio.TaskGroup() as starting:
        batches = []
        for _ in range(JOBS // BATCH):
            batches.append(starting.create_task(start(system, "fault_effect", BATCH)))
            await asyncio.sleep(SECONDS * BATCH / JOBS)
    return [job_id for batch in batches for job_id in batch.result()]


async def test_every_effect_is_there_exactly_once_whatever_is_killed(system: Connections, stack: Stack) -> None:
    chaos = Chaos(stack, system, SEED)
    raging = asyncio.create_task(chaos.rage(SECONDS))
    ids = await feed(system)
    await raging
    told = f"seed {SEED}, {len(chaos.blows)} blows in {SECONDS:.0f} s: {chaos.told()}"
    print(told)
    await whole_again(stack)
    ended = await until_ended(system, ids, PATIENCE_S)
    assert len(set(ids)) == JOBS, told
    assert ended.is_exactly_once, f"{ended}; {told}"
    found = await recoveries(system, ids, chaos.blows)
    print(table(found))
    undisturbed = [each for each in found if each.undisturbed]
    assert max((each.seconds for each in undisturbed), default=0) < ORPHAN_LIMIT_S, f"{table(undisturbed)}\n{told}"
    workers = await rows(system, "SELECT count(*) FROM worker")
    assert workers[0][0] == system.settings.dispatchers, "a dead dispatcher is still in the books"
