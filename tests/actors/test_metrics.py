"""Counts of every process come together over Redis; what is gone, over the limit or of another version is left out."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid

import pytest
from prometheus_client import CollectorRegistry, Counter
from queue_world import until
from redis.exceptions import RedisError

from actors import metrics, metrics_exchange
from actors.events import EventStream, progress_event
from actors.identity import IDENTITY
from actors.metrics_exchange import INDEX, MetricsReporter, merged, read_snapshots, snapshot, write_snapshot
from actors.observe import observed_attempt
from actors.owner import Connections
from cluster.local.redis import free_port
from settings import Settings

OTHER_PROCESS = """
import asyncio
from actors import metrics
from actors.logs import configure_logs
from actors.metrics_exchange import write_snapshot
from actors.owner import connect_redis
from settings import load

async def main():
    configure_logs("INFO", "ingestion")
    metrics.job_ended("ingest", "done")
    metrics.file_read("demand", "done", {"read": 10, "taken": 7, "merged": 1, "rejected": 2}, 2.0)
    await write_snapshot(connect_redis(load()), 60)

asyncio.run(main())
"""


def value(name: str, **labels: str) -> float:
    """A sample of this process."""
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_counts_of_two_processes_are_merged_and_told_apart(connections: Connections, redis_url: str) -> None:
    environment = {**os.environ, "FMRP_REDIS_URL": redis_url}
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", OTHER_PROCESS], env=environment, timeout=60, check=True
    )
    metrics.job_ended("plan", "failed")
    await write_snapshot(connections.redis, 60)
    families = {family.name: family for family in merged(await read_snapshots(connections.redis))}
    ended = families["fmrp_jobs_ended"].samples
    found = {(each.labels["process"], each.labels["kind"], each.labels["end"]) for each in ended}
    assert found >= {("ingestion", "ingest", "done"), (IDENTITY.process, "plan", "failed")}
    assert len({each.labels["instance"] for each in ended}) == 2
    theirs = [
        each
        for name in ("fmrp_ingest_rows", "fmrp_ingest_rows_per_second")
        for each in families[name].samples
        if each.labels["process"] == "ingestion"
    ]
    assert {each.labels.get("outcome", "rate"): each.value for each in theirs} == {
        "read": 10, "taken": 7, "merged": 1, "rejected": 2, "rate": 5.0,
    }  # fmt: skip


async def test_a_process_that_has_gone_silent_is_left_out(connections: Connections) -> None:
    await write_snapshot(connections.redis, 0.25)
    assert len(await read_snapshots(connections.redis)) == 1

    async def is_gone() -> bool:
        return not await read_snapshots(connections.redis)

    await until(is_gone, "the silent process to be left out")
    assert await connections.redis.ttl(INDEX) < 3


async def test_a_clean_end_takes_the_counts_back_and_the_reporter_writes_until_then(connections: Connections) -> None:
    reporter = MetricsReporter(connections.redis, 0.05)
    reporter.start()
    counted = value("fmrp_job_retries_total", kind="plan")
    metrics.job_retried("plan")

    async def is_written() -> bool:
        families = merged(await read_snapshots(connections.redis))
        samples = [each for family in families for each in family.samples if each.name == "fmrp_job_retries_total"]
        return [each.value for each in samples if each.labels["kind"] == "plan"] == [counted + 1]

    await until(is_written, "the newest count")
    await reporter.stop()
    assert await read_snapshots(connections.redis) == []


async def test_the_number_of_processes_and_the_size_of_each_are_bounded(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_exchange, "MOST_PROCESSES", 3)
    for number in range(5):
        monkeypatch.setattr(IDENTITY, "instance", f"p{number}")
        await write_snapshot(connections.redis, 60)
    assert len(await read_snapshots(connections.redis)) == 3
    monkeypatch.setattr(metrics_exchange, "MOST_BYTES", 10)
    monkeypatch.setattr(IDENTITY, "instance", "large")
    await write_snapshot(connections.redis, 60)
    assert "large" not in {each.instance for each in await read_snapshots(connections.redis)}


async def test_what_another_version_wrote_is_left_out(connections: Connections) -> None:
    await write_snapshot(connections.redis, 60)
    await connections.redis.zadd(INDEX, {"stranger": 1e12})
    await connections.redis.set(f"{INDEX}:stranger", b"\x93\x01\x02\x03")
    assert [each.instance for each in await read_snapshots(connections.redis)] == [IDENTITY.instance]


async def test_a_reporter_goes_on_when_redis_comes_back(connections: Connections, settings: Settings) -> None:
    tries = 0

    async def write(*_: object) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RedisError("away")

    reporter = MetricsReporter(connections.redis, 0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_exchange, "write_snapshot", write)
        reporter.start()

        async def goes_on() -> bool:
            return tries >= 5

        await until(goes_on, "tries after the failed ones")
        await reporter.stop()


def test_when_a_series_began_is_not_carried() -> None:
    registry = CollectorRegistry()
    Counter("some", "text", registry=registry).inc()
    assert [sample[0] for family in snapshot(registry).families for sample in family.samples] == ["some_total"]


async def test_events_are_counted_published_or_not(connections: Connections, settings: Settings) -> None:
    event = progress_event("job.changed", uuid.uuid4(), None, "plan", state="running")
    before, failed = value("fmrp_events_published_total"), value("fmrp_event_publish_failures_total")
    assert await connections.events.publish(event)
    from redis.asyncio import Redis

    async with Redis(port=free_port(), socket_connect_timeout=0.5) as nobody:
        assert await EventStream(nobody, 100).publish(event) is None
    assert value("fmrp_events_published_total") == before + 1
    assert value("fmrp_event_publish_failures_total") == failed + 1


def test_an_attempt_is_timed_by_kind_and_end_also_when_it_raises() -> None:
    before = value("fmrp_job_run_seconds_count", kind="plan", end="failed")

    def fail() -> None:
        with observed_attempt("j", 1, actor="planning", traceparent=None) as attempt:
            attempt.kind = "plan"
            assert value("fmrp_attempts_running", actor="planning") == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert value("fmrp_job_run_seconds_count", kind="plan", end="failed") == before + 1
    assert value("fmrp_attempts_running", actor="planning") == 0


def test_waiting_is_counted_from_the_due_time_and_never_below_nothing() -> None:
    before = value("fmrp_job_wait_seconds_sum", kind="x")
    metrics.attempt_begins("x", 30.0)
    metrics.attempt_begins("x", -30.0)
    assert value("fmrp_job_wait_seconds_sum", kind="x") - before == 30
    assert value("fmrp_job_wait_seconds_count", kind="x") == 2


async def test_connections_lent_out_are_counted(connections: Connections) -> None:
    metrics.watch_pool(connections.engine)
    assert value("fmrp_database_pool_in_use") == 0
    async with connections.engine.connect():
        assert value("fmrp_database_pool_in_use") == 1
    assert value("fmrp_database_pool_limit") == 6
