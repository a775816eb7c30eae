"""What people change through the API stands in the audit log, under their name, without secrets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.exceptions import ValidationException
from serve_world import API, PASSWORD, assert_problem, bearer

from serve.preconditions import etag, parse_if_match, require_match
from serve.problems import PreconditionFailed

SCHEDULE = {"name": "noon", "kind": "plan", "cron": "0 12 * * *", "time_zone": "UTC"}


@pytest.fixture
def admin(by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    """The administrator among one user a role."""
    return by_role["admin"]


async def entries(client: httpx.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"{API}/audit", params=filters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_schedules_switches_users_and_keys_are_written_down(admin: httpx.AsyncClient) -> None:
    schedule = (await admin.post(f"{API}/schedules", json=SCHEDULE)).json()
    await admin.put(f"{API}/schedules/{schedule['id']}", json={**SCHEDULE, "name": "lunch"})
    await admin.delete(f"{API}/schedules/{schedule['id']}")
    await admin.post(f"{API}/job-kinds/plan/pause")
    await admin.put(f"{API}/job-kinds/plan", json={"concurrency": 3})
    user = (await admin.post(f"{API}/users", json={"email": "bo@example.com", "name": "Bo", "role": "viewer"})).json()
    await admin.patch(f"{API}/users/{user['id']}", json={"role": "operator"})
    key = (await admin.post(f"{API}/api-keys", json={"name": "erp", "role": "viewer"})).json()
    await admin.delete(f"{API}/api-keys/{key['id']}")
    found = [(each["entity"], each["action"], each["entity_id"]) for each in reversed(await entries(admin))]
    assert found == [
        ("schedule", "insert", schedule["id"]),
        ("schedule", "update", schedule["id"]),
        ("schedule", "delete", schedule["id"]),
        ("kind_control", "insert", "plan"),
        ("kind_control", "update", "plan"),
        ("user_account", "insert", user["id"]),
        ("user_account", "update", user["id"]),
        ("api_key", "insert", key["id"]),
        ("api_key", "update", key["id"]),
    ]
    assert {each["actor"] for each in await entries(admin)} == {"admin@example.com"}
    [renamed] = await entries(admin, entity="schedule", action="update")
    assert (renamed["before"]["name"], renamed["after"]["name"]) == ("noon", "lunch")
    [promoted] = await entries(admin, entity_id=user["id"], action="update")
    assert (promoted["before"], promoted["after"]) == ({"role": "viewer"}, {"role": "operator"})
    [limited] = await entries(admin, entity="kind_control", action="update")
    assert (limited["before"], limited["after"]) == ({"concurrency": None}, {"concurrency": 3})


async def test_no_secret_is_ever_in_it(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    made = (await admin.post(f"{API}/users", json={"email": "bo@example.com", "name": "Bo", "role": "viewer"})).json()
    login = {"email": "bo@example.com", "password": made["one_time_password"]}
    tokens = (await anyone.post(f"{API}/auth/login", json=login)).json()
    change = {"old_password": made["one_time_password"], "new_password": PASSWORD + "!"}
    headers = bearer(tokens["access_token"])
    assert (await anyone.put(f"{API}/auth/password", json=change, headers=headers)).status_code == 200
    reset = (await admin.post(f"{API}/users/{made['id']}/password", json={})).json()
    key = (await admin.post(f"{API}/api-keys", json={"name": "erp", "role": "viewer"})).json()
    await anyone.get(f"{API}/auth/me", headers={"X-API-Key": key["key"]})
    answer = await admin.get(f"{API}/audit")
    for secret in ("argon2", PASSWORD, made["one_time_password"], reset["one_time_password"], key["key"]):
        assert secret not in answer.text
    changed = [each for each in answer.json()["items"] if each["action"] == "update"]
    assert [(each["actor"], each["after"]["password_hash"]) for each in changed] == [
        ("admin@example.com", "(hidden)"),
        ("bo@example.com", "(hidden)"),
    ]
    assert not any("hash" in (each["after"] or {}) for each in answer.json()["items"])


async def test_a_machine_is_named_and_a_refused_change_is_not_written(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    key = (await admin.post(f"{API}/api-keys", json={"name": "erp", "role": "manager"})).json()["key"]
    headers = {"X-API-Key": key}
    answer = await anyone.post(f"{API}/schedules", json=SCHEDULE, headers=headers)
    assert answer.status_code == 201
    assert_problem(await anyone.post(f"{API}/schedules", json=SCHEDULE, headers=headers), 409)
    [entry] = await entries(admin, actor="api-key:erp")
    assert entry["entity"] == "schedule"


async def test_an_entry_carries_the_trace_of_its_request(admin: httpx.AsyncClient) -> None:
    answer = await admin.post(f"{API}/job-kinds/plan/pause")
    [entry] = await entries(admin)
    assert entry["request_id"] == answer.headers["x-trace-id"]


async def test_the_log_is_filtered_and_paged_newest_first(admin: httpx.AsyncClient) -> None:
    for concurrency in range(1, 6):
        await admin.put(f"{API}/job-kinds/plan", json={"concurrency": concurrency})
    await admin.post(f"{API}/job-kinds/ingest/pause")
    everything = await entries(admin)
    ids = [each["id"] for each in everything]
    assert ids == sorted(ids, reverse=True)
    assert len(await entries(admin, entity="kind_control", entity_id="plan")) == 5
    assert await entries(admin, actor="nobody") == []
    newest = datetime.fromisoformat(everything[0]["at"])
    assert await entries(admin, since=newest.isoformat()) == everything[:1]
    assert await entries(admin, until=newest.isoformat()) == everything[1:]
    assert await entries(admin, since=(newest + timedelta(seconds=1)).isoformat()) == []
    paged: list[int] = []
    cursor: str | None = None
    while True:
        params = {"limit": 4, **({"cursor": cursor} if cursor else {})}
        page = (await admin.get(f"{API}/audit", params=params)).json()
        paged += [each["id"] for each in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert paged == ids


async def test_managers_read_it_and_operators_do_not(by_role: dict[str, httpx.AsyncClient]) -> None:
    assert await entries(by_role["manager"]) == []
    assert_problem(await by_role["operator"].get(f"{API}/audit"), 403)


async def test_schedules_keep_their_revision_through_runs_and_refuse_outdated_writers(
    app: Litestar, admin: httpx.AsyncClient
) -> None:
    created = await admin.post(f"{API}/schedules", json=SCHEDULE)
    path = f"{API}/schedules/{created.json()['id']}"
    tag = created.headers["etag"]
    assert tag == '"1"'
    assert (await admin.post(f"{path}/run")).status_code == 202
    assert (await admin.get(path)).headers["etag"] == tag
    changed = await admin.put(path, json={**SCHEDULE, "enabled": False}, headers={"If-Match": tag})
    assert changed.headers["etag"] == '"2"'
    assert_problem(await admin.put(path, json=SCHEDULE, headers={"If-Match": tag}), 412)
    assert_problem(await admin.delete(path, headers={"If-Match": tag}), 412)
    assert (await admin.delete(path, headers={"If-Match": '"2"'})).status_code == 204


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ('"3"', {"3"}),
        (' "3" ', {"3"}),
        ('"3", "4"', {"3", "4"}),
        ('"3","4"', {"3", "4"}),
        ('W/"3"', {"3"}),
        ('"a,b", W/"4"', {"a,b", "4"}),
        ('""', {""}),
        ("*", None),
        (" * ", None),
    ],
)
def test_if_match_is_read_as_http_writes_it(header: str, tags: set[str] | None) -> None:
    assert parse_if_match(header) == tags


@pytest.mark.parametrize("header", ["", " ", "3", '"3', '3"', '"3" "4"', '"3",', ',"3"', '*, "3"', 'w/"3"', '"3" x'])
def test_what_is_no_if_match_is_refused(header: str) -> None:
    with pytest.raises(ValidationException):
        parse_if_match(header)


def test_a_write_goes_on_at_its_revision_only() -> None:
    for allowed in (None, "*", etag(7), f"{etag(1)}, {etag(7)}"):
        require_match(allowed, 7)
    for refused in (etag(6), etag(70), '"7.0"'):
        with pytest.raises(PreconditionFailed):
            require_match(refused, 7)
