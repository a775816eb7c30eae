"""What this system counts. Each process counts for itself; `actors.metrics_exchange` brings the counts together.

Names say the unit, units are base units. Labels come from closed sets (kinds, states, routes): never an id, a file or a
person, since metrics are public. Gauges read from the database at scrape time stand in `serve.scrape`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from sqlalchemy.ext.asyncio import AsyncEngine

REGISTRY = CollectorRegistry()
ProcessCollector(namespace="fmrp", registry=REGISTRY)

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=REGISTRY)


JOBS_ENDED = _counter(
    "fmrp_jobs_ended", "Jobs that ended, by kind and end (done, failed, held, cancelled)", "kind", "end"
)
RUN_TIME = _histogram("fmrp_job_run_seconds", "Time one attempt took, by kind and how it ended", _LONG, "kind", "end")
WAIT = _histogram("fmrp_job_wait_seconds", "Time from due to the attempt's start", _LONG, "kind")
RUNNING = _gauge("fmrp_attempts_running", "Attempts this process works on now", "actor")
LOST = _counter("fmrp_attempts_lost", "Attempts whose worker died or was lost", "kind")
RETRIES = _counter("fmrp_job_retries", "Attempts that failed and were put back for another one", "kind")
RECOVERED = _counter(
    "fmrp_orphans_recovered",
    "Jobs found without a living worker or without a queue message, and taken up again",
    "kind",
)

INGEST_ROWS = _counter("fmrp_ingest_rows", "Rows of files, by target and outcome", "target", "outcome")
INGEST_FILES = _counter("fmrp_ingest_files", "Files read, by how that ended (done, failed, unchanged)", "end")
INGEST_RATE = _gauge("fmrp_ingest_rows_per_second", "Rows read a second in the last file of this process", "target")
FORECAST_ITEMS = _counter("fmrp_forecast_items", "Items forecast")
FORECASTER_TIME = _histogram(
    "fmrp_forecaster_call_seconds", "Time a call to the forecaster took", _LONG, "method", "end"
)
CACHE = _counter("fmrp_cache_requests", "Look-ups in a cache, by result (hit, miss, away)", "cache", "result")

EVENTS = _counter("fmrp_events_published", "Events appended to the stream")
EVENT_FAILURES = _counter("fmrp_event_publish_failures", "Events that could not be appended")
EVENT_LAG = _histogram(
    "fmrp_event_lag_seconds", "Time from an event's making to its arrival at a replica's hub", _SHORT
)
EVENT_CLIENTS = _gauge("fmrp_event_clients", "Open event sockets of this replica")
REQUESTS = _histogram(
    "fmrp_http_request_seconds", "Time to the end of the answer, by route", _SHORT, "method", "route", "status"
)
POOL_IN_USE = _gauge("fmrp_database_pool_in_use", "Database connections lent out by this process's pool")
POOL_LIMIT = _gauge("fmrp_database_pool_limit", "Database connections this process's pool may open")

Outcome = Literal["read", "taken", "merged", "rejected"]


@lru_cache(maxsize=4096)
def child(metric: Any, *labels: str) -> Any:
    """A metric's series of these labels; prometheus_client takes a lock and a walk to find it each time."""
    return metric.labels(*labels)


def prepare_kinds(kinds: Iterable[str]) -> None:
    """Begin these series at nought: Prometheus sees no increase in a series that appears with its first count."""
    for kind in kinds:
        for counter in (LOST, RETRIES, RECOVERED):
            counter.labels(kind)
        for end in ("done", "failed", "held", "cancelled"):
            JOBS_ENDED.labels(kind, end)


def prepare_ingestion(targets: Iterable[str]) -> None:
    """As `prepare_kinds`, for what files are read into."""
    for end in ("done", "failed", "unchanged"):
        INGEST_FILES.labels(end)
    for target in targets:
        for outcome in get_args(Outcome):
            INGEST_ROWS.labels(target, outcome)


def job_ended(kind: str, end: str) -> None:
    """A job has reached a final state."""
    child(JOBS_ENDED, kind, end).inc()


def attempt_begins(kind: str, waited_s: float) -> None:
    """An attempt was claimed, so long after its job became due."""
    child(WAIT, kind).observe(max(0.0, waited_s))


def attempt_lost(kind: str) -> None:
    """The worker of an attempt died or cannot be reached."""
    child(LOST, kind).inc()


def job_retried(kind: str) -> None:
    """A failed attempt will be followed by another."""
    child(RETRIES, kind).inc()


def orphan_recovered(kind: str) -> None:
    """A job nobody worked on any more was taken up again."""
    child(RECOVERED, kind).inc()


def file_read(target: str, end: str, rows: dict[Outcome, int], seconds: float | None = None) -> None:
    """A file was read to its end; `seconds` is what that took, storing included."""
    INGEST_FILES.labels(end).inc()
    for outcome, count in rows.items():
        INGEST_ROWS.labels(target, outcome).inc(count)
    if seconds:
        INGEST_RATE.labels(target).set(rows.get("read", 0) / seconds)


def cache_asked(cache: str, *, hit: bool) -> None:
    """A cache was looked up."""
    child(CACHE, cache, "hit" if hit else "miss").inc()


def cache_away(cache: str) -> None:
    """A cache could not be asked: its server is away or too slow."""
    child(CACHE, cache, "away").inc()


def events_published(count: int, *, failed: int = 0) -> None:
    """Events were appended to the stream, or could not be for now."""
    EVENTS.inc(count)
    EVENT_FAILURES.inc(failed)


def event_arrived(made_at: datetime) -> None:
    """An event reached a replica's hub. Clocks of two machines may differ: never less than nothing."""
    EVENT_LAG.observe(max(0.0, (datetime.now(UTC) - made_at).total_seconds()))


def watch_pool(engine: AsyncEngine) -> None:
    """Count the connections of this process's engine; the last one given counts."""
    # The engine is asked for its pool each time: it makes a new one whenever it is disposed of.
    POOL_IN_USE.set_function(lambda: _pool(engine).checkedout())
    POOL_LIMIT.set_function(lambda: _pool(engine).size() + max(0, _pool(engine)._max_overflow))


def _pool(engine: AsyncEngine) -> Any:
    return engine.sync_engine.pool
