"""A stack of one test's own, started as a user does, in the environment of a given Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def start_up(data: Path, ports: tuple[int, int], python: str = sys.executable) -> tuple[subprocess.Popen[str], str]:
    """`fmrp up` in a process of its own, ready; with what it printed until then."""
    environment = {
        **os.environ,
        "FMRP_DATA_DIR": str(data),
        "FMRP_API_PORT": str(ports[0]),
        "FMRP_DASHBOARD_PORT": str(ports[1]),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "160",
    }
    started = subprocess.Popen(
        [python, "-m", "fmrp", "up"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert started.stdout is not None
    text = ""
    for line in started.stdout:
        text += line
        if "Ctrl-C" in line:
            return started, text
    raise AssertionError(text)
