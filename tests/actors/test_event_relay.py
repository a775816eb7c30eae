"""What a crash or an outage kept from the stream is published late instead of never, and by one process at a time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from actors import relay as module
from actors.events import JobData, job_event, progress_event
from actors.owner import Connections
from actors.relay import EventRelay, SeenJobs
from db.models import Job
from db.repositories.job_changes import Change

T0 = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


async def add(connections: Connections, state: str = "running", age_s: float = 10.0) -> Job:
    """A job whose state changed so long ago, and of which nobody has told."""
    job = Job(kind="plan", state=state, changed_at=datetime.now(UTC) - timedelta(seconds=age_s))
    async with connections.sessions.begin() as session:
        session.add(job)
        await session.flush()
        await session.refresh(job)
    return job


async def told(connections: Connections) -> list[tuple[str, str]]:
    """(job, state) of every event in the stream."""
    events: list[Any] = (await connections.events.replay("0-0", "+"))[0]
    return [(event.data.job_id, event.data.state) for event in events]


class CountedRelay(EventRelay):
    """Says when a round is over."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections.engine, connections.events, interval_s=0.02)
        self.rounds = 0
        self._over = asyncio.Event()

    async def _round(self, connection: Any) -> None:
        await super()._round(connection)
        self.rounds += 1
        self._over.set()

    async def two_rounds(self) -> None:
        """Wait until a round has begun and ended from now on."""
        async with asyncio.timeout(15):
            for _ in range(2):
                self._over.clear()
                await self._over.wait()


@asynccontextmanager
async def relaying(connections: Connections) -> AsyncIterator[CountedRelay]:
    relay = CountedRelay(connections)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_changes_nobody_told_of_are_published_once_oldest_first(connections: Connections) -> None:
    second, first = await add(connections, "done", age_s=20), await add(connections, "running", age_s=30)
    known = await add(connections, "done", age_s=40)
    await connections.events.publish(job_event(known))
    async with relaying(connections) as relay:
        await relay.two_rounds()
        await relay.two_rounds()
    expected = [(str(known.id), "done"), (str(first.id), "running"), (str(second.id), "done")]
    assert await told(connections) == expected


async def test_a_state_newer_than_the_one_told_is_published(connections: Connections) -> None:
    job = await add(connections, "running", age_s=30)
    await connections.events.publish(job_event(job))
    await connections.events.publish(progress_event("job.progressed", job.id, None, "plan", state="running"))
    async with relaying(connections) as relay:
        await relay.two_rounds()
        assert await told(connections) == [(str(job.id), "running")] * 2
        async with connections.sessions.begin() as session:
            query = text("UPDATE job SET state = 'done', changed_at = now() - interval '5 seconds' WHERE id = :id")
            await session.execute(query, {"id": job.id})
        await relay.two_rounds()
    assert (await told(connections))[-1] == (str(job.id), "done")


async def test_a_change_just_made_is_left_to_its_maker(connections: Connections) -> None:
    await add(connections, age_s=0)
    async with relaying(connections) as relay:
        await relay.two_rounds()
        assert await told(connections) == []


async def test_a_transaction_that_commits_late_is_not_overlooked(connections: Connections) -> None:
    async with relaying(connections) as relay:
        await relay.two_rounds()
        soon = await add(connections, age_s=5)
        await relay.two_rounds()
        assert await told(connections) == [(str(soon.id), "running")]
        # Longer ones are looked for every so many rounds only: at 200 jobs a second the overlap holds 24,000 changes.
        late = await add(connections, age_s=60)
        for _ in range(module.ROUNDS_PER_OVERLAP):
            await relay.two_rounds()
    assert await told(connections) == [(str(soon.id), "running"), (str(late.id), "running")]


async def test_many_changes_are_read_page_by_page(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    moment = datetime.now(UTC) - timedelta(seconds=10)
    async with connections.sessions.begin() as session:
        # All in one transaction, so all at the same time.
        session.add_all([Job(kind="plan", state="done", changed_at=moment) for _ in range(10)])
    async with relaying(connections) as relay:
        await relay.two_rounds()
    found = await told(connections)
    assert (len(found), len(set(found))) == (10, 10)


async def test_one_works_and_the_next_takes_over(connections: Connections, settings: Any) -> None:
    other_process = Connections(settings, "other")
    try:
        async with relaying(other_process) as standby:
            await standby.two_rounds()
            async with relaying(connections) as first:
                await add(connections)
                await standby.two_rounds()
                assert first.rounds == 0
                assert len(await told(connections)) == 1
        async with relaying(connections) as second:
            await second.two_rounds()
    finally:
        await other_process.close()
    assert len(await told(connections)) == 1


async def test_a_lost_connection_is_opened_again(connections: Connections) -> None:
    async with relaying(connections) as relay:
        await relay.two_rounds()
        async with connections.sessions.begin() as session:
            holders = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            await session.execute(text(f"SELECT pg_terminate_backend(pid) FROM ({holders}) AS holder"))
        job = await add(connections)
        await relay.two_rounds()
    assert await told(connections) == [(str(job.id), "running")]


async def test_an_emptied_redis_is_told_again_of_what_changed_lately(connections: Connections) -> None:
    async with relaying(connections) as relay:
        job = await add(connections)
        await relay.two_rounds()
        await connections.redis.flushdb()
        await relay.two_rounds()
    assert await told(connections) == [(str(job.id), "running")]


def change(job_id: uuid.UUID, seconds: float, state: str) -> Change:
    return Change(job_id, T0 + timedelta(seconds=seconds), state)


def test_what_is_remembered_is_bounded_and_keeps_the_newest_state() -> None:
    seen, job = SeenJobs(length=3), uuid.uuid4()
    seen.note(JobData(job_id=str(job), state="done", changed_at=T0 + timedelta(seconds=5)))
    seen.note(JobData(job_id=str(job), state="running", changed_at=T0))
    assert seen.has(change(job, 5, "done"))
    assert not seen.has(change(job, 6, "waiting"))
    for _ in range(10):
        seen.note(JobData(job_id=str(uuid.uuid4())))
    assert len(seen) == 3
    assert not seen.has(change(job, 5, "done"))
