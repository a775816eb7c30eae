"""API and dispatchers are restarted in turn under load: no request fails, no job is lost or run twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pytest
from observed import start, until_ended
from victims import find

from actors.owner import Connections
from cluster.local.stack import Stack

FMRP = [sys.executable, "-m", "fmrp"]
READERS, READS_S, JOBS_S = 8, 10.0, 20.0
LEAD_IN_S = 3.0
pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(240)]


@dataclass
class Load:
    """Requests as users and programs make them, none of them repeated."""

    stack: Stack
    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    started: list[uuid.UUID] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until `over`: readers that keep their connection, and one who starts jobs."""
        login = {"email": self.stack.settings.admin_email, "password": self.stack.first_password}
        async with httpx.AsyncClient(base_url=self.stack.api_url, timeout=20) as http:
            token = (await http.post("/auth/login", json=login)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._read(headers))
            group.create_task(self._start_jobs(headers))

    async def _read(self, headers: dict[str, str]) -> None:
        async with httpx.AsyncClient(base_url=self.stack.api_url, timeout=20, headers=headers) as http:
            while not self.over.is_set():
                await self._send(http, "GET", "/jobs", params={"limit": 1})
                await asyncio.sleep(1 / READS_S)

    async def _start_jobs(self, headers: dict[str, str]) -> None:
        async with httpx.AsyncClient(base_url=self.stack.api_url, timeout=20, headers=headers) as http:
            while not self.over.is_set():
                answer = await self._send(http, "POST", "/jobs", json={"kind": "fault_effect"})
                if answer is not None:
                    self.started.append(uuid.UUID(answer.json()["id"]))
                await asyncio.sleep(1 / JOBS_S)

    async def _send(self, http: httpx.AsyncClient, method: str, path: str, **rest: object) -> httpx.Response | None:
        try:
            answer = await http.request(method, path, **rest)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            self.failures.append(f"{method} {path}: {type(error).__name__} {error}")
            return None
        if answer.is_success:
            self.answered[method] += 1
            return answer
        self.failures.append(f"{method} {path}: HTTP {answer.status_code} {answer.text[:200]}")
        return None


def can_restart() -> bool:
    """Whether the command is there."""
    return subprocess.run([*FMRP, "restart", "--help"], capture_output=True, check=False).returncode == 0


def restart(stack: Stack) -> subprocess.CompletedProcess[str]:
    """What an operator types."""
    settings = stack.settings
    environment = {
        **os.environ,
        "FMRP_DATA_DIR": str(settings.data_dir),
        "FMRP_API_PORT": str(settings.api_port),
        "FMRP_DASHBOARD_PORT": str(settings.dashboard_port),
    }
    return subprocess.run([*FMRP, "restart"], env=environment, capture_output=True, text=True, timeout=180, check=False)


async def test_a_rolling_restart_loses_no_request_and_no_job(system: Connections, stack: Stack) -> None:
    if not await asyncio.to_thread(can_restart):
        pytest.skip("`fmrp restart` is not there yet")
    before = await processes(stack)
    running = await start(system, "fault_effect", 20, seconds=4.0)
    load = Load(stack)
    loading = asyncio.create_task(load.run())
    await asyncio.sleep(LEAD_IN_S)
    ran = await asyncio.to_thread(restart, stack)
    await asyncio.sleep(LEAD_IN_S)
    load.over.set()
    await loading
    assert ran.returncode == 0, ran.stdout + ran.stderr
    after = await processes(stack)
    assert not before & after, "something that should have been restarted runs on"
    told = f"{load.answered.total()} requests, {len(load.started)} jobs"
    print(told)
    assert load.failures == [], f"{len(load.failures)} of {told} failed, first {load.failures[:5]}"
    ended = await until_ended(system, [*running, *load.started], 90)
    assert ended.is_exactly_once, ended


async def processes(stack: Stack) -> set[tuple[int, float]]:
    """Replicas of the API and dispatchers."""
    found = [*find(stack, "ray::ServeReplica:api"), *find(stack, "ray::DispatcherActor")]
    return {(process.pid, process.create_time()) for process in found}
