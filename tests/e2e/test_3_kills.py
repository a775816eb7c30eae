"""kill -9 of any one process during the day: the day still completes and nothing is there twice."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest
from delivery import deliver
from sqlalchemy import text

from actors.owner import Connections
from cluster.demo.client import Client
from cluster.demo.factory import FactoryFiles
from cluster.local.process import family, mark_of
from cluster.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

# Victim -> the step of the day during which it is killed, and what its command line holds.
VICTIMS = {
    "ingestion actor": ("ingest", "ray::IngestionActor"),
    "forecasting actor": ("forecast", "ray::ForecastingActor"),
    "planning actor": ("forecast", "ray::PlanningActor"),
    "dispatcher": ("forecast", "ray::DispatcherActor"),
    "forecaster replica": ("forecast", "ray::ServeReplica:forecaster"),
    "API replica": ("forecast", "ray::ServeReplica:api"),
    "Serve proxy": ("forecast", "ray::ProxyActor"),
    "Serve controller": ("forecast", "ray::ServeController"),
    "Redis": ("forecast", "redis-server"),
    "PostgreSQL": ("forecast", "postgres -D"),
    "dashboard": ("ingest", "-m dashboards"),
    "raylet": ("forecast", "raylet/raylet"),
    "GCS": ("forecast", "gcs/gcs_server"),
    "Ray head": ("forecast", "cluster.local.ray_head"),
}


def stack_processes(stack: Stack) -> list[psutil.Process]:
    """Every process this stack has started."""
    folder = stack.settings.data_dir
    by_folder = [process for process in psutil.process_iter() if str(folder) in " ".join(_command(process))]
    return [*family(mark_of(folder / "run")), *by_folder]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill(stack: Stack, needle: str) -> int:
    """kill -9 the processes whose command line holds `needle`; returns how many there were."""
    killed = 0
    for process in stack_processes(stack):
        if needle in " ".join(_command(process)):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
    return killed


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


@pytest.mark.parametrize("victim", VICTIMS)
async def test_the_day_survives_the_loss_of_any_process(
    stack: Stack, client: Client, connections: Connections, factory: FactoryFiles, victim: str
) -> None:
    step, needle = VICTIMS[victim]
    if (needle == "postgres -D" and os.environ.get("FMRP_DATABASE_URL")) or (
        needle == "redis-server" and os.environ.get("FMRP_REDIS_URL")
    ):
        pytest.skip("the tests do not kill a server they did not start")
    demand_before = await _demand(connections)
    # Another factory with the same items: every file is news, so that the ingestion has work to be killed in.
    seed = 100 + list(VICTIMS).index(victim)
    deliver(stack, seed=seed)
    reached = asyncio.Event()

    def watch(event: dict[str, Any]) -> None:
        if event["data"].get("kind") == step:
            reached.set()

    day = await client.start("day", key=str(uuid.uuid4()))
    following = asyncio.create_task(client.follow(day["id"], watch))
    await asyncio.wait_for(reached.wait(), 60)
    assert kill(stack, needle) > 0, f"{victim} was not found"
    ended = await following
    assert ended["state"] == "done", ended["error"]
    assert await duplicates(connections) == dict.fromkeys(await duplicates(connections), 0)
    runs = (await client.get("/sources/inbox/runs", limit=12))["items"]
    assert all(run["read"] == run["taken"] + run["merged"] + run["rejected"] for run in runs)
    assert await _demand(connections) >= demand_before
    await whole_again(stack)


async def whole_again(stack: Stack) -> None:
    """Wait until everything that was killed has been started again: the next morning must find it."""
    urls = (f"{stack.api_url}/health", f"{stack.dashboard_url}/liveness")
    deadline = asyncio.get_running_loop().time() + 90
    answers = 0
    async with httpx.AsyncClient(timeout=2) as http:
        # Several times in a row, since a dying head may still answer for a moment.
        while answers < 6:
            assert asyncio.get_running_loop().time() < deadline, "the stack did not come back"
            try:
                found = [await http.get(url) for url in urls]
                is_whole = all(answer.status_code == 200 for answer in found) and found[0].json()["status"] == "ok"
            except httpx.HTTPError:
                is_whole = False
            answers = answers + 1 if is_whole else 0
            await asyncio.sleep(0.5)


async def _demand(connections: Connections) -> int:
    async with connections.sessions() as session:
        return int((await session.execute(text("SELECT count(*) FROM demand"))).scalar_one())
