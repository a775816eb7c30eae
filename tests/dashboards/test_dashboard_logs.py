"""The dashboard's log has the form of the other processes', without the tokens it holds."""

from __future__ import annotations

import json
import subprocess
import sys

LINES = """
import logging
from dashboards.logs import configure_logs
configure_logs("INFO")
log = logging.getLogger("dashboards.feed")
log.info("connected to ws://api/events?ticket=hunter2&after=1-0")
try:
    raise ConnectionError("refused: Bearer hunter2 and eyJhunter2.eyJhunter2.hunter2")
except ConnectionError:
    log.exception("lost")
"""


def test_lines_are_json_without_tokens() -> None:
    done = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["info", "error"]
    for line in lines:
        assert line.keys() >= {"timestamp", "level", "event", "logger", "process"}
        assert line["process"] == "dashboard"
    assert "ConnectionError" in lines[1]["exception"]
    assert "after=1-0" in lines[0]["event"]
    assert "hunter2" not in done.stderr
