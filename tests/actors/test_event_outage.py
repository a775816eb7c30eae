"""A Redis that is away, hangs or is emptied delays events: the newest of each job arrives when it answers again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from actors import events as module
from actors.backlog import Backlog
from actors.events import STREAM, EventStream, JobChanged, JobData, JobProgressed
from actors.owner import connect_redis
from cluster.local.redis import EmbeddedRedis
from settings import Settings


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    """A Redis of the test's own, which it may stop."""
    own = EmbeddedRedis(tmp_path / "redis", "test", tmp_path)
    await asyncio.to_thread(own.start)
    yield own
    await asyncio.to_thread(own.stop)


@pytest.fixture
async def redis(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = connect_redis(Settings(redis_url=SecretStr(server.url)))
    yield client
    await client.aclose()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(module, "LONGEST_RETRY_S", 0.1)


def changed(job: str, state: str) -> JobChanged:
    return JobChanged(data=JobData(job_id=job, state=state))


def progressed(job: str, progress: float) -> JobProgressed:
    return JobProgressed(data=JobData(job_id=job, state="running", progress=progress))


async def held(stream: EventStream, count: int) -> list[Any]:
    """The stream's events, once there are so many."""
    async with asyncio.timeout(15):
        while True:
            try:
                found, _ = await stream.replay("0-0", "+")
            except (RedisConnectionError, OSError):
                found = []
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def test_what_redis_missed_is_sent_in_order_when_it_is_back_newest_state_only(
    server: EmbeddedRedis, redis: Redis
) -> None:
    stream = EventStream(redis, 1000)
    assert await stream.publish(changed("before", "done"))
    await asyncio.to_thread(server.stop)
    for number in range(50):
        assert await stream.publish(progressed("a", number / 100)) is None
    await stream.publish(changed("b", "running"))
    await stream.publish_all([changed("a", "done"), progressed("c", 0.5)])
    await asyncio.to_thread(server.restart)
    found = await held(stream, 4)
    told = [(each.data.job_id, each.data.state) for each in found]
    assert told == [("before", "done"), ("b", "running"), ("a", "done"), ("c", "running")]
    assert [each.seq for each in found] == [1, 2, 3, 4]
    assert await stream.publish(changed("after", "done"))
    await stream.close()


async def test_an_emptied_redis_goes_on_and_the_emptiness_is_a_gap(redis: Redis) -> None:
    stream = EventStream(redis, 1000)
    known = await stream.publish(changed("a", "running"))
    assert known is not None
    # Ids are milliseconds: in the same one, the emptied server would give the same id again.
    await asyncio.sleep(0.01)
    await redis.flushall()
    assert await stream.replay(known, "+") == ([], True)
    # Scripts are flushed with the rest; the next event must not need the old one.
    await redis.script_flush()
    assert await stream.publish(changed("a", "done"))
    (event,), is_gap = await stream.replay(known, "+")
    assert (event.seq, is_gap) == (1, True)


async def test_a_redis_that_hangs_does_not_hold_up_the_work(
    server: EmbeddedRedis, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PUBLISH_PATIENCE_S", 0.2)
    stream = EventStream(redis, 1000)
    await stream.publish(changed("a", "waiting"))
    async with Redis.from_url(server.url) as other:
        await other.client_pause(1000)  # type: ignore[no-untyped-call]
    async with asyncio.timeout(0.9):
        # Many at once wait for the first one's patience together, not one after the other.
        await asyncio.gather(*(stream.publish(changed(f"job-{number}", "done")) for number in range(20)))
    found = await held(stream, 21)
    assert {each.data.job_id for each in found} >= {f"job-{number}" for number in range(20)}
    await stream.close()


class Refusing:
    """A Redis that is away until told otherwise, and counts round trips."""

    def __init__(self) -> None:
        self.is_away = True
        self.sent: list[list[bytes]] = []

    def register_script(self, _text: str) -> Any:
        async def call(keys: list[str], args: list[Any]) -> list[bytes]:
            if self.is_away:
                raise RedisConnectionError("away")
            self.sent.append(args[2::2])
            return f"{len(self.sent)}-0".encode()

        return call


async def test_what_waits_is_bounded_and_closing_sends_it_or_lets_it_go() -> None:
    redis = Refusing()
    stream = EventStream(redis, 1000)  # type: ignore[arg-type]  # stands in for Redis
    for number in range(3_000):
        await stream.publish(changed(f"job-{number}", "done"))
    assert len(stream._backlog) == 1000
    task = stream._flushing
    await stream.close()
    assert task is not None
    assert task.done()
    redis.is_away = False
    await stream.close()
    assert b'"job-2000"' in redis.sent[0][0]


async def test_many_events_are_one_round_trip() -> None:
    redis = Refusing()
    redis.is_away = False
    stream = EventStream(redis, 1000)  # type: ignore[arg-type]
    assert await stream.publish_all(changed(f"job-{number}", "done") for number in range(30))
    assert len(redis.sent) == 1
    assert await stream.publish_all([]) is None


async def test_a_value_that_changes_while_it_is_sent_is_sent_again() -> None:
    backlog: Backlog[str] = Backlog(length=3)
    backlog.put("a", "old")
    chunk = backlog.oldest(10)
    backlog.put("a", "new")
    backlog.remove(chunk)
    assert backlog.oldest(10) == [("a", "new")]
    for key in "bcde":
        backlog.put(key, key)
    assert [key for key, _ in backlog.oldest(10)] == ["c", "d", "e"]
    assert backlog.dropped == 2


async def test_entries_of_a_newer_version_or_of_nobody_are_passed_over(redis: Redis) -> None:
    stream = EventStream(redis, 1000)
    await stream.publish(changed("a", "running"))
    newer = b'{"type":"job.changed","topic":"jobs","version":2,"at":"2026-11-24T06:00:00Z","data":{"job_id":"a"}}'
    unknown = b'{"type":"job.paused","topic":"jobs","version":1,"at":"2026-11-24T06:00:00Z","data":{}}'
    for text in (newer, unknown, b"not JSON", b"[]"):
        await redis.xadd(STREAM, {"seq": "2", "event": text})
    await redis.xadd(STREAM, {"nothing": "of ours"})
    await stream.publish(changed("a", "done"))
    found, _ = await stream.replay("0-0", "+")
    assert [each.data.state for each in found] == ["running", "done"]
    heard = stream.follow("0-0", block_ms=100)
    assert [(await anext(heard)).type for _ in range(2)] == ["job.changed", "job.changed"]
