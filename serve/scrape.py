"""What a scrape is answered: the counts of all processes, and what the database says of the queue at this moment.

The page is public, so it is made at most once in a short while, however often it is asked for, and no part of it waits
long: a part that is away is missing, and `fmrp_scrape_part_up` says so.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Count
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from actors.kinds import KINDS
from actors.metrics_exchange import Snapshot, merged, read_snapshots, snapshot
from actors.owner import Connections
from db.repositories import monitoring

FRESH_S = 2.0
PART_PATIENCE_S = 4.0

SCRAPED: dict[str, tuple[str, tuple[str, ...]]] = {
    "fmrp_scrape_part_up": ("1 when this part of the answer could be read (database, processes)", ("part",)),
    "fmrp_jobs": ("Jobs that have not ended well, by state (waiting, running, failed, held)", ("kind", "state")),
    "fmrp_queue_due_jobs": ("Waiting jobs whose time has come", ("kind",)),
    "fmrp_queue_oldest_due_seconds": ("How long the oldest waiting job has been due", ("kind",)),
    "fmrp_kind_paused": ("1 while an operator has paused the kind", ("kind",)),
    "fmrp_dispatchers": ("Dispatchers heard of in the last 15 seconds, by state (serving, draining)", ("state",)),
    "fmrp_schedule_late_seconds": ("How far the latest schedule of the kind is past its time", ("kind",)),
    "fmrp_last_success_timestamp_seconds": (
        "When a day, ingest, forecast or plan last succeeded, in Unix time",
        ("what",),
    ),
    "fmrp_processes": ("Processes that have reported lately, by what they do", ("process",)),
}
"""Gauges made at scrape time: name, what it says, labels."""

log = structlog.get_logger(__name__)


class ScrapePage:
    """The page of one replica."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock = asyncio.Lock()
        self._made_at = float("-inf")
        self._page = b""

    async def get(self) -> bytes:
        """The page in Prometheus' text format, never older than `FRESH_S`."""
        async with self._lock:
            if time.monotonic() - self._made_at > FRESH_S:
                self._page = await self._make()
                self._made_at = time.monotonic()
            return self._page

    async def _make(self) -> bytes:
        readings, others = await asyncio.gather(self._read_database(), self._read_processes())
        own = snapshot()
        snapshots = [own, *(each for each in others or [] if each.instance != own.instance)]
        parts = {"database": readings is not None, "processes": others is not None}
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families([*merged(snapshots), *scraped(readings, snapshots, parts)]))
        return generate_latest(registry)

    async def _read_database(self) -> monitoring.Readings | None:
        kinds = [kind.name for kind in KINDS.values() if kind.owner is not None]
        try:
            async with asyncio.timeout(PART_PATIENCE_S), self._connections.sessions() as session:
                return await monitoring.read(session, kinds)
        except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            log.warning("metrics without the database", reason=_first_line(error))
            return None

    async def _read_processes(self) -> list[Snapshot] | None:
        try:
            async with asyncio.timeout(PART_PATIENCE_S):
                return await read_snapshots(self._connections.redis)
        except (RedisError, OSError) as error:
            log.warning("metrics without other processes", reason=_first_line(error))
            return None


def _first_line(error: Exception) -> str:
    """Without the statement, which would be on every line while the database is away."""
    return str(error).partition("\n")[0] or type(error).__name__


class _Families(Collector):
    """Hands finished families to the text writer."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def scraped(
    readings: monitoring.Readings | None, snapshots: Sequence[Snapshot], parts: dict[str, bool]
) -> Iterator[Metric]:
    """The gauges of `SCRAPED`; without readings only those that need no database."""
    yield _family("fmrp_scrape_part_up", {(part,): float(is_up) for part, is_up in parts.items()})
    yield _family(
        "fmrp_processes", {(name,): count for name, count in Count(each.process for each in snapshots).items()}
    )
    if readings is None:
        return
    jobs: dict[tuple[str, str], float] = {}
    jobs |= {(kind, "waiting"): count for kind, count in readings.waiting.items()}
    jobs |= {(kind, "running"): count for kind, count in readings.running.items()}
    jobs |= {(kind, state): 0.0 for kind in readings.waiting for state in ("failed", "held")}
    jobs |= readings.dead
    yield _family("fmrp_jobs", jobs)
    for name, by_label in (
        ("fmrp_queue_due_jobs", readings.due),
        ("fmrp_queue_oldest_due_seconds", readings.oldest_due_s),
        ("fmrp_kind_paused", readings.paused),
        ("fmrp_dispatchers", readings.dispatchers),
        ("fmrp_schedule_late_seconds", readings.late_s),
        ("fmrp_last_success_timestamp_seconds", readings.newest),
    ):
        yield _family(name, {(label,): value for label, value in by_label.items()})


def _family(name: str, values: Mapping[Any, float]) -> Metric:
    text, labels = SCRAPED[name]
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
