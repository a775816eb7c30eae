"""The event socket: who may listen, that nothing is lost or told twice, and that nobody can make it grow."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
import redis.asyncio
from event_world import World, close_code, join, number_of, receive, until
from serve_world import API, add_user, listening
from sqlalchemy import text

from actors.data_changes import DataChange
from actors.events import DataChanged, progress_event
from serve import event_life, event_sender
from serve.application import build_app
from serve.routes.events import is_allowed_origin
from settings import Settings


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    app = build_app(settings, None)  # type: ignore[arg-type]  # nothing is predicted here
    async with listening(app) as address:
        yield World(app, address, await add_user(app.state.connections, "viewer"))


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
        await join(socket)
        await world.publish(1)
        assert await number_of(socket) == 1
        async with world.connect(f"?ticket={ticket}", additional_headers={}) as second:
            assert await close_code(second) == 4401
    client = world.app.state.connections.redis
    other = await get_ticket(world)
    assert 0 < await client.ttl(f"fmrp:ticket:{other}") <= 30


async def test_a_switched_off_account_gets_no_socket_and_loses_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_life, "RECHECK_S", 0.05)
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
        await join(socket)
        await world.publish(1)
        assert await number_of(socket) == 1


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
        async with world.connect(f"?after={quote(after)}") as socket:
            assert await close_code(socket) == 4400


async def test_a_live_event_arrives_whole(world: World) -> None:
    async with world.connect("?topic=jobs") as socket:
        await join(socket)
        await world.publish(0, topic="other")
        entry = await world.publish(7)
        frame = await receive(socket)
    assert frame["id"] == entry
    assert frame.keys() == {"id", "type", "version", "topic", "at", "seq", "data"}
    assert (frame["type"], frame["topic"], frame["seq"]) == ("job.changed", "jobs", 1)
    assert int(frame["data"]["message"]) == 7


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
    assert [int(frame["data"]["message"]) for frame in frames] == list(range(1, 140))
    assert [frame["seq"] for frame in frames] == list(range(2, 141))


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
        await join(socket)
        await socket.send("hello")
        await socket.send(b"\x00\x01")
        await world.publish(1)
        assert await number_of(socket) == 1


async def test_a_socket_may_ask_for_several_topics(world: World) -> None:
    job = uuid.uuid4()
    async with world.connect(f"?topic=job:{job}&topic=data:items") as socket:
        assert (await join(socket))["data"]["jobs"] == []
        await world.publish(1)
        await world.events.publish(DataChanged(data=DataChange.of("suppliers", ["S-1"])))
        await world.events.publish(DataChanged(data=DataChange.of("items", ["A-100"])))
        await world.events.publish(progress_event("job.progressed", uuid.uuid4(), job, "plan"))
        assert (await receive(socket))["data"]["keys"] == ["A-100"]
        assert (await receive(socket))["data"]["parent_id"] == str(job)
    async with world.connect("?topic=plans") as socket:
        assert await close_code(socket) == 4400
        assert "topic: expected jobs" in (socket.close_reason or "")


async def test_an_open_socket_changes_its_topics(world: World) -> None:
    async with world.connect("?topic=data") as socket:
        await socket.send(json.dumps({"topics": ["data:items", "jobs"]}))
        told = await receive(socket)
        assert (told["type"], told["data"]) == ("subscribed", {"topics": ["data:items", "jobs"]})
        await join(socket)
        await world.events.publish(DataChanged(data=DataChange.of("suppliers", ["S-1"])))
        await world.publish(1)
        assert await number_of(socket) == 1
        await socket.send(json.dumps({"topics": []}))
        assert (await receive(socket))["type"] == "subscribed"
        await world.events.publish(DataChanged(data=DataChange.of("suppliers", ["S-1"])))
        assert (await receive(socket))["data"]["resource"] == "suppliers"
        await socket.send(json.dumps({"topics": ["nonsense"]}))
        assert await close_code(socket) == 4400
    await until(lambda: world.hub.clients == 0)


async def test_a_socket_that_wants_no_snapshot_begins_live(world: World) -> None:
    async with world.connect("?snapshot=false") as socket:
        await until(lambda: world.hub.clients == 1)
        await world.publish(1)
        assert await number_of(socket) == 1


async def test_a_quiet_socket_is_pinged_and_an_old_one_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_sender, "PING_S", 0.05)
    monkeypatch.setattr(event_life, "LIFE_S", 0.8)
    async with world.connect() as socket:
        await join(socket)
        assert (await receive(socket))["type"] == "ping"
        assert await close_code(socket) == 1012


async def test_events_resume_when_redis_drops_the_reader(world: World) -> None:
    async with world.connect() as socket:
        await join(socket)
        await world.publish(1)
        assert await number_of(socket) == 1
        async with redis.asyncio.Redis.from_url(world.app.state.settings.require_redis_url()) as admin:
            me = await admin.client_id()
            readers = [each for each in await admin.client_list() if "xread" in each["cmd"]]
            assert readers, "nobody reads the stream"
            for each in await admin.client_list():
                if int(each["id"]) != me:
                    await admin.client_kill_filter(_id=each["id"])
        await world.publish(2)
        await world.publish(3)
        assert [await number_of(socket) for _ in range(2)] == [2, 3]
    assert world.hub.is_alive
