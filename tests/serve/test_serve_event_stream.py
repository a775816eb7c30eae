"""Server-sent events: the same events as on sockets, for whom there are no sockets."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from event_world import World, until
from serve_world import API, add_job, add_user, listening
from sqlalchemy import text

from actors.data_changes import DataChange
from actors.events import STREAM, DataChanged, Draining, JobProgressed, progress_event
from serve import event_hub, event_life, event_sender
from serve.application import build_app
from serve.event_queue import QUEUE_LENGTH
from serve.event_response import RETRY_MS
from settings import Settings


class Told(NamedTuple):
    """One event as EventSource would hand it to a page."""

    id: str
    type: str
    data: dict[str, Any]


class Reader:
    """Reads an answer line by line, as the standard says."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.comments: list[str] = []
        self.retry_ms = 0
        self.last_id = ""
        self._lines = answer.aiter_lines()

    async def next(self) -> Told:
        """The next event; StopAsyncIteration when the answer is over."""
        type_, data = "message", ""
        async with asyncio.timeout(10):
            while (line := await anext(self._lines)) or not data:
                field, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments.append(line)
                elif field == "id":
                    self.last_id = value
                elif field == "event":
                    type_ = value
                elif field == "data":
                    data += value
                elif field == "retry":
                    self.retry_ms = int(value)
        return Told(self.last_id, type_, json.loads(data))

    async def is_over(self) -> bool:
        async with asyncio.timeout(10):
            async for _ in self._lines:
                pass
        return True


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    app = build_app(settings, None)  # type: ignore[arg-type]  # nothing is predicted here
    async with listening(app) as address:
        yield World(app, address, await add_user(app.state.connections, "viewer"))


@asynccontextmanager
async def streaming(world: World, query: str = "", **headers: str) -> AsyncIterator[Reader]:
    """An open stream, with a bearer token unless the query holds a ticket."""
    given = {**({} if "ticket=" in query else world.headers), **headers}
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream("GET", f"http://{world.address}{API}/events/stream{query}", headers=given) as answer,
    ):
        if answer.status_code != 200:
            await answer.aread()
        yield Reader(answer)


async def test_a_stream_begins_with_a_snapshot_and_goes_on_live(world: World) -> None:
    async with world.app.state.connections.sessions.begin() as session:
        job = await add_job(session, "plan", "running", attempts=1, progress=0.4)
    async with streaming(world) as reader:
        assert reader.answer.status_code == 200
        assert reader.answer.headers["content-type"].startswith("text/event-stream")
        assert reader.answer.headers["cache-control"] == "no-store"
        assert reader.answer.headers["x-accel-buffering"] == "no"
        assert "content-length" not in reader.answer.headers
        snapshot = await reader.next()
        assert reader.retry_ms == RETRY_MS
        assert snapshot.type == snapshot.data["type"] == "snapshot"
        assert [each["job_id"] for each in snapshot.data["data"]["jobs"]] == [str(job.id)]
        entry = await world.publish(7)
        told = await reader.next()
        assert told == (entry, "job.changed", told.data)
        assert (told.data["id"], told.data["data"]["message"]) == (entry, "7")


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_stream_goes_on_after_the_last_id(world: World, way: str) -> None:
    first, second = [await world.publish(number) for number in range(2)]
    for number in range(2, 20):
        await world.publish(number)
    # EventSource comes back to the same address, so what it says itself is the newer.
    query, headers = (f"?after={second}", {}) if way == "query" else (f"?after={first}", {"Last-Event-ID": second})
    async with streaming(world, query, **headers) as reader:
        told = [await reader.next() for _ in range(18)]
        await world.publish(20)
        told.append(await reader.next())
    assert [int(each.data["data"]["message"]) for each in told] == list(range(2, 21))


async def test_what_is_gone_is_a_gap_and_a_snapshot(world: World) -> None:
    old = await world.publish(1)
    await world.publish(2)
    await world.app.state.connections.redis.xtrim(STREAM, maxlen=0)
    async with streaming(world, f"?after={old}") as reader:
        gap, snapshot = await reader.next(), await reader.next()
    assert (gap.type, gap.data["data"]) == ("gap", {"after": old})
    assert snapshot.type == "snapshot"


async def test_topics_choose_and_a_stream_without_jobs_has_no_snapshot(world: World) -> None:
    job = uuid.uuid4()
    async with (
        streaming(world, f"?topic=job:{job}&snapshot=false") as one_job,
        streaming(world, "?topic=data:items&topic=data:suppliers") as rows,
    ):
        await until(lambda: world.hub.clients == 2)
        await world.publish(1)
        for resource in ("orders", "items"):
            await world.events.publish(DataChanged(data=DataChange.of(resource, ["A"], "x@y")))
        await world.events.publish(progress_event("job.progressed", job, None, "plan", progress=0.5))
        told = await rows.next()
        assert (told.type, told.data["topic"]) == ("data.changed", "data")
        assert told.data["data"] == {"resource": "items", "keys": ["A"], "count": 1, "complete": True, "actor": "x@y"}
        assert (await one_job.next()).data["data"]["job_id"] == str(job)


async def problem_of(world: World, query: str = "", **headers: str) -> httpx.Response:
    async with streaming(world, query, **headers) as reader:
        assert reader.answer.headers["content-type"].startswith("application/problem+json")
        return reader.answer


async def test_without_a_pass_there_is_no_stream(world: World) -> None:
    for query, headers in [
        ("?ticket=made-up", {}),
        ("", {"Authorization": "Bearer a.b.c"}),
        ("", {"Authorization": "", "Cookie": "token=x"}),
    ]:
        answer = await problem_of(world, query, **headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert world.hub.clients == 0


async def test_a_ticket_opens_one_stream(world: World) -> None:
    async with httpx.AsyncClient(base_url=f"http://{world.address}", headers=world.headers) as client:
        ticket = (await client.post(f"{API}/events/ticket")).json()["ticket"]
    async with streaming(world, f"?ticket={ticket}") as reader:
        assert (await reader.next()).type == "snapshot"
        assert (await problem_of(world, f"?ticket={ticket}")).status_code == 401


async def test_a_foreign_page_may_not_listen(world: World) -> None:
    assert (await problem_of(world, Origin="https://evil.example")).status_code == 403
    async with streaming(world, Origin=f"http://{world.address}") as reader:
        assert (await reader.next()).type == "snapshot"


@pytest.mark.parametrize(
    "query", ["topic=plans", "topic=job:7", "after=yesterday", "pace_ms=19", "pace_ms=fast", "snapshot=perhaps"]
)
async def test_a_wrong_option_is_named(world: World, query: str) -> None:
    answer = await problem_of(world, f"?{query}")
    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["errors"]] == [query.split("=", maxsplit=1)[0]]


async def test_a_client_that_goes_is_forgotten_at_once(world: World) -> None:
    async with streaming(world) as reader:
        await reader.next()
        assert world.hub.clients == 1
    await until(lambda: world.hub.clients == 0)


async def test_a_quiet_stream_is_kept_alive_and_an_old_one_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_sender, "PING_S", 0.05)
    monkeypatch.setattr(event_life, "LIFE_S", 0.8)
    async with streaming(world) as reader:
        await reader.next()
        async with asyncio.timeout(10):
            with pytest.raises(StopAsyncIteration):
                await reader.next()
        assert ": ping" in reader.comments
    assert world.hub.clients == 0


async def test_a_switched_off_account_loses_its_stream(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_life, "RECHECK_S", 0.05)
    async with streaming(world) as reader:
        await reader.next()
        async with world.app.state.connections.sessions.begin() as session:
            await session.execute(text("UPDATE user_account SET active = false"))
        assert await reader.is_over()
    assert (await problem_of(world)).status_code == 401


async def test_streams_end_before_a_deploy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "DRAIN_SPREAD_S", 0.1)
    async with streaming(world) as reader:
        await reader.next()
        await world.events.publish(Draining())
        assert (await reader.next()).type == "draining"
        assert await reader.is_over()


async def test_a_client_that_does_not_read_costs_a_bounded_queue_and_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sender, "BLOCKED_S", 1.0)
    async with streaming(world, "?pace_ms=20&topic=jobs") as reader:
        await reader.next()
        (subscription,) = world.hub._subscriptions
        ballast = "x" * 20_000
        number = 0
        while world.hub.clients:
            number += 1
            state: dict[str, Any] = {"state": "running", "message": f"{number} {ballast}"}
            event = progress_event("job.progressed", uuid.uuid4(), None, "plan", **state)
            assert isinstance(event, JobProgressed)
            await world.events.publish(event)
            assert len(subscription) <= QUEUE_LENGTH
