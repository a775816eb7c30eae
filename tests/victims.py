"""Processes of a running stack: found by what their command line holds, killed outright, and waited for."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import httpx
import psutil

from cluster.local.process import family, mark_of
from cluster.local.stack import Stack

# Name -> what the command line holds.
NEEDLES = {
    "source actor": "ray::SourceActor",
    "forecasting actor": "ray::ForecastingActor",
    "planning actor": "ray::PlanningActor",
    "dispatcher": "ray::DispatcherActor",
    "forecaster replica": "ray::ServeReplica:forecaster",
    "API replica": "ray::ServeReplica:api",
    "Serve proxy": "ray::ProxyActor",
    "Serve controller": "ray::ServeController",
    "Redis": "redis-server",
    "PostgreSQL": "postgres -D",
    "dashboard": "-m dashboards",
    "raylet": "raylet/raylet",
    "GCS": "gcs/gcs_server",
    "Ray head": "cluster.local.ray_head",
}
# Their end takes the whole of Ray down, and with it all actors and replicas.
HEAD = ("raylet", "GCS", "Ray head")


def is_foreign(victim: str) -> bool:
    """Whether it is a server that the tests were given and so may not kill."""
    given = {"PostgreSQL": "FMRP_DATABASE_URL", "Redis": "FMRP_REDIS_URL"}
    return victim in given and bool(os.environ.get(given[victim]))


def stack_processes(stack: Stack) -> list[psutil.Process]:
    """Every process this stack has started."""
    folder = stack.settings.data_dir
    by_folder = [process for process in psutil.process_iter() if str(folder) in command_line(process)]
    return [*family(mark_of(folder / "run")), *by_folder]


def command_line(process: psutil.Process) -> str:
    """Its command line; empty once it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def find(stack: Stack, needle: str) -> list[psutil.Process]:
    """Processes of the stack whose command line holds `needle`."""
    return [process for process in stack_processes(stack) if needle in command_line(process)]


def kill(stack: Stack, needle: str) -> int:
    """kill -9 the processes whose command line holds `needle`; returns how many there were."""
    killed = 0
    for process in find(stack, needle):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
    return killed


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
