"""Changed rows are told at once, and in a burst so seldom that the jobs keep the stream to themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from actors.data_changes import DataChange
from actors.data_events import DataChanges
from actors.events import DataChanged, EventStream
from cluster.local.redis import EmbeddedRedis
from settings import Settings


async def told(stream: EventStream) -> list[DataChange]:
    events, _ = await stream.replay("0-0", "+")
    return [event.data for event in events if isinstance(event, DataChanged)]


async def at_least(stream: EventStream, count: int) -> list[DataChange]:
    async with asyncio.timeout(5):
        while len(found := await told(stream)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the stream signals nothing to tests
    return found


async def test_the_first_change_goes_at_once_and_a_burst_as_one(settings: Settings) -> None:
    async with Redis.from_url(settings.require_redis_url()) as redis:
        stream = EventStream(redis, 1000)
        changes = DataChanges(stream, interval_s=30.0)
        changes.tell("items", ["A"], actor="maria")
        assert await at_least(stream, 1) == [DataChange.of("items", ["A"], "maria")]
        for number in range(500):
            changes.tell("items", [f"I-{number % 4}"], actor="maria")
        changes.tell("suppliers", ["S"])
        assert [each.resource for each in await at_least(stream, 2)] == ["items", "suppliers"]
        await changes.close()
        last = (await told(stream))[-1]
        assert (last.keys, last.count, last.complete) == (["I-0", "I-1", "I-2", "I-3"], 500, True)
        assert len(await told(stream)) == 3


async def test_after_the_interval_the_next_change_goes(settings: Settings) -> None:
    async with Redis.from_url(settings.require_redis_url()) as redis:
        stream = EventStream(redis, 1000)
        changes = DataChanges(stream, interval_s=0.02)
        changes.tell("items", ["A"])
        changes.tell("items", ["B"])
        await at_least(stream, 1)
        changes.tell("items", ["C"])
        found = await at_least(stream, 2)
        assert [key for each in found for key in each.keys] == ["A", "B", "C"]
        await changes.close()


async def test_changes_that_wait_for_redis_are_told_together(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", "secret", tmp_path)
    server.start()
    try:
        options: dict[str, Any] = {"socket_connect_timeout": 0.5}
        async with Redis.from_url(server.url, **options) as redis:
            stream = EventStream(redis, 1000)
            await asyncio.to_thread(server.stop)
            for key in ("A", "B"):
                assert await stream.publish(DataChanged(data=DataChange.of("items", [key]))) is None
            await asyncio.to_thread(server.restart)
            assert [each.keys for each in await at_least(stream, 1)] == [["A", "B"]]
            await stream.close()
    finally:
        await asyncio.to_thread(server.stop)
