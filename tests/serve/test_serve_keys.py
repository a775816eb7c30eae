"""Machines come in by keys, under the same roles as people, until the key is revoked or over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar
from serve_world import API, assert_problem, bearer, listening
from sqlalchemy import text
from websockets.asyncio.client import connect

from actors.owner import Connections
from db.repositories import api_keys
from serve.application import build_app
from serve.security import digest
from settings import Settings

KEYS = f"{API}/api-keys"


@pytest.fixture
def admin(by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    """The administrator among one user a role."""
    return by_role["admin"]


async def made(admin: httpx.AsyncClient, **given: Any) -> dict[str, Any]:
    answer = await admin.post(KEYS, json={"name": "erp", "role": "operator", **given})
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{KEYS}/{key['id']}"
    return key


async def execute(app: Litestar, statement: str) -> None:
    async with app.state.connections.sessions.begin() as session:
        await session.execute(text(statement))


async def test_a_key_opens_what_its_role_does_by_either_header(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    key = (await made(admin))["key"]
    for headers in ({"X-API-Key": key}, bearer(key)):
        assert (await anyone.get(f"{API}/auth/me", headers=headers)).json() == {
            "email": "api-key:erp",
            "name": "erp",
            "role": "operator",
            "must_change_password": False,
        }
        assert_problem(await anyone.get(KEYS, headers=headers), 403)
    started = await anyone.post(f"{API}/jobs", json={"kind": "plan"}, headers={"X-API-Key": key})
    assert started.status_code == 202
    assert started.json()["requested_by"] == "api-key:erp"


async def test_the_key_is_shown_once_and_only_its_hash_is_stored(app: Litestar, admin: httpx.AsyncClient) -> None:
    key = await made(admin)
    secret = key.pop("key")
    assert secret.startswith("fmrp_")
    assert len(secret) >= 48
    assert key["prefix"] == secret[:12]
    assert (await admin.get(f"{KEYS}/{key['id']}")).json() == key
    assert (await admin.get(KEYS)).json()["items"] == [key]
    async with app.state.connections.sessions() as session:
        stored = str((await session.execute(text("SELECT k::text FROM api_key k"))).all())
    assert secret not in stored
    assert secret[5:] not in stored


async def test_a_revoked_key_opens_nothing_and_stays_in_the_list(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    key = await made(admin)
    for _ in range(2):
        assert (await admin.delete(f"{KEYS}/{key['id']}")).status_code == 204
        assert_problem(await anyone.get(f"{API}/auth/me", headers={"X-API-Key": key["key"]}), 401)
    [listed] = (await admin.get(KEYS, params={"active": False})).json()["items"]
    assert listed["revoked_at"] is not None
    assert (await admin.get(KEYS, params={"active": True})).json()["items"] == []
    assert_problem(await admin.post(KEYS, json={"name": "erp", "role": "viewer"}), 409)


async def test_a_key_ends_at_its_time(app: Litestar, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    problem = assert_problem(await admin.post(KEYS, json={"name": "erp", "role": "viewer", "expires_at": past}), 409)
    assert [each["field"] for each in problem["errors"]] == ["expires_at"]
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    headers = {"X-API-Key": (await made(admin, expires_at=soon))["key"]}
    assert (await anyone.get(f"{API}/auth/me", headers=headers)).status_code == 200
    await execute(app, "UPDATE api_key SET expires_at = now() - interval '1 second'")
    assert_problem(await anyone.get(f"{API}/auth/me", headers=headers), 401)


async def test_the_last_use_is_written_at_most_once_a_minute(
    app: Litestar, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    key = await made(admin)
    headers = {"X-API-Key": key["key"]}
    assert key["last_used_at"] is None

    async def use() -> datetime:
        await anyone.get(f"{API}/auth/me", headers=headers)
        return datetime.fromisoformat((await admin.get(f"{KEYS}/{key['id']}")).json()["last_used_at"])

    first = await use()
    assert await use() == first
    await execute(app, "UPDATE api_key SET last_used_at = now() - interval '61 seconds'")
    assert await use() > first
    assert (await admin.get(f"{KEYS}/{key['id']}")).json().keys() == key.keys() - {"key"}


async def test_what_is_no_key_of_ours_is_refused(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    key = (await made(admin))["key"]
    for wrong in (key[:-1], key + "x", key.upper(), "fmrp_", "fmrp_made-up", "secret", " "):
        for headers in ({"X-API-Key": wrong}, bearer(wrong)):
            assert_problem(await anyone.get(f"{API}/auth/me", headers=headers), 401)


async def test_a_machine_has_neither_password_nor_log_ins(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    headers = {"X-API-Key": (await made(admin, role="admin"))["key"]}
    body = {"old_password": "x", "new_password": "a longer horse battery"}
    for answer in (
        await anyone.get(f"{API}/auth/sessions", headers=headers),
        await anyone.post(f"{API}/auth/logout-all", headers=headers),
        await anyone.put(f"{API}/auth/password", headers=headers, json=body),
    ):
        assert "API key" in assert_problem(answer, 403)["detail"]


async def test_a_key_opens_the_event_stream_as_well(settings: Settings, connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        fields = {"name": "wall", "role": "viewer", "prefix": "fmrp_wall", "created_by": "test", "expires_at": None}
        await api_keys.add(session, key_hash=digest("fmrp_wall"), **fields)
    headers = {"X-API-Key": "fmrp_wall"}
    app = build_app(settings, None)  # type: ignore[arg-type]  # nothing is predicted here
    async with listening(app) as address, httpx.AsyncClient(base_url=f"http://{address}", headers=headers) as client:
        ticket = (await client.post(f"{API}/events/ticket")).json()["ticket"]
        url = f"ws://{address}{API}/events"
        async with connect(f"{url}?ticket={ticket}") as socket:
            assert "snapshot" in str(await socket.recv())
        async with connect(url, additional_headers=headers) as socket:
            assert "snapshot" in str(await socket.recv())


async def test_the_documentation_names_both_ways_in(anyone: httpx.AsyncClient) -> None:
    document = (await anyone.get(f"{API}/docs/openapi.json")).json()
    schemes = document["components"]["securitySchemes"]
    assert {name: scheme["type"] for name, scheme in schemes.items()} == {"BearerToken": "http", "ApiKey": "apiKey"}
    assert schemes["ApiKey"]["name"] == "X-API-Key"
    assert document["security"] == [{"BearerToken": []}, {"ApiKey": []}]
    assert document["paths"][f"{API}/auth/login"]["post"]["security"] == [{}]
