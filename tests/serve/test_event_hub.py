"""The reader of a replica: gaps found, snapshots shared, Redis away and back, everybody sent on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.exceptions
from sqlalchemy.exc import OperationalError

from actors.events import Draining, Entry, JobChanged, JobData, JobProgressed, JobRow, id_key
from serve import event_hub
from serve.event_hub import EventHub
from serve.event_queue import Item, Subscription
from serve.event_topics import Topics

JOBS = Topics(frozenset({"jobs"}))


class FakeStream:
    """A stream in memory; `failing` calls fail."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.trimmed = False
        self.news = asyncio.Event()
        self.failing = 0

    def add(self, number: int, seq: int | None = None, event: Any = None) -> None:
        event = event or JobChanged(data=JobData(job_id=f"job-{number}"))
        numbered = type(event)(**{**fields(event), "id": f"{number}-0", "seq": seq if seq is not None else number})
        self.entries.append(Entry(f"{number}-0", numbered))
        self.news.set()

    def fail(self) -> None:
        if self.failing:
            self.failing -= 1
            raise redis.exceptions.ConnectionError("gone")

    async def newest_id(self) -> str:
        self.fail()
        return self.entries[-1].id if self.entries else "0-0"

    async def is_gone(self, after: str) -> bool:
        return after != "0-0" and (self.trimmed or not self.entries)

    async def follow_entries(self, after: str) -> AsyncIterator[list[Entry]]:
        while True:
            self.news.clear()
            self.fail()
            found = [entry for entry in self.entries if id_key(entry.id) > id_key(after)]
            if found:
                after = found[-1].id
                yield found
            else:
                await self.news.wait()


def fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


class Jobs:
    """What the database would say, and how often it was asked."""

    def __init__(self) -> None:
        self.rows = [JobRow(job_id="a", state="running")]
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None

    async def read(self) -> list[JobRow]:
        self.asked += 1
        rows = list(self.rows)
        await asyncio.sleep(0)
        self.meanwhile()
        return rows


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "RETRY_S", 0.01)
    monkeypatch.setattr(event_hub, "GATHER_S", 0.0)
    monkeypatch.setattr(event_hub, "UNREADABLE_EVERY_S", 0.02)


@asynccontextmanager
async def following(stream: Any, jobs: Jobs | None = None) -> AsyncIterator[EventHub]:
    hub = EventHub(stream, (jobs or Jobs()).read)
    await hub.start()
    await asyncio.wait_for(hub._placed.wait(), 5)
    try:
        yield hub
    finally:
        await hub.stop()
    assert not hub.is_alive


async def next_of(subscription: Subscription) -> list[Item]:
    await asyncio.wait_for(subscription.wait(), 5)
    return subscription.take()


async def test_events_are_encoded_once_for_all_sockets() -> None:
    stream = FakeStream()
    async with following(stream) as hub:
        one, other = hub.subscribe(), hub.subscribe(JOBS)
        stream.add(1)
        (first,), (second,) = await next_of(one), await next_of(other)
        assert first.text is second.text


@pytest.mark.parametrize("seq", [1, 9])
async def test_a_break_in_the_sequence_is_a_gap(seq: int) -> None:
    """A flushed Redis counts from 1 again, a trimmed one has left some out; neither breaks the connection."""
    stream = FakeStream()
    async with following(stream) as hub:
        subscription = hub.subscribe(JOBS)
        stream.add(5, seq=5)
        await next_of(subscription)
        stream.add(6, seq=seq)
        await asyncio.wait_for(subscription.wait(), 5)
        assert subscription.has_gap
        assert subscription.needs_snapshot


async def test_a_redis_that_comes_back_empty_is_a_gap() -> None:
    stream = FakeStream()
    stream.add(5)
    async with following(stream) as hub:
        subscription = hub.subscribe(JOBS)
        stream.add(6)
        await next_of(subscription)
        stream.entries.clear()
        stream.failing = 1
        stream.news.set()
        await asyncio.wait_for(subscription.wait(), 5)
        assert subscription.has_gap
        # Its clock may run behind the lost one's.
        await hub.bring_up(subscription)
        subscription.take()
        subscription.has_gap = False
        stream.add(2, seq=1)
        assert [item.number for item in await next_of(subscription)] == [(2, 0)]


async def test_an_interruption_without_loss_goes_on_without_a_word() -> None:
    stream = FakeStream()
    async with following(stream) as hub:
        subscription = hub.subscribe(JOBS)
        stream.add(1)
        await next_of(subscription)
        stream.failing = 2
        stream.add(2)
        assert [item.number for item in await next_of(subscription)] == [(2, 0)]
        assert not subscription.has_gap


async def test_entries_that_cannot_be_read_are_made_up_for_and_end_nothing() -> None:
    stream = FakeStream()
    async with following(stream) as hub:
        subscription = hub.subscribe(JOBS)
        stream.add(1)
        await next_of(subscription)
        for number in range(2, 50):
            stream.entries.append(Entry(f"{number}-0", None))
        stream.add(50)
        assert [item.number for item in await next_of(subscription)] == [(50, 0)]
        await asyncio.wait_for(subscription.wait(), 5)
        assert subscription.has_gap
        assert hub.is_alive


async def test_many_who_join_share_one_query_and_miss_nothing_after_it() -> None:
    stream, jobs = FakeStream(), Jobs()
    stream.add(1)
    async with following(stream, jobs) as hub:
        first = hub.subscribe(JOBS)
        await hub.bring_up(first)
        first.take()
        stream.add(2)
        await next_of(first)
        joined = [hub.subscribe() for _ in range(200)]
        await asyncio.gather(*(hub.bring_up(each) for each in joined))
        assert jobs.asked == 1
        for each in joined:
            assert [item.key for item in each.take()] == ["snapshot", "2-0"]


@pytest.mark.parametrize(("limit", "value"), [("RECENT", 3), ("RECENT_CHARACTERS", 1000)])
async def test_a_snapshot_is_read_again_when_the_events_after_it_are_no_longer_kept(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(event_hub, limit, value)
    stream, jobs = FakeStream(), Jobs()
    async with following(stream, jobs) as hub:
        first = hub.subscribe(JOBS)
        await hub.bring_up(first)
        first.take()
        for number in range(1, 8):
            stream.add(number)
        await next_of(first)
        late = hub.subscribe(JOBS)
        await hub.bring_up(late)
        assert jobs.asked == 2
        assert [item.number[0] for item in late.take()] == [7]


async def test_events_that_come_while_the_database_is_asked_follow_the_snapshot() -> None:
    stream, jobs = FakeStream(), Jobs()
    async with following(stream, jobs) as hub:
        subscription = hub.subscribe(JOBS)

        def meanwhile() -> None:
            hub._take([Entry("3-0", JobProgressed(data=JobData(job_id="a", state="running"), id="3-0", seq=1))])

        jobs.meanwhile = meanwhile
        await hub.bring_up(subscription)
        assert [item.key for item in subscription.take()] == ["snapshot", "progress:a"]


async def test_without_the_database_there_is_no_snapshot_and_the_next_try_asks_again() -> None:
    stream, jobs = FakeStream(), Jobs()

    def broken() -> None:
        raise OperationalError("select", {}, Exception("away"))

    async with following(stream, jobs) as hub:
        subscription = hub.subscribe(JOBS)
        jobs.meanwhile = broken
        with pytest.raises(OperationalError):
            await hub.bring_up(subscription)
        jobs.meanwhile = lambda: None
        await hub.bring_up(subscription)
        assert [item.key for item in subscription.take()] == ["snapshot"]


async def test_a_draining_event_sends_everybody_on_spread_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "DRAIN_SPREAD_S", 0.1)
    stream = FakeStream()
    async with following(stream) as hub:
        clients = [hub.subscribe(JOBS) for _ in range(20)]
        stream.add(1, event=Draining())
        (told,) = await next_of(clients[0])
        assert '"draining"' in told.text
        assert not all(client.is_leaving.is_set() for client in clients)
        await asyncio.wait_for(asyncio.gather(*(client.is_leaving.wait() for client in clients)), 5)


def test_all_clients_are_slowed_down_together_when_they_want_more_than_can_be_sent() -> None:
    hub = EventHub(FakeStream(), Jobs().read)  # type: ignore[arg-type]  # stands in for Redis
    few = [hub.subscribe(JOBS, pace_s=0.2) for _ in range(200)]
    assert hub.stretch == 1.0
    many = [hub.subscribe(JOBS, pace_s=0.02) for _ in range(200)]
    assert hub.stretch == pytest.approx((200 / 0.2 + 200 / 0.02) / event_hub.FRAMES_PER_S)
    for each in (*few, *many):
        hub.unsubscribe(each)
        hub.unsubscribe(each)
    assert hub.stretch == 1.0
