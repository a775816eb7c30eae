"""Administrators look after accounts; nobody locks everybody out, and no two of them undo each other unseen."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from litestar import Litestar
from serve_world import API, PASSWORD, add_user, assert_problem, bearer, http_client, token_for

USERS = f"{API}/users"


@pytest.fixture
def admin(by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    """The administrator among one user a role."""
    return by_role["admin"]


async def made(admin: httpx.AsyncClient, **given: Any) -> dict[str, Any]:
    body = {"email": "Bo@Example.com", "name": "Bo", "role": "viewer", **given}
    answer = await admin.post(USERS, json=body)
    assert answer.status_code == 201, answer.text
    account: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{USERS}/{account['id']}"
    assert answer.headers["etag"] == '"1"'
    return account


async def id_of(admin: httpx.AsyncClient, email: str) -> str:
    [found] = (await admin.get(USERS, params={"search": email})).json()["items"]
    return str(found["id"])


async def log_in(client: httpx.AsyncClient, password: str, email: str = "bo@example.com") -> httpx.Response:
    return await client.post(f"{API}/auth/login", json={"email": email, "password": password})


async def test_a_made_password_is_told_once_and_good_only_for_choosing_another(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    account = await made(admin)
    password = account.pop("one_time_password")
    assert len(password) >= 16
    shown = await admin.get(f"{USERS}/{account['id']}")
    assert shown.json() == account
    assert "password_hash" not in shown.text
    assert account["email"] == "bo@example.com"
    login = await log_in(anyone, password)
    assert login.json()["user"]["must_change_password"] is True
    headers = bearer(login.json()["access_token"])
    assert (await anyone.get(f"{API}/auth/me", headers=headers)).status_code == 200
    assert "password" in assert_problem(await anyone.get(f"{API}/items", headers=headers), 403)["detail"]
    assert_problem(await anyone.post(f"{API}/events/ticket", headers=headers), 403)
    changed = await anyone.put(
        f"{API}/auth/password",
        json={"old_password": password, "new_password": "my own horse battery"},
        headers=headers,
    )
    assert changed.json()["user"]["must_change_password"] is False
    opened = await anyone.get(f"{API}/items", headers=bearer(changed.json()["access_token"]))
    assert opened.status_code == 200


async def test_a_given_password_follows_the_policy(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    for password in ("short", "bo@example.com"):
        body = {"email": "bo@example.com", "name": "Bo", "role": "viewer", "password": password}
        problem = assert_problem(await admin.post(USERS, json=body), 409)
        assert [each["field"] for each in problem["errors"]] == ["password"]
    account = await made(admin, password=PASSWORD)
    assert account["one_time_password"] is None
    assert (await log_in(anyone, PASSWORD)).status_code == 200


async def test_an_e_mail_is_there_once_whatever_its_case(admin: httpx.AsyncClient) -> None:
    await made(admin)
    for email in ("bo@example.com", "BO@example.COM"):
        assert_problem(await admin.post(USERS, json={"email": email, "name": "Bo", "role": "admin"}), 409)


@pytest.mark.parametrize(
    "body",
    [
        {"email": "no address", "name": "Bo", "role": "viewer"},
        {"email": "bö@example.com", "name": "Bo", "role": "viewer"},
        {"email": "bo@example.com", "name": "", "role": "viewer"},
        {"email": "bo@example.com", "name": "Bo", "role": "root"},
        {"email": "bo@example.com", "name": "Bo", "role": "viewer", "password_hash": "x"},
        {"email": "bo@example.com", "name": "nul \x00", "role": "viewer"},
    ],
)
async def test_what_is_no_account_is_refused(admin: httpx.AsyncClient, body: dict[str, str]) -> None:
    assert_problem(await admin.post(USERS, json=body), 400)


async def test_the_list_is_searched_filtered_sorted_and_paged(admin: httpx.AsyncClient) -> None:
    bo = await made(admin)
    await admin.delete(f"{USERS}/{bo['id']}")

    async def emails(**params: Any) -> list[str]:
        return [each["email"] for each in (await admin.get(USERS, params=params)).json()["items"]]

    everyone = ["admin@example.com", "bo@example.com"] + [f"{r}@example.com" for r in ("manager", "operator", "viewer")]
    assert await emails() == everyone
    assert await emails(search="BO@") == ["bo@example.com"]
    assert await emails(role="viewer") == ["bo@example.com", "viewer@example.com"]
    assert await emails(active=False) == ["bo@example.com"]
    assert await emails(active=True, sort="-email") == [each for each in reversed(everyone) if "bo@" not in each]
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = (await admin.get(USERS, params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        found += [each["email"] for each in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == everyone


async def test_an_account_is_changed_as_far_as_asked(app: Litestar, admin: httpx.AsyncClient) -> None:
    bo = await made(admin)
    answer = await admin.patch(f"{USERS}/{bo['id']}", json={"role": "manager"})
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    assert {name: answer.json()[name] for name in ("name", "role", "active", "revision")} == {
        "name": "Bo",
        "role": "manager",
        "active": True,
        "revision": 2,
    }
    again = await admin.patch(f"{USERS}/{bo['id']}", json={"role": "manager"})
    assert again.headers["etag"] == '"2"', "nothing was changed"
    for body in ({"name": None}, {"email": "other@example.com"}, {"revision": 7}):
        assert_problem(await admin.patch(f"{USERS}/{bo['id']}", json=body), 400)
    for call in (admin.get, admin.delete):
        assert_problem(await call(f"{USERS}/{uuid.uuid4()}"), 404)


async def test_of_two_writers_one_gets_412(admin: httpx.AsyncClient) -> None:
    path = f"{USERS}/{(await made(admin))['id']}"
    tag = (await admin.get(path)).headers["etag"]
    answers = await asyncio.gather(
        *(admin.patch(path, json={"name": name}, headers={"If-Match": tag}) for name in ("Bo A", "Bo B"))
    )
    assert sorted(each.status_code for each in answers) == [200, 412]
    refused = next(each for each in answers if each.status_code == 412)
    assert_problem(refused, 412)
    assert refused.headers["etag"] == '"2"'
    assert_problem(await admin.delete(path, headers={"If-Match": tag}), 412)
    assert_problem(await admin.post(f"{path}/password", json={}, headers={"If-Match": tag}), 412)
    assert_problem(await admin.patch(path, json={"name": "C"}, headers={"If-Match": "2"}), 400)
    assert (await admin.patch(path, json={"name": "Last"})).status_code == 200, "without If-Match the last one wins"
    assert (await admin.patch(path, json={"name": "Any"}, headers={"If-Match": "*"})).status_code == 200
    current = {"If-Match": f'"1", {(await admin.get(path)).headers["etag"]}'}
    assert (await admin.delete(path, headers=current)).status_code == 204


async def test_deleted_is_switched_off_with_all_its_log_ins(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    path = f"{USERS}/{(await made(admin, password=PASSWORD))['id']}"
    tokens = (await log_in(anyone, PASSWORD)).json()
    assert (await admin.delete(path)).status_code == 204
    assert (await admin.get(path)).json()["active"] is False
    assert_problem(await anyone.get(f"{API}/auth/me", headers=bearer(tokens["access_token"])), 401)
    assert_problem(await log_in(anyone, PASSWORD), 401)
    assert (await admin.patch(path, json={"active": True})).status_code == 200
    assert (await log_in(anyone, PASSWORD)).status_code == 200
    refreshed = await anyone.post(f"{API}/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert_problem(refreshed, 401)


async def test_a_reset_password_ends_the_log_ins(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    path = f"{USERS}/{(await made(admin, password=PASSWORD))['id']}"
    tokens = (await log_in(anyone, PASSWORD)).json()
    answer = await admin.post(f"{path}/password", json={})
    assert answer.status_code == 200, answer.text
    assert_problem(await log_in(anyone, PASSWORD), 401)
    assert (await log_in(anyone, answer.json()["one_time_password"])).json()["user"]["must_change_password"] is True
    refreshed = await anyone.post(f"{API}/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert_problem(refreshed, 401)


async def test_the_last_active_administrator_stays(admin: httpx.AsyncClient) -> None:
    path = f"{USERS}/{await id_of(admin, 'admin@example.com')}"
    for refused in (
        await admin.patch(path, json={"role": "manager"}),
        await admin.patch(path, json={"active": False}),
        await admin.delete(path),
    ):
        assert "last" in assert_problem(refused, 409)["detail"]
    assert (await admin.patch(path, json={"name": "Root", "active": True, "role": "admin"})).status_code == 200
    off = await made(admin, role="admin")
    await admin.delete(f"{USERS}/{off['id']}")
    assert_problem(await admin.delete(path), 409)


async def test_two_administrators_cannot_switch_each_other_off_at_once(app: Litestar) -> None:
    users = [await add_user(app.state.connections, "admin", f"{name}@example.com") for name in ("ada", "eva")]
    clients = [http_client(app, bearer(token_for(app, user.id))) for user in users]
    ends = await asyncio.gather(
        *(client.delete(f"{USERS}/{other.id}") for client, other in zip(clients, reversed(users), strict=True))
    )
    first, second = sorted(each.status_code for each in ends)
    # Whoever comes second is the last one's enemy, or nobody any more.
    assert first == 204
    assert second in (401, 409)
    left = [(await client.get(f"{API}/auth/me")).status_code for client in clients]
    assert sorted(left) == [200, 401]
    for client in clients:
        await client.aclose()
