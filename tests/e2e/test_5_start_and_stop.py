"""Starting and stopping: the demo leaves nothing behind, and a stack killed outright is no obstacle to the next."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from own_stack import start_up

from cluster.local.redis import free_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


def processes_of(marker: str) -> list[str]:
    """Command lines of processes that hold `marker` in their command line or environment, this test's own left out."""
    found = []
    for process in psutil.process_iter():
        try:
            told = " ".join([*process.cmdline(), *process.environ().values()])
            if process.pid != os.getpid() and marker in told and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:200])
        except psutil.Error:
            continue
    return found


def test_the_demo_prints_what_a_planner_wants_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "160"}
    ran = subprocess.run(
        [sys.executable, "-m", "fmrp", "demo", "--items", "80"],
        capture_output=True, text=True, timeout=200, env=environment, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for promised in (
        "read = taken + merged + rejected",
        "Why rows were rejected",
        "seasonal_naive",
        "most urgent",
        "Time per step",
    ):
        assert promised in ran.stdout, promised
    assert list(tmp_path.glob("fmrp-demo-*")) == []
    assert processes_of(str(tmp_path)) == []


def test_a_killed_stack_is_cleared_away_and_its_data_found_again(tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    first, said = start_up(tmp_path / "data", ports)
    assert re.search(r"Password\s+\S+", said)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()

    began = time.monotonic()
    second, said = start_up(tmp_path / "data", ports)
    assert "Password" not in said, "a second start must find the first user"
    assert httpx.get(f"http://127.0.0.1:{ports[0]}/health", timeout=5).json()["status"] == "ok"
    print(f"second start ready in {time.monotonic() - began:.1f} s")
    second.send_signal(signal.SIGINT)
    assert second.wait(60) == 0
    assert processes_of(str(tmp_path)) == []
