"""Every line is JSON with the ids of what it belongs to, and no secret is in any."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors.logs import bound_ids
from actors.redact import REDACTED, redact, redact_known, redact_text, remember_secrets

LINES = """
import asyncio, logging, warnings
import structlog
from actors.logs import bound_ids, configure_logs
from actors.telemetry import continued

configure_logs("INFO", "planning")
log = structlog.get_logger("ours")

async def work():
    with bound_ids(job="j-1", run=2, actor="planning"), continued(f"00-{'a' * 32}-{'b' * 16}-01", "attempt"):
        log.info("ours")
        await asyncio.create_task(asyncio.to_thread(logging.getLogger("library").warning, "theirs %s", 1))
        try:
            raise ConnectionError("postgresql://fmrp:hunter2@db/fmrp refused")
        except ConnectionError:
            log.warning("failed", exc_info=True)
            logging.getLogger("library").exception("failed too")
    log.info("outside")
    warnings.warn("mind the gap")

asyncio.run(work())
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """What a process of its own writes."""
    done = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_each_line_is_json_with_time_level_event_and_process(lines: list[dict[str, Any]]) -> None:
    assert [line["event"] for line in lines[:4]] == ["ours", "theirs 1", "failed", "failed too"]
    for line in lines:
        assert line.keys() >= {"timestamp", "level", "event", "process", "instance"}
        assert line["process"] == "planning"
    assert [line["level"] for line in lines[:4]] == ["info", "warning", "warning", "error"]


def test_lines_within_a_job_carry_its_ids_libraries_in_threads_included(lines: list[dict[str, Any]]) -> None:
    for line in lines[:4]:
        assert (line["job"], line["run"], line["actor"]) == ("j-1", 2, "planning")
        assert line["trace_id"] == "a" * 32
        assert len(line["span_id"]) == 16
    outside = next(line for line in lines if line["event"] == "outside")
    assert outside.keys().isdisjoint({"job", "run", "actor", "trace_id", "span_id"})


def test_tracebacks_and_python_warnings_are_on_their_line_without_the_password(lines: list[dict[str, Any]]) -> None:
    for line in lines[2:4]:
        assert "ConnectionError" in line["exception"]
        assert f"fmrp:{REDACTED}@db" in line["exception"]
    assert "hunter2" not in json.dumps(lines)
    assert "mind the gap" in lines[-1]["event"]


@pytest.mark.parametrize(
    "text",
    [
        "connect to postgresql+asyncpg://fmrp:hunter2@127.0.0.1:5432/fmrp failed",
        "redis://:hunter2@localhost:6379/0",
        "Authorization: Bearer hunter2hunter2",
        "header 'authorization': 'Basic aHVudGVyMg==hunter2'",
        "GET /api/v1/events?ticket=hunter2&after=1-0",
        '{"password": "hunter2"}',
        "Settings(token_secret='hunter2', port=1)",
        "api-key: hunter2",
        "token eyJhunter2.eyJodW50ZXIy.hunter2",
    ],
)
def test_a_secret_is_found_by_its_shape(text: str) -> None:
    assert "hunter2" not in redact_text(text)
    assert REDACTED in redact_text(text)


def test_a_secret_is_found_by_the_name_of_its_field_however_deep() -> None:
    value = {"user": "anna", "nested": [{"Authorization": "abc", "api_key": "abc", "count": 3, "ok": True}]}
    assert redact("config", value) == {
        "user": "anna",
        "nested": [{"Authorization": REDACTED, "api_key": REDACTED, "count": 3, "ok": True}],
    }
    assert redact("password", "abc") == REDACTED
    assert redact("max_tokens", 5) == 5


def test_known_values_are_found_wherever_they_turn_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from actors import redact as module

    monkeypatch.setattr(module._Known, "told", {})
    monkeypatch.setattr(module._Known, "longest_first", ())
    module.remember_secrets("s3cr3t-value", "brief", "abc")
    assert redact_text("odd place s3cr3t-valueX, abc") == f"odd place {REDACTED}X, abc"
    # What is short is looked for as a word: else it would be found in harmless ones.
    assert redact_text("be brief, not briefly") == f"be {REDACTED}, not briefly"


@pytest.mark.parametrize(
    "written",
    [
        "p/w+x &\"'\n\\z-9",
        "p%2Fw%2Bx%20%26%22%27%0A%5Cz-9",
        "p%2Fw%2Bx+%26%22%27%0A%5Cz-9",
        repr("p/w+x &\"'\n\\z-9")[1:-1],
        json.dumps("p/w+x &\"'\n\\z-9")[1:-1],
        "cC93K3ggJiInClx6LTk=",
    ],
)
def test_a_known_value_is_found_however_it_is_written(written: str) -> None:
    remember_secrets("p/w+x &\"'\n\\z-9")
    assert redact_text(f"at {written} it broke") == f"at {REDACTED} it broke"


def test_of_two_values_the_longer_is_taken_out_whole_and_the_oldest_are_forgotten() -> None:
    from actors import redact as module

    remember_secrets("forgotten-value", "long-value", "long-value-longer")
    assert redact_known("long-value-longer") == REDACTED
    remember_secrets(*(f"filler-{number}" for number in range(module.MOST_VALUES)))
    assert redact_known("forgotten-value") == "forgotten-value"


@pytest.mark.parametrize(
    "text", ["https://example.com/a?b=c", "12 rows taken", "key A-100 is unknown", "no such token"]
)
def test_harmless_texts_stay_as_they_are(text: str) -> None:
    assert redact_text(text) == text


async def test_ids_end_with_their_block_and_do_not_leak_into_a_neighbour() -> None:
    async def job(number: int) -> None:
        import structlog

        with bound_ids(job=number):
            await asyncio.sleep(0)
            structlog.get_logger().info("at work", number=number)

    import structlog

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as found:
        await asyncio.gather(*(job(number) for number in range(20)))
        structlog.get_logger().info("after")
    assert all(line["job"] == line["number"] for line in found[:-1])
    assert "job" not in found[-1]


def test_setting_up_twice_prints_once() -> None:
    code = LINES.replace(
        'configure_logs("INFO", "planning")', 'configure_logs("INFO", "a"); configure_logs("INFO", "b")'
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()].count("theirs 1") == 1
