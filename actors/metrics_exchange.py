"""Every process writes its counts to Redis every few seconds; whoever is scraped puts them together.

So one scrape address shows actors, replicas and dispatchers alike, wherever they run. A process that dies takes its
counts along: rates and increases bear that, as they do a restart. Losing Redis loses the others' counts for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import msgspec
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from redis.asyncio import Redis
from redis.exceptions import RedisError

from actors.ending import end
from actors.identity import IDENTITY
from actors.metrics import REGISTRY

INDEX = "fmrp:metrics"
# A process silent for this many intervals is gone.
LIFE_INTERVALS = 4
MOST_PROCESSES = 256
MOST_BYTES = 4 * 1024 * 1024

log = structlog.get_logger(__name__)

# By Redis's clock: those of the writers may differ. What is over the limit is the longest silent.
_WRITE = """
local now = tonumber(redis.call('TIME')[1])
local life = tonumber(ARGV[3])
redis.call('SET', KEYS[1], ARGV[2], 'EX', life)
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - life)
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -(tonumber(ARGV[4]) + 1))
redis.call('EXPIRE', KEYS[2], life)
"""


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric of one process: samples are (name, labels, value)."""

    name: str
    type: str
    text: str
    samples: list[tuple[str, dict[str, str], float]]


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """What one process has counted up to now."""

    process: str
    instance: str
    families: list[Family]


def snapshot(registry: CollectorRegistry = REGISTRY) -> Snapshot:
    """This process's counts. When each series began is left out: it tells nothing a restart does not."""
    families = []
    for metric in registry.collect():
        samples = [
            (each.name, each.labels, each.value) for each in metric.samples if not each.name.endswith("_created")
        ]
        families.append(Family(metric.name, metric.type, metric.documentation, samples))
    return Snapshot(IDENTITY.process, IDENTITY.instance, families)


def merged(snapshots: Iterable[Snapshot]) -> Iterator[Metric]:
    """One family a metric, its samples told apart by `process` and `instance`."""
    found: dict[str, Metric] = {}
    for each in snapshots:
        origin = {"process": each.process, "instance": each.instance}
        for family in each.families:
            metric = found.setdefault(family.name, Metric(family.name, family.text, family.type))
            for name, labels, value in family.samples:
                metric.add_sample(name, {**labels, **origin}, value)
    yield from found.values()


async def write_snapshot(redis: Redis, interval_s: float) -> None:
    """Leave this process's counts in Redis for a few intervals.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    content = msgspec.msgpack.encode(snapshot())
    if len(content) > MOST_BYTES:
        log.error("metrics not written: too many series", bytes=len(content))
        return
    life_s = max(2, round(LIFE_INTERVALS * interval_s))
    script: Any = redis.register_script(_WRITE)
    await script(keys=[_key(IDENTITY.instance), INDEX], args=[IDENTITY.instance, content, life_s, MOST_PROCESSES])


async def read_snapshots(redis: Redis) -> list[Snapshot]:
    """The counts of all processes heard of lately, this one's among them.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    client: Any = redis
    instances = [each.decode() for each in await client.zrange(INDEX, 0, MOST_PROCESSES)]
    contents = await client.mget([_key(instance) for instance in instances]) if instances else []
    found = []
    for content in contents:
        with contextlib.suppress(msgspec.MsgspecError):  # a process of another version
            if content is not None:
                found.append(msgspec.msgpack.decode(content, type=Snapshot))
    return found


async def forget(redis: Redis) -> None:
    """Take this process's counts back at a clean end, so that it does not look alive."""
    client: Any = redis
    await client.zrem(INDEX, IDENTITY.instance)
    await client.delete(_key(IDENTITY.instance))


class MetricsReporter:
    """Writes snapshots while it runs. A task of the process's own loop: a loop that hangs is seen to be silent."""

    def __init__(
        self, redis: Redis, interval_s: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._redis = redis
        self._interval_s = interval_s
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._report(), name="metrics")

    async def stop(self) -> None:
        """Cease, and take back what was written."""
        task, self._task = self._task, None
        if task is None:
            return
        await end(task)
        with contextlib.suppress(RedisError, OSError):
            await forget(self._redis)

    async def _report(self) -> None:
        was_away = False
        while True:
            try:
                await write_snapshot(self._redis, self._interval_s)
                was_away = False
            except (RedisError, OSError) as error:
                if not was_away:
                    log.warning("metrics not written", reason=str(error))
                was_away = True
            await self._sleep(self._interval_s)


def _key(instance: str) -> str:
    return f"{INDEX}:{instance}"
