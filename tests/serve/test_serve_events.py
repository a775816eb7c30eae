"""The event socket: who may listen, that nothing is lost or told twice, and that nobody can make it grow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis.asyncio
from litestar import Litestar
from serve_world import API, add_user, bearer, listening, token_for
from sqlalchemy import text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from actors.events import STREAM, Event, EventStream
from serve import event_hub
from serve.application import build_app
from serve.event_hub import QUEUE_LENGTH, EventHub, Lagging, Subscription
from serve.routes import events as route
from serve.routes.events import is_allowed_origin, is_event_id
from serve.security import User
from settings import Settings


class World:
    """A listening application with one user."""

    def __init__(self, app: Litestar, address: str, user: User) -> None:
        self.app = app
        self.address = address
        self.user = user
        self.events: EventStream = app.state.connections.events
        self.hub: EventHub = app.state.hub
        self.headers = bearer(token_for(app, user.id))

    def connect(self, query: str = "", **options: Any) -> connect:
        options.setdefault("additional_headers", self.headers)
        return connect(f"ws://{self.address}{API}/events{query}", open_timeout=5, **options)

    async def publish(self, number: int, type_: str = "job.changed", topic: str = "jobs") -> str:
        entry = await self.events.publish(Event(type=type_, topic=topic, data={"job_id": "j", "number": number}))
        assert entry is not None
        return entry


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    app = build_app(settings, None)  # type: ignore[arg-type]  # nothing is predicted here
    async with listening(app) as address:
        yield World(app, address, await add_user(app.state.connections, "viewer"))


async def receive(socket: ClientConnection) -> dict[str, Any]:
    """The next frame."""
    frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 5))
    return frame


async def close_code(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(5):
        with suppress(ConnectionClosed):
            async for _ in socket:
                pass
        await socket.wait_closed()
    return socket.close_code


async def until(condition: Any) -> None:
    """Wait for something the application does on its own time."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the application signals nothing to tests
            await asyncio.sleep(0.01)


async def get_ticket(world: World) -> str:
    async with httpx.AsyncClient(base_url=f"http://{world.address}", headers=world.headers) as client:
        answer = await client.post(f"{API}/events/ticket")
    ticket: str = answer.json()["ticket"]
    return ticket


NO_PASSES = [
    ("", {}),
    ("?ticket=made-up", {}),
    ("", {"Authorization": "Bearer a.b.c"}),
    ("", {"Authorization": "Basic cm9vdA=="}),
    ("?token=x", {"Cookie": "token=x"}),
]


async def test_without_a_pass_the_socket_closes_4401(world: World) -> None:
    for query, headers in NO_PASSES:
        async with world.connect(query, additional_headers=headers) as socket:
            assert await close_code(socket) == 4401


async def test_a_ticket_opens_one_socket(world: World) -> None:
    ticket = await get_ticket(world)
    async with world.connect(f"?ticket={ticket}", additional_headers={}) as socket:
        await until(lambda: world.hub.clients == 1)
        await world.publish(1)
        assert (await receive(socket))["data"]["number"] == 1
        async with world.connect(f"?ticket={ticket}", additional_headers={}) as second:
            assert await close_code(second) == 4401
    client = world.app.state.connections.redis
    other = await get_ticket(world)
    assert 0 < await client.ttl(f"fmrp:ticket:{other}") <= 30


async def test_a_switched_off_account_gets_no_socket_and_loses_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "RECHECK_S", 0.05)
    ticket = await get_ticket(world)
    async with world.connect() as socket:
        await until(lambda: world.hub.clients == 1)
        async with world.app.state.connections.sessions.begin() as session:
            await session.execute(text("UPDATE user_account SET active = false"))
        assert await close_code(socket) == 4401
    async with world.connect(f"?ticket={ticket}", additional_headers={}) as socket:
        assert await close_code(socket) == 4401


async def test_a_foreign_page_may_not_listen(world: World) -> None:
    async with world.connect(origin="https://evil.example") as socket:
        assert await close_code(socket) == 4403
    async with world.connect(origin=f"http://{world.address}") as socket:
        await until(lambda: world.hub.clients == 1)
        await world.publish(1)
        assert (await receive(socket))["data"]["number"] == 1


def test_which_origins_are_ours() -> None:
    allowed = ("https://plant.example",)
    for origin in (None, "https://plant.example", "http://api.example:8000", "https://api.example:8000"):
        assert is_allowed_origin(origin, "api.example:8000", allowed), origin
    for origin in (
        "null",
        "",
        "https://plant.example.evil.example",
        "http://plant.example",
        "http://api.example",
        "http://api.example:8000.evil.example",
        "http://evil.example/api.example:8000",
    ):
        assert not is_allowed_origin(origin, "api.example:8000", allowed), origin


NO_IDS = ["yesterday", "-", "+", "$", "1_0-0", "-5", "99999999999999999999-0", "1-2-3"]


async def test_an_id_that_is_none_closes_4400(world: World) -> None:
    for after in NO_IDS:
        assert not is_event_id(after)
        async with world.connect(f"?after={quote(after)}") as socket:
            assert await close_code(socket) == 4400
        assert is_event_id("0")
        assert is_event_id("18446744073709551615-18446744073709551615")


async def test_a_live_event_arrives_whole(world: World) -> None:
    async with world.connect("?topic=jobs") as socket:
        await until(lambda: world.hub.clients == 1)
        await world.publish(0, topic="other")
        entry = await world.publish(7)
        frame = await receive(socket)
    assert frame["id"] == entry
    assert frame.keys() == {"id", "type", "version", "topic", "at", "seq", "data"}
    assert (frame["type"], frame["topic"], frame["seq"]) == ("job.changed", "jobs", 1)
    assert frame["data"]["number"] == 7


async def test_from_replay_to_live_nothing_is_lost_or_told_twice(world: World) -> None:
    first = await world.publish(0)
    for number in range(1, 40):
        await world.publish(number)

    async def go_on() -> None:
        for number in range(40, 140):
            await world.publish(number)

    publishing = asyncio.create_task(go_on())
    async with world.connect(f"?after={first}") as socket:
        frames = [await receive(socket) for _ in range(139)]
    await publishing
    assert [frame["data"]["number"] for frame in frames] == list(range(1, 140))
    assert [frame["seq"] for frame in frames] == list(range(2, 141))


async def test_a_slow_reader_of_ours_does_not_repeat_what_the_client_has(world: World) -> None:
    known = await world.publish(1)
    async with world.connect(f"?after={known}") as socket:
        await until(lambda: world.hub.clients == 1)
        old = Event(type="job.changed", topic="jobs", data={"job_id": "j", "number": 1}, id=known)
        for subscription in world.hub._subscriptions:
            subscription.offer(old)
        await world.publish(2)
        assert (await receive(socket))["data"]["number"] == 2


async def test_trimmed_events_are_announced_as_a_gap(world: World) -> None:
    first = await world.publish(1)
    for number in (2, 3, 4):
        await world.publish(number)
    await world.app.state.connections.redis.xtrim(STREAM, maxlen=2, approximate=False)
    async with world.connect(f"?after={first}&topic=jobs") as socket:
        gap = await receive(socket)
        assert gap["type"] == "gap"
        assert [(await receive(socket))["data"]["number"] for _ in range(2)] == [3, 4]


async def test_a_client_that_leaves_is_forgotten(world: World) -> None:
    async with world.connect() as socket:
        await until(lambda: world.hub.clients == 1)
    await until(lambda: world.hub.clients == 0)
    socket = await world.connect()
    await until(lambda: world.hub.clients == 1)
    socket.transport.abort()
    await until(lambda: world.hub.clients == 0)


async def test_what_clients_send_is_ignored(world: World) -> None:
    async with world.connect() as socket:
        await until(lambda: world.hub.clients == 1)
        await socket.send("hello")
        await socket.send(b"\x00\x01")
        await world.publish(1)
        assert (await receive(socket))["data"]["number"] == 1


async def test_a_quiet_socket_is_pinged_and_an_old_one_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "PING_S", 0.05)
    monkeypatch.setattr(route, "LIFE_S", 0.4)
    async with world.connect() as socket:
        assert (await receive(socket))["type"] == "ping"
        assert await close_code(socket) == 1012


async def test_a_client_that_cannot_keep_up_is_cut_off(world: World) -> None:
    async with world.connect() as socket:
        await until(lambda: world.hub.clients == 1)
        for subscription in world.hub._subscriptions:
            for number in range(QUEUE_LENGTH + 1):
                subscription.offer(Event(type="job.changed", topic="jobs", data={}, id=f"{number + 1}-0"))
        assert await close_code(socket) == 1013


async def test_events_resume_when_redis_drops_the_reader(world: World) -> None:
    async with world.connect() as socket:
        await until(lambda: world.hub.clients == 1)
        await world.publish(1)
        assert (await receive(socket))["data"]["number"] == 1
        async with redis.asyncio.Redis.from_url(world.app.state.settings.require_redis_url()) as admin:
            me = await admin.client_id()
            readers = [each for each in await admin.client_list() if "xread" in each["cmd"]]
            assert readers, "nobody reads the stream"
            for each in await admin.client_list():
                if int(each["id"]) != me:
                    await admin.client_kill_filter(_id=each["id"])
        await world.publish(2)
        await world.publish(3)
        assert [(await receive(socket))["data"]["number"] for _ in range(2)] == [2, 3]
    assert world.hub.is_alive


async def test_an_entry_that_is_no_event_does_not_end_the_reader(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "RETRY_S", 0.01)
    async with world.connect() as socket:
        await until(lambda: world.hub.clients == 1)
        await world.publish(1)
        assert (await receive(socket))["data"]["number"] == 1
        await world.app.state.connections.redis.xadd(STREAM, {"seq": "2", "event": "not JSON"})
        assert (await receive(socket))["type"] == "gap"
        await until(world.hub._placed.is_set)
        await world.publish(3)
        assert (await receive(socket))["data"]["number"] == 3


class BrokenStream:
    """A stream that fails once, and has lost its entries when it is back."""

    def __init__(self) -> None:
        self.newest = ["5-0", "0-0"]
        self.fails = True

    async def newest_id(self) -> str:
        return self.newest.pop(0) if len(self.newest) > 1 else self.newest[0]

    async def replay(self, after: str, upto: str) -> tuple[list[Event], bool]:
        return [], False

    async def follow(self, after: str) -> AsyncIterator[Event]:
        if self.fails:
            self.fails = False
            raise redis.exceptions.ConnectionError("gone")
        await asyncio.sleep(60)
        yield Event(type="never", topic="", data={})


async def test_a_redis_that_comes_back_empty_is_announced_as_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "RETRY_S", 0.01)
    hub = EventHub(BrokenStream())  # type: ignore[arg-type]  # stands in for Redis
    subscription = hub.subscribe("jobs")
    await hub.start()
    try:
        event = await asyncio.wait_for(subscription.next(), 5)
    finally:
        await hub.stop()
    assert event.type == "gap"
    assert event.data == {"after": "5-0"}
    assert not hub.is_alive


def progressed(job: str, number: int) -> Event:
    return Event(type="job.progressed", topic="jobs", data={"job_id": job, "number": number}, id=f"{number}-0")


def changed(number: int) -> Event:
    return Event(type="job.changed", topic="jobs", data={"number": number}, id=f"{number}-0")


async def test_a_slow_client_sees_only_the_newest_progress_in_order() -> None:
    subscription = Subscription(None)
    subscription.offer(changed(1))
    for number in range(2, 10_000):
        subscription.offer(progressed("ab"[number % 2], number))
    subscription.offer(changed(10_000))
    got = [await subscription.next() for _ in range(4)]
    assert [each.id for each in got] == ["1-0", "9998-0", "9999-0", "10000-0"]
    assert not subscription.is_lagging


@pytest.mark.parametrize("kind", ["changes", "progress of many jobs", "both"])
async def test_what_waits_for_a_client_is_bounded_and_contiguous(kind: str) -> None:
    subscription = Subscription("jobs")
    for number in range(1, 5_000):
        if kind == "progress of many jobs" or (kind == "both" and number % 2):
            subscription.offer(progressed(str(number), number))
        else:
            subscription.offer(changed(number))
    assert len(subscription._unsent) == QUEUE_LENGTH
    got = [await subscription.next() for _ in range(QUEUE_LENGTH)]
    assert [each.id for each in got] == [f"{number}-0" for number in range(1, QUEUE_LENGTH + 1)]
    with pytest.raises(Lagging):
        await subscription.next()


async def test_a_subscription_keeps_to_its_topic() -> None:
    subscription = Subscription("jobs")
    subscription.offer(Event(type="x", topic="other", data={}, id="1-0"))
    subscription.offer(changed(2))
    subscription.offer(Event(type="gap", topic="", data={}))
    assert [(await subscription.next()).type for _ in range(2)] == ["job.changed", "gap"]
