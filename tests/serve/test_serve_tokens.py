"""A log-in outlives its access token by refresh tokens that are good once; one that was copied ends it."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import jwt
import pytest
from litestar import Litestar
from serve_world import API, PASSWORD, add_user, assert_problem, bearer
from sqlalchemy import text

from actors import jobs
from actors.maintenance import MaintenanceWork
from actors.owner import Connections
from actors.run import Attempt, JobRun
from dashboards.api_client import ApiClient, ApiProblem

NEW_PASSWORD = "a longer horse battery"


@pytest.fixture
async def maria(app: Litestar) -> str:
    """E-mail of an operator."""
    return (await add_user(app.state.connections, "operator", "maria@example.com")).email


async def log_in(anyone: httpx.AsyncClient, email: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = await anyone.post(f"{API}/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def refresh(anyone: httpx.AsyncClient, token: str) -> httpx.Response:
    return await anyone.post(f"{API}/auth/refresh", json={"refresh_token": token})


async def rows(app: Litestar, query: str) -> list[Any]:
    async with app.state.connections.sessions() as session:
        return list((await session.execute(text(query))).all())


async def test_a_refresh_token_is_exchanged_for_the_next_pair(
    app: Litestar, anyone: httpx.AsyncClient, maria: str
) -> None:
    first = await log_in(anyone, maria)
    assert first["refresh_expires_in"] == 14 * 86400
    answer = await refresh(anyone, first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json()
    assert second.keys() == first.keys()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["user"]["email"] == maria
    me = await anyone.get(f"{API}/auth/me", headers=bearer(second["access_token"]))
    assert me.json() == second["user"]
    third = await refresh(anyone, second["refresh_token"])
    assert third.status_code == 200
    sessions = {
        jwt.decode(each["access_token"], options={"verify_signature": False})["extras"]["sid"]
        for each in (first, second, third.json())
    }
    assert len(sessions) == 1, "one log-in is one family"


async def test_only_hashes_are_stored(app: Litestar, anyone: httpx.AsyncClient, maria: str) -> None:
    token = (await log_in(anyone, maria))["refresh_token"]
    assert len(token) >= 43, "fewer than 256 bits"
    dump = str(await rows(app, "SELECT t::text, f::text FROM refresh_token t JOIN token_family f ON f.id = family_id"))
    assert token not in dump
    assert token.encode().hex() not in dump


async def test_a_token_that_comes_again_ends_its_log_in_and_no_other(
    app: Litestar, anyone: httpx.AsyncClient, maria: str
) -> None:
    stolen, other = await log_in(anyone, maria), await log_in(anyone, maria)
    following = (await refresh(anyone, stolen["refresh_token"])).json()
    assert_problem(await refresh(anyone, stolen["refresh_token"]), 401)
    assert_problem(await refresh(anyone, following["refresh_token"]), 401)
    assert (await refresh(anyone, other["refresh_token"])).status_code == 200
    [(reason,)] = await rows(app, "SELECT revoked_for FROM token_family WHERE revoked_at IS NOT NULL")
    assert "twice" in reason


async def test_of_two_at_once_exactly_one_wins_and_the_other_counts_as_copied(
    app: Litestar, anyone: httpx.AsyncClient, maria: str
) -> None:
    for _ in range(5):
        token = (await log_in(anyone, maria))["refresh_token"]
        answers = await asyncio.gather(*(refresh(anyone, token) for _ in range(3)))
        assert sorted(each.status_code for each in answers) == [200, 401, 401]
        winner = next(each.json() for each in answers if each.status_code == 200)
        assert_problem(await refresh(anyone, winner["refresh_token"]), 401)


async def test_unknown_and_outdated_tokens_are_refused(app: Litestar, anyone: httpx.AsyncClient, maria: str) -> None:
    assert_problem(await refresh(anyone, "made-up"), 401)
    assert_problem(await refresh(anyone, ""), 400)
    token = (await log_in(anyone, maria))["refresh_token"]
    async with app.state.connections.sessions.begin() as session:
        await session.execute(text("UPDATE refresh_token SET expires_at = now() - interval '1 second'"))
    assert_problem(await refresh(anyone, token), 401)
    assert await rows(app, "SELECT 1 FROM token_family WHERE revoked_at IS NOT NULL") == [], "late is not copied"


async def test_log_out_ends_one_log_in_and_log_out_all_every_one(
    app: Litestar, anyone: httpx.AsyncClient, maria: str
) -> None:
    await add_user(app.state.connections, "viewer", "jonas@example.com")
    one, two, three, jonas = [await log_in(anyone, who) for who in (maria, maria, maria, "jonas@example.com")]
    for token in (one["refresh_token"], one["refresh_token"], "made-up"):
        assert (await anyone.post(f"{API}/auth/logout", json={"refresh_token": token})).status_code == 204
    assert_problem(await refresh(anyone, one["refresh_token"]), 401)
    headers = bearer(three["access_token"])
    assert (await anyone.post(f"{API}/auth/logout-all", headers=headers)).status_code == 204
    for ended in (two, three):
        assert_problem(await refresh(anyone, ended["refresh_token"]), 401)
    assert (await refresh(anyone, jonas["refresh_token"])).status_code == 200


async def test_people_see_and_end_their_own_log_ins_only(app: Litestar, anyone: httpx.AsyncClient, maria: str) -> None:
    await add_user(app.state.connections, "viewer", "jonas@example.com")
    jonas = await log_in(anyone, "jonas@example.com")
    answer = await anyone.post(
        f"{API}/auth/login", json={"email": maria, "password": PASSWORD}, headers={"User-Agent": "browser/1"}
    )
    elsewhere, here = answer.json(), await log_in(anyone, maria)
    headers = bearer(here["access_token"])
    listed = (await anyone.get(f"{API}/auth/sessions", headers=headers)).json()
    assert listed["total"] == 2
    assert {(each["client"] == "browser/1", each["current"]) for each in listed["items"]} == {
        (True, False),
        (False, True),
    }
    assert {each["address"] for each in listed["items"]} == {"127.0.0.1"}
    [theirs] = (await anyone.get(f"{API}/auth/sessions", headers=bearer(jonas["access_token"]))).json()["items"]
    [other] = [each for each in listed["items"] if not each["current"]]
    for session_id in (theirs["id"], uuid.uuid4()):
        assert_problem(await anyone.delete(f"{API}/auth/sessions/{session_id}", headers=headers), 404)
    assert (await anyone.delete(f"{API}/auth/sessions/{other['id']}", headers=headers)).status_code == 204
    assert_problem(await refresh(anyone, elsewhere["refresh_token"]), 401)
    for going_on in (here, jonas):
        assert (await refresh(anyone, going_on["refresh_token"])).status_code == 200


async def test_a_switched_off_account_cannot_refresh(app: Litestar, anyone: httpx.AsyncClient, maria: str) -> None:
    token = (await log_in(anyone, maria))["refresh_token"]
    async with app.state.connections.sessions.begin() as session:
        await session.execute(text("UPDATE user_account SET active = false"))
    assert_problem(await refresh(anyone, token), 401)


async def test_a_new_password_ends_all_log_ins_but_the_one_it_begins(
    app: Litestar, anyone: httpx.AsyncClient, maria: str
) -> None:
    elsewhere, here = await log_in(anyone, maria), await log_in(anyone, maria)
    answer = await anyone.put(
        f"{API}/auth/password",
        json={"old_password": PASSWORD, "new_password": NEW_PASSWORD},
        headers=bearer(here["access_token"]),
    )
    assert answer.status_code == 200, answer.text
    for ended in (elsewhere, here):
        assert_problem(await refresh(anyone, ended["refresh_token"]), 401)
    assert (await refresh(anyone, answer.json()["refresh_token"])).status_code == 200
    assert_problem(await anyone.post(f"{API}/auth/login", json={"email": maria, "password": PASSWORD}), 401)
    await log_in(anyone, maria, NEW_PASSWORD)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("wrong", NEW_PASSWORD, "old_password"),
        (PASSWORD, "short", "new_password"),
        (PASSWORD, "MARIA@example.com", "new_password"),
    ],
)
async def test_a_new_password_needs_the_old_one_and_the_policy(
    anyone: httpx.AsyncClient, maria: str, old: str, new: str, field: str
) -> None:
    here = await log_in(anyone, maria)
    answer = await anyone.put(
        f"{API}/auth/password",
        json={"old_password": old, "new_password": new},
        headers=bearer(here["access_token"]),
    )
    assert [each["field"] for each in assert_problem(answer, 409)["errors"]] == [field]
    assert (await refresh(anyone, here["refresh_token"])).status_code == 200


async def test_maintenance_deletes_what_is_over(
    app: Litestar, anyone: httpx.AsyncClient, maria: str, connections: Connections
) -> None:
    over, going_on = await log_in(anyone, maria), await log_in(anyone, maria)
    following = (await refresh(anyone, going_on["refresh_token"])).json()
    family = jwt.decode(over["access_token"], options={"verify_signature": False})["extras"]["sid"]
    async with connections.sessions.begin() as session:
        past = "now() - interval '1 second'"
        await session.execute(text(f"UPDATE token_family SET expires_at = {past} WHERE id = '{family}'"))
        await session.execute(text(f"UPDATE refresh_token SET expires_at = {past} WHERE used_at IS NOT NULL"))
    async with connections.sessions.begin() as session:
        job, _ = await jobs.start(session, "tidy", {}, requested_by="test", max_attempts=1)
        job.state, job.attempts = "running", 1
        job_id = str(job.id)
    attempt = Attempt(job_id=job_id, number=1, kind="tidy", parameters={})
    await MaintenanceWork(connections).perform(JobRun(attempt, connections))
    assert len(await rows(app, "SELECT 1 FROM token_family")) == 1
    assert len(await rows(app, "SELECT 1 FROM refresh_token")) == 1
    assert (await refresh(anyone, following["refresh_token"])).status_code == 200


async def test_the_dashboards_client_speaks_this_contract(app: Litestar, anyone: httpx.AsyncClient, maria: str) -> None:
    client = ApiClient(anyone, f"http://fmrp.test{API}")
    login = await client.login(maria, PASSWORD, "browser/1")
    login = await client.refresh(login.refresh_token)
    assert (login.expires_in, login.refresh_expires_in) == (900, 14 * 86400)
    changed = await client.acting_as(login.access_token).change_password(PASSWORD, NEW_PASSWORD)
    assert changed.user.must_change_password is False
    assert "browser/1" in {row.client for row in await rows(app, "SELECT client FROM token_family")}
    await client.log_out(changed.refresh_token)
    with pytest.raises(ApiProblem) as caught:
        await client.refresh(changed.refresh_token)
    assert caught.value.status == 401
