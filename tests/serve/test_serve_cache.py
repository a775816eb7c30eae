"""Kept answers are quick, never stale, and never missed: whatever becomes of Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from litestar import Litestar
from pydantic import SecretStr
from serve_world import API, add_plant, add_user, bearer, http_client, started, token_for
from sqlalchemy import select, text

from actors.metrics import REGISTRY
from actors.owner import Connections
from cluster.local.redis import EmbeddedRedis
from db.versions import version_of
from serve import cache as cache_module
from serve.application import build_app
from serve.cache import Cache
from settings import Settings


def asked(result: str, cache: str = "explosion") -> float:
    return REGISTRY.get_sample_value("fmrp_cache_requests_total", {"cache": cache, "result": result}) or 0.0


@pytest.fixture
def own_redis(server_folder: Path, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis that this test may stop, and which keeps its data on disk."""
    server = EmbeddedRedis(tmp_path / "redis", "test", tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def world(settings: Settings, own_redis: EmbeddedRedis) -> AsyncIterator[tuple[Litestar, httpx.AsyncClient]]:
    """The application on that Redis, whose cache tries again at once, and a manager."""
    away = settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})
    async with started(build_app(away, None)) as app:  # type: ignore[arg-type]
        await app.state.cache.close()
        app.state["cache"] = Cache(away, patience_s=0.5, rest_s=0.0)
        async with app.state.connections.sessions.begin() as session:
            await add_plant(session)
        user = await add_user(app.state.connections, "manager")
        async with http_client(app, bearer(token_for(app, user.id))) as client:
            yield app, client


async def seals(client: httpx.AsyncClient, quantity: float = 1) -> float:
    """How many B-110 an A-100 takes."""
    answer = await client.get(f"{API}/items/A-100/explosion", params={"quantity": quantity})
    assert answer.status_code == 200, answer.text
    (row,) = [row for row in answer.json()["items"] if row["item"] == "B-110"]
    found: float = row["quantity"]
    return found


async def set_quantity(app: Litestar, quantity: float) -> None:
    async with app.state.connections.sessions.begin() as session:
        await session.execute(
            text("UPDATE bom_line SET quantity_per = :quantity, scrap_share = 0"), {"quantity": quantity}
        )


async def test_an_answer_is_kept_until_its_data_changes(world: Any) -> None:
    app, client = world
    hits, misses = asked("hit"), asked("miss")
    first = await seals(client)
    assert await seals(client) == first
    assert (asked("hit") - hits, asked("miss") - misses) == (1, 1)
    await seals(client, 2)
    assert asked("miss") - misses == 2, "another quantity is another answer"
    for statement in (
        "UPDATE item SET cost = 6 WHERE code = 'B-110'",
        "UPDATE supplier_term SET price = 5",
        "UPDATE work_centre SET cost_per_hour = 1",
        "DELETE FROM bom_line WHERE false",
    ):
        misses = asked("miss")
        async with app.state.connections.sessions.begin() as session:
            await session.execute(text(statement))
        await seals(client)
        assert asked("miss") - misses == 1, statement
    misses = asked("miss")
    async with app.state.connections.sessions.begin() as session:
        await session.execute(text("UPDATE source SET name = name"))
    await seals(client)
    assert asked("miss") == misses, "what it is not made from does not matter"


async def test_a_change_made_while_redis_is_away_is_never_forgotten(world: Any, own_redis: EmbeddedRedis) -> None:
    app, client = world
    await set_quantity(app, 2)
    assert await seals(client) == 2
    own_redis.stop()
    away = asked("away")
    assert await seals(client) == 2
    await set_quantity(app, 3)
    assert await seals(client) == 3, "without Redis it is computed"
    assert asked("away") > away
    own_redis.start()
    with redis.Redis.from_url(own_redis.url) as stored:
        assert stored.keys("fmrp:cache:explosion:*"), "Redis came back with what it had before the change"
    assert await seals(client) == 3, "the answer from before the change has come back"
    hits = asked("hit")
    assert await seals(client) == 3
    assert asked("hit") == hits + 1, "kept again once Redis is back"


async def test_a_redis_that_hangs_costs_its_patience_once(world: Any, own_redis: EmbeddedRedis) -> None:
    app, client = world
    app.state["cache"] = Cache(
        app.state.settings.model_copy(update={"redis_url": SecretStr(own_redis.url)}), patience_s=0.05, rest_s=60
    )
    with redis.Redis.from_url(own_redis.url) as stored:
        pid = int(stored.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(5):
            assert await seals(client) > 0
        waited = time.perf_counter()
        calls = 0

        async def compute() -> bytes:
            nonlocal calls
            calls += 1
            return b"computed"

        for _ in range(20):
            assert await app.state.cache.answer("explosion", (1,), compute) == b"computed"
        assert calls == 20
        assert time.perf_counter() - waited < 0.5, "a cache at rest was asked"
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_changes_that_are_not_committed_move_nothing(connections: Connections) -> None:
    async def version() -> str:
        async with connections.sessions() as session:
            return str((await session.execute(select(version_of(["unit_conversion", "item"])))).scalar_one())

    before = await version()
    async with connections.sessions() as session:
        await session.execute(text("DELETE FROM item"))
        assert await version() == before
        await session.rollback()
    assert await version() == before
    async with connections.sessions() as session:
        await session.execute(text("DELETE FROM item"))
        await session.execute(text("DELETE FROM unit_conversion"))
        await session.commit()
    assert int(await version()) > int(before)


async def test_writers_of_the_same_tables_do_not_wait_for_each_other(connections: Connections) -> None:
    async with connections.sessions() as one, connections.sessions() as other, asyncio.timeout(10):
        await one.execute(text("DELETE FROM item"))
        await other.execute(text("DELETE FROM bom_line"))
        await one.execute(text("DELETE FROM bom_line"))
        await other.execute(text("DELETE FROM item"))
        await other.commit()
        await one.commit()


async def test_its_room_is_bounded(settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SLOTS", 4)
    cache = Cache(settings, patience_s=1)

    async def small() -> bytes:
        return b"small"

    async def large() -> bytes:
        return os.urandom(cache_module.MOST_BYTES)

    for number in range(40):
        assert await cache.answer("test", (number,), small) == b"small"
    with redis.Redis.from_url(redis_url) as stored:
        assert len(stored.keys("fmrp:cache:test:*")) <= 4
        stored.flushdb()
        assert len(await cache.answer("test", ("large",), large)) == cache_module.MOST_BYTES
        assert stored.keys("fmrp:cache:test:*") == []
    await cache.close()


async def test_what_goes_wrong_in_computing_is_told(settings: Settings, redis_url: str) -> None:
    cache = Cache(settings, patience_s=1)

    async def wrong() -> bytes:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await cache.answer("test", (1,), wrong)
    await cache.close()
