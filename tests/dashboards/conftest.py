"""The dashboard as a process of its own, in front of the fake API, and a Chromium to look at it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from dashboard_process import ApiThread, Dashboard, free_port, wait_until_answers
from fake_api import FakeApi, World


@pytest.fixture
async def fake() -> AsyncIterator[FakeApi]:
    async with FakeApi(World(step_s=0.0)) as api:
        yield api


@pytest.fixture(scope="session")
def dashboard() -> Iterator[Dashboard]:
    api = ApiThread(World(step_s=0.05))
    api.start()
    port = free_port()
    command = [sys.executable, "-m", "dashboards", "--port", str(port), "--api", api.url, "--log-level", "WARNING"]
    process = subprocess.Popen(command)
    try:
        wait_until_answers(f"http://127.0.0.1:{port}/liveness", process)
        yield Dashboard(f"http://127.0.0.1:{port}", api, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        ended = process.wait(20)
        api.stop()
    assert ended == 0, "SIGTERM ends the dashboard with status 0"


@pytest.fixture
def page(chromium: Any, dashboard: Dashboard) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1380, "height": 900}, base_url=dashboard.url)
    context.set_default_timeout(20_000)
    shown = context.new_page()
    shown.errors = []
    shown.on("pageerror", lambda error: shown.errors.append(str(error)))
    yield shown
    errors = shown.errors
    context.close()
    assert errors == [], "no script error on the page"
