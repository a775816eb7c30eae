"""kill -9 of any one process during the day: the day still completes and nothing is there twice."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from delivery import deliver
from sqlalchemy import text
from victims import NEEDLES, is_foreign, kill, whole_again

from actors.owner import Connections
from cluster.demo.client import Client
from cluster.demo.factory import FactoryFiles
from cluster.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

# Victim -> the step of the day during which it is killed; all others are killed during the forecast.
STEPS = {"source actor": "ingest", "dashboard": "ingest"}


async def duplicates(connections: Connections) -> dict[str, int]:
    """Results that stand more than once for one job, and natural keys that stand twice."""
    queries = {
        "forecast runs of one job": "SELECT count(*) - count(DISTINCT job_id) FROM forecast_run",
        "planning runs of one job": "SELECT count(*) - count(DISTINCT job_id) FROM planning_run",
        "runs of one file in one job": "SELECT count(*) - count(DISTINCT (job_id, source_file_id)) FROM ingest_run",
        "orders beyond the plan's own count": """
            SELECT count(*) FROM planning_run p WHERE (p.summary->>'orders')::int
            <> (SELECT count(*) FROM planned_order o WHERE o.run_id = p.id)""",
        "jobs left behind": "SELECT count(*) FROM job WHERE state IN ('waiting', 'running')",
    }
    async with connections.sessions() as session:
        return {name: (await session.execute(text(query))).scalar_one() for name, query in queries.items()}


@pytest.mark.parametrize("victim", NEEDLES)
async def test_the_day_survives_the_loss_of_any_process(
    stack: Stack, client: Client, connections: Connections, factory: FactoryFiles, victim: str
) -> None:
    if is_foreign(victim):
        pytest.skip("the tests do not kill a server they did not start")
    step = STEPS.get(victim, "forecast")
    demand_before = await _demand(connections)
    # Another factory with the same items: every file is news, so that the ingestion has work to be killed in.
    seed = 100 + list(NEEDLES).index(victim)
    deliver(stack, seed=seed)
    reached = asyncio.Event()

    def watch(event: dict[str, Any]) -> None:
        if event["data"].get("kind") == step:
            reached.set()

    day = await client.start("day", key=str(uuid.uuid4()))
    following = asyncio.create_task(client.follow(day["id"], watch))
    await asyncio.wait_for(reached.wait(), 60)
    assert kill(stack, NEEDLES[victim]) > 0, f"{victim} was not found"
    ended = await following
    assert ended["state"] == "done", ended["error"]
    assert await duplicates(connections) == dict.fromkeys(await duplicates(connections), 0)
    runs = (await client.get("/sources/inbox/runs", limit=12))["items"]
    assert all(run["read"] == run["taken"] + run["merged"] + run["rejected"] for run in runs)
    assert await _demand(connections) >= demand_before
    await whole_again(stack)


async def _demand(connections: Connections) -> int:
    async with connections.sessions() as session:
        return int((await session.execute(text("SELECT count(*) FROM demand"))).scalar_one())
