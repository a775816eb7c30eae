"""The event socket under load and in faults: late joiners, slow clients, Redis away, many sockets, replicas that go."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from event_world import World, close_code, join, receive, until
from pydantic import SecretStr
from serve_world import API, add_job, add_user, listening
from sqlalchemy import event as database_event
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from actors.events import STREAM, Draining, JobChanged, JobData, JobProgressed
from cluster.local.redis import EmbeddedRedis
from serve import event_hub, event_sender
from serve.application import build_app
from serve.event_queue import QUEUE_LENGTH
from settings import Settings

# One frame taken ahead, and nothing compressed away: what is not received fills the buffers on the way.
STOPS_READING: dict[str, Any] = {"max_queue": 1, "compression": None}


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    app = build_app(settings, None)  # type: ignore[arg-type]  # nothing is predicted here
    async with listening(app) as address:
        yield World(app, address, await add_user(app.state.connections, "viewer"))


async def batch(socket: ClientConnection) -> list[dict[str, Any]]:
    """The next frame of a client that takes batches."""
    frame: list[dict[str, Any]] = json.loads(await asyncio.wait_for(socket.recv(), 10))
    return frame


def progress(job: str, number: int) -> JobProgressed:
    return JobProgressed(data=JobData(job_id=job, state="running", message=str(number)))


async def newest(socket: ClientConnection, last: int) -> dict[str, int]:
    """The newest message of each job once one says `last`; nothing may go back on the way."""
    known: dict[str, int] = {}
    while last not in known.values():
        for each in await batch(socket):
            if each["type"] == "job.progressed":
                number = int(each["data"]["message"])
                assert number > known.get(each["data"]["job_id"], -1)
                known[each["data"]["job_id"]] = number
    return known


async def test_a_late_joiner_is_told_where_all_jobs_stand(world: World) -> None:
    async with world.app.state.connections.sessions.begin() as session:
        ended = await add_job(session, "forecast", "done", finished_at=datetime.now(UTC), message="120 series")
        running = await add_job(session, "plan", "running", attempts=2, progress=0.4)
    last = await world.publish(1)
    # The reader is past the event once a socket was sent it, so the snapshot is the newer of the two.
    await until(lambda: world.hub.last_id == last)
    async with world.connect() as socket:
        snapshot = await join(socket)
        assert (snapshot["topic"], snapshot["id"]) == ("jobs", last)
        told = {job["job_id"]: job for job in snapshot["data"]["jobs"]}
        assert set(told) == {str(ended.id), str(running.id)}
        assert (told[str(running.id)]["progress"], told[str(running.id)]["attempt"]) == (0.4, 2)
        assert told[str(ended.id)]["message"] == "120 series"
        await world.publish(2)
        assert (await receive(socket))["data"]["message"] == "2"


async def test_two_hundred_late_joiners_cost_the_database_one_snapshot(world: World) -> None:
    statements: list[str] = []
    engine = world.app.state.connections.engine.sync_engine
    database_event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    sockets = await asyncio.gather(*(world.connect().__aenter__() for _ in range(200)))
    try:
        began = time.monotonic()
        await asyncio.gather(*(join(socket) for socket in sockets))
        took_s = time.monotonic() - began
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets))
    # Two statements each; they came in over a while, and a snapshot lives for a second.
    assert sum("FROM job" in each for each in statements) <= 2 * (8 + took_s)


async def test_a_client_with_its_last_id_gets_no_snapshot(world: World) -> None:
    first = await world.publish(1)
    await world.publish(2)
    async with world.connect(f"?after={first}") as socket:
        assert (await receive(socket))["data"]["message"] == "2"


WRONG = ["pace_ms=19", "pace_ms=2001", "pace_ms=fast", "pace_ms=", "pace_ms=-50", "pace_ms=99999999999", "frames=many"]


@pytest.mark.parametrize("query", WRONG)
async def test_an_option_that_is_none_closes_4400(world: World, query: str) -> None:
    async with world.connect(f"?{query}") as socket:
        assert await close_code(socket) == 4400
        assert query.split("=", maxsplit=1)[0] in (socket.close_reason or "")


async def test_batches_come_at_their_pace_and_end_with_the_newest_state(world: World) -> None:
    async with world.connect("?frames=batch&pace_ms=100") as socket:
        assert (await batch(socket))[0]["type"] == "snapshot"
        began = time.monotonic()
        for number in range(400):
            await world.events.publish(progress("ab"[number % 2], number))
        known: dict[str, int] = {}
        frames = 0
        while known.get("b") != 399 or known.get("a") != 398:
            frames += 1
            for each in await batch(socket):
                known[each["data"]["job_id"]] = int(each["data"]["message"])
        assert frames <= 2 + (time.monotonic() - began) / 0.1


async def test_the_first_event_after_quiet_goes_at_once(world: World) -> None:
    async with world.connect("?pace_ms=2000") as socket:
        await join(socket)
        await asyncio.sleep(2.0)  # the pause after the snapshot; nothing else ends it
        began = time.monotonic()
        await world.publish(1)
        await receive(socket)
        assert time.monotonic() - began < 1.0


async def test_a_client_that_does_not_read_costs_a_bounded_queue_and_ends_with_the_newest_state(world: World) -> None:
    async with world.connect("?frames=batch&pace_ms=20", **STOPS_READING) as socket:
        await batch(socket)
        (subscription,) = world.hub._subscriptions
        filler = "x" * 20_000
        for number in range(900):
            data = JobData(job_id=f"job-{number % 300}", state="running", message=f"{number}", step=filler)
            await world.events.publish(JobProgressed(data=data))
            assert len(subscription) <= QUEUE_LENGTH
        assert socket.close_code is None
        # It reads again: it was told of a gap and where everything stands, and goes on from there.
        seen: list[dict[str, Any]] = []
        while not any(each["type"] == "snapshot" for each in seen):
            seen += await batch(socket)
        assert any(each["type"] == "gap" for each in seen)
        await world.events.publish(progress("last", 99_999))
        seen += await until_message(socket, "99999")
        assert len(seen) < 900


async def until_message(socket: ClientConnection, message: str) -> list[dict[str, Any]]:
    """All events up to the one with that message."""
    seen: list[dict[str, Any]] = []
    while not any(each["data"].get("message") == message for each in seen):
        seen += await batch(socket)
    return seen


async def test_a_client_that_takes_nothing_for_long_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_sender, "BLOCKED_S", 0.5)
    async with world.connect("?frames=batch&pace_ms=20", **STOPS_READING) as socket:
        await batch(socket)
        data = JobData(job_id="j", state="running", step="x" * 200_000)
        async with asyncio.timeout(20):
            while world.hub.clients:
                await world.events.publish(JobProgressed(data=data))
                await asyncio.sleep(0.02)
        # Its buffers are full, so the reason (1013) may not reach it; the end does.
        assert await close_code(socket) in (1006, 1013)


async def test_a_socket_ends_after_its_share_of_frames_and_its_client_misses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sender, "FRAMES_PER_SOCKET", 5)
    heard: list[str] = []
    after, sockets = "0-0", 0

    async def go_on() -> None:
        for number in range(40):
            await world.publish(number)
            await asyncio.sleep(0.03)

    publishing = asyncio.create_task(go_on())
    async with asyncio.timeout(20):
        while "39" not in heard:
            sockets += 1
            async with world.connect(f"?pace_ms=20&after={after}") as socket:
                try:
                    while "39" not in heard:
                        frame = await receive(socket)
                        heard.append(frame["data"]["message"])
                        after = frame["id"]
                except ConnectionClosed:
                    assert socket.close_code == 1012
    await publishing
    assert heard == [str(number) for number in range(40)]
    assert sockets > 2


async def test_three_hundred_idle_sockets_leave_rest_answering(world: World) -> None:
    sockets = await asyncio.gather(*(world.connect().__aenter__() for _ in range(300)))
    try:
        await until(lambda: world.hub.clients == 300)
        async with httpx.AsyncClient(base_url=f"http://{world.address}", headers=world.headers, timeout=5) as client:
            answers = await asyncio.gather(*(client.get(f"{API}/jobs") for _ in range(10)))
        assert [answer.status_code for answer in answers] == [200] * 10
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets))
    await until(lambda: world.hub.clients == 0)


async def test_a_draining_server_tells_its_clients_and_sends_them_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "DRAIN_SPREAD_S", 1.0)
    async with world.connect("?topic=jobs&pace_ms=20") as socket:
        await join(socket)
        last = await world.events.publish(Draining())
        frame = await receive(socket)
        assert (frame["type"], frame["id"]) == ("draining", last)
        assert await close_code(socket) == 1012
    # Who comes back with its last id is not sent on again by the same event.
    async with world.connect("?topic=jobs&after=0-0") as socket:
        await world.publish(1)
        assert (await receive(socket))["type"] == "job.changed"


async def test_an_emptied_redis_is_a_gap_and_a_snapshot(world: World) -> None:
    known = await world.publish(1)
    async with world.connect() as socket:
        await join(socket)
        await world.publish(2)
        await receive(socket)
        await world.app.state.connections.redis.delete(STREAM, f"{STREAM}:seq")
        await world.publish(3)
        assert [(await receive(socket))["type"] for _ in range(2)] == ["gap", "snapshot"]
        await world.publish(4)
        assert (await receive(socket))["data"]["message"] == "4"
    async with world.connect(f"?after={known}") as socket:
        gap = await receive(socket)
        assert (gap["type"], gap["data"]) == ("gap", {"after": known})
        await join(socket)


async def test_an_entry_that_is_no_event_is_a_gap_and_a_snapshot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "UNREADABLE_EVERY_S", 0.05)
    async with world.connect("?pace_ms=20") as socket:
        await join(socket)
        await world.app.state.connections.redis.xadd(STREAM, {"seq": "2", "event": "not JSON"})
        assert [(await receive(socket))["type"] for _ in range(2)] == ["gap", "snapshot"]
        await world.publish(3)
        assert (await receive(socket))["data"]["message"] == "3"


async def test_redis_killed_and_back_delays_events_and_loses_no_newest_state(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.events.LONGEST_RETRY_S", 0.2)
    server = EmbeddedRedis(tmp_path / "redis", "test", tmp_path)
    await asyncio.to_thread(server.start)
    app = build_app(settings.model_copy(update={"redis_url": SecretStr(server.url)}), None)  # type: ignore[arg-type]
    try:
        async with listening(app) as address:
            world = World(app, address, await add_user(app.state.connections, "viewer"))
            async with world.connect("?frames=batch&pace_ms=20") as socket:
                await batch(socket)
                await world.events.publish(progress("a", 1))
                assert (await newest(socket, 1)) == {"a": 1}
                await asyncio.to_thread(server.stop)
                for number in range(2, 40):
                    await world.events.publish(progress("abc"[number % 3], number))
                await world.events.publish(JobChanged(data=JobData(job_id="b", state="done", message="40")))
                await asyncio.to_thread(server.restart)
                told = await until_message(socket, "40")
                while not {"38", "39"} <= {each["data"].get("message") for each in told}:
                    told += await batch(socket)
                assert {each["data"].get("job_id") for each in told} >= {"a", "b", "c"}
                await world.events.publish(progress("a", 41))
                await until_message(socket, "41")
            await world.events.close()
    finally:
        await asyncio.to_thread(server.stop)
