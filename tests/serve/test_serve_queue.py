"""The queue over the API: deferred and urgent jobs, their logs, dead letters, kinds, dispatchers, schedules."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from litestar import Litestar
from serve_world import API, add_job, assert_problem

from db.models.job import Worker
from db.repositories import jobs as repository

MORNING = {"name": "morning plan", "kind": "plan", "cron": "0 6 * * 1-5", "time_zone": "Europe/Berlin"}


async def post(client: httpx.AsyncClient, path: str, body: Any = None, status: int = 201) -> Any:
    answer = await client.post(f"{API}{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_job_may_be_deferred_and_urgent(operator: httpx.AsyncClient) -> None:
    later = await post(operator, "/jobs", {"kind": "plan", "delay_s": 3600, "priority": 7}, 202)
    created, run_at = (datetime.fromisoformat(later[name]) for name in ("created_at", "run_at"))
    assert (later["priority"], run_at - created) == (7, timedelta(hours=1))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    at = await post(operator, "/jobs", {"kind": "forecast", "run_at": tomorrow.isoformat()}, 202)
    assert datetime.fromisoformat(at["run_at"]) == tomorrow
    for wrong in ({"delay_s": -1}, {"priority": 1000}, {"run_at": "2026-11-24T06:00:00"}, {"max_attempts": 0}):
        answer = await operator.post(f"{API}/jobs", json={"kind": "plan", **wrong})
        assert assert_problem(answer, 400)["errors"][0]["field"] == next(iter(wrong))


async def test_an_idempotency_key_sent_with_another_request_is_a_conflict(operator: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    await operator.post(f"{API}/jobs", json={"kind": "plan"}, headers=headers)
    other = {"kind": "plan", "parameters": {"horizon_weeks": 4}}
    assert_problem(await operator.post(f"{API}/jobs", json=other, headers=headers), 409)


async def test_dead_letters_show_their_traceback_to_those_who_mend_and_are_retried_at_once(
    app: Litestar, by_role: dict[str, httpx.AsyncClient]
) -> None:
    async with app.state.connections.sessions.begin() as session:
        failed = await add_job(session, "plan", "failed", error="no stock", traceback="in net(), line 7")
        await add_job(session, "forecast", "held", error="took its worker down")
        await repository.write_log(
            session,
            [{"job_id": failed.id, "attempt": 1, "level": level, "message": level} for level in ("info", "error")],
        )
    viewer, operator = by_role["viewer"], by_role["operator"]
    dead = (await viewer.get(f"{API}/jobs", params={"state": ["failed", "held"]})).json()["items"]
    assert {job["state"] for job in dead} == {"failed", "held"}
    found = (await viewer.get(f"{API}/jobs", params={"search": "no stock"})).json()["items"]
    assert [job["id"] for job in found] == [str(failed.id)]
    path = f"{API}/jobs/{failed.id}"
    assert (await operator.get(path)).json()["traceback"] == "in net(), line 7"
    assert (await viewer.get(path)).json()["traceback"] is None
    assert_problem(await viewer.get(f"{path}/log"), 403)
    lines = (await operator.get(f"{path}/log", params={"limit": 1})).json()
    assert (lines["items"][0]["message"], lines["total"]) == ("info", 2)
    rest = (await operator.get(f"{path}/log", params={"cursor": lines["next_cursor"]})).json()
    assert [line["level"] for line in rest["items"]] == ["error"]
    answer = await operator.post(f"{API}/jobs/retry-dead", params={"kind": "plan"})
    assert (answer.status_code, answer.json()) == (202, {"retried": 1})
    assert (await viewer.get(path)).json()["state"] == "waiting"


async def test_the_states_of_a_job_are_listed_page_by_page_for_everybody(
    app: Litestar, by_role: dict[str, httpx.AsyncClient]
) -> None:
    viewer = by_role["viewer"]
    job = await post(by_role["operator"], "/jobs", {"kind": "plan"}, 202)
    await post(by_role["operator"], f"/jobs/{job['id']}/cancel", status=202)
    path = f"{API}/jobs/{job['id']}/events"
    first = (await viewer.get(path, params={"limit": 1})).json()
    assert (first["total"], [event["state"] for event in first["items"]]) == (2, ["waiting"])
    rest = (await viewer.get(path, params={"cursor": first["next_cursor"]})).json()
    assert [(event["state"], event["kind"], event["attempt"]) for event in rest["items"]] == [("cancelled", "plan", 0)]
    assert rest["next_cursor"] is None
    assert_problem(await viewer.get(path, params={"cursor": "nonsense"}), 404)
    assert_problem(await viewer.get(f"{API}/jobs/{uuid.uuid4()}/events"), 404)


async def test_kinds_are_paused_resumed_and_limited_by_managers(by_role: dict[str, httpx.AsyncClient]) -> None:
    manager = by_role["manager"]
    assert_problem(await by_role["operator"].post(f"{API}/job-kinds/plan/pause"), 403)
    paused = await post(manager, "/job-kinds/plan/pause", status=200)
    assert (paused["paused"], paused["changed_by"]) == (True, "manager@example.com")
    limited = (await manager.put(f"{API}/job-kinds/plan", json={"concurrency": 3})).json()
    assert (limited["paused"], limited["concurrency"], limited["default_concurrency"]) == (True, 3, 0)
    assert (await post(manager, "/job-kinds/plan/resume", status=200))["paused"] is False
    kinds = {kind["name"]: kind for kind in (await manager.get(f"{API}/job-kinds")).json()}
    assert kinds["plan"]["concurrency"] == 3
    assert kinds["day"]["stages"] == ["ingest", "forecast", "plan"]
    assert_problem(await manager.post(f"{API}/job-kinds/dance/pause"), 404)
    assert_problem(await manager.post(f"{API}/job-kinds/day/pause"), 409)  # its steps are what runs
    assert_problem(await manager.put(f"{API}/job-kinds/plan", json={"concurrency": -1}), 400)


async def test_dispatchers_are_seen_and_asked_to_drain(app: Litestar, by_role: dict[str, httpx.AsyncClient]) -> None:
    async with app.state.connections.sessions.begin() as session:
        for name in ("one", "two"):
            session.add(Worker(id=uuid.uuid4(), actor=name, name=name, host="node", pid=1))
    assert_problem(await by_role["manager"].post(f"{API}/workers/drain"), 403)
    answer = await by_role["admin"].post(f"{API}/workers/drain", params={"name": "one"})
    assert answer.json() == {"asked": 1}
    workers = (await by_role["viewer"].get(f"{API}/workers")).json()
    assert {worker["name"]: worker["state"] for worker in workers} == {"one": "draining", "two": "serving"}


async def test_a_schedule_lives_its_whole_life(by_role: dict[str, httpx.AsyncClient]) -> None:
    manager = by_role["manager"]
    made = await post(manager, "/schedules", MORNING)
    assert datetime.fromisoformat(made["next_run_at"]) > datetime.now(UTC)
    assert made["missed_runs"] == "run_once"
    assert_problem(await manager.post(f"{API}/schedules", json=MORNING), 409)
    path = f"{API}/schedules/{made['id']}"
    changed = (await manager.put(path, json=MORNING | {"cron": "30 5 * * *", "enabled": False})).json()
    assert (changed["cron"], changed["enabled"]) == ("30 5 * * *", False)
    job = await post(by_role["operator"], f"/schedules/{made['id']}/run", status=202)
    assert (job["kind"], job["schedule_id"], job["requested_by"]) == ("plan", made["id"], "operator@example.com")
    stored = (await manager.get(path)).json()
    assert (stored["last_job_id"], stored["next_run_at"]) == (job["id"], changed["next_run_at"])
    of_it = (await manager.get(f"{API}/jobs", params={"schedule_id": made["id"]})).json()["items"]
    assert [each["id"] for each in of_it] == [job["id"]]
    assert (await manager.delete(path)).status_code == 204
    assert_problem(await manager.get(path), 404)
    assert (await manager.get(f"{API}/jobs/{job['id']}")).status_code == 200


async def test_a_schedule_says_when_a_source_that_is_away_is_tried_again(by_role: dict[str, httpx.AsyncClient]) -> None:
    manager = by_role["manager"]
    made = await post(manager, "/schedules", MORNING)
    assert made["retry_steps"] is None
    path, steps = f"{API}/schedules/{made['id']}", ["06:30", "07:00", "45m"]
    assert (await manager.put(path, json=MORNING | {"retry_steps": steps})).json()["retry_steps"] == steps
    for wrong in (["24:00"], ["soon"], ["0m"], ["6:30"], [7], "06:30", ["1m"] * 21):
        problem = assert_problem(await manager.put(path, json=MORNING | {"retry_steps": wrong}), 400)
        assert problem["errors"][0]["field"].startswith("retry_steps")


async def test_only_a_source_that_is_there_can_be_scheduled_or_started(by_role: dict[str, httpx.AsyncClient]) -> None:
    manager = by_role["manager"]
    for kind, parameters in (("ingest", {"source": "no"}), ("day", {"ingest": {"source": "no"}})):
        asked = {"name": "erp", "kind": kind, "cron": "0 6 * * *", "parameters": parameters}
        for path, body in (("schedules", asked), ("jobs", {"kind": kind, "parameters": parameters})):
            problem = assert_problem(await manager.post(f"{API}/{path}", json=body), 409)
            assert problem["errors"][0]["field"] == "parameters.source"


async def test_what_cannot_be_scheduled_is_refused_by_field(by_role: dict[str, httpx.AsyncClient]) -> None:
    manager = by_role["manager"]
    for field, value in (("cron", "every day"), ("time_zone", "Mars/Base"), ("kind", "dance"), ("missed_runs", "x")):
        problem = assert_problem(await manager.post(f"{API}/schedules", json=MORNING | {field: value}), 400)
        assert problem["errors"][0]["field"] == field
    day = MORNING | {"kind": "day", "parameters": {"banana": {}}}
    assert_problem(await manager.post(f"{API}/schedules", json=day), 409)
    for never in ("0 0 30 2 *", "30-10 * * * *"):
        problem = assert_problem(await manager.post(f"{API}/schedules", json=MORNING | {"cron": never}), 409)
        assert problem["errors"][0]["field"] == "cron"
    times = (await manager.get(f"{API}/schedules/preview", params={"cron": "0 6 * * *", "count": 3})).json()
    assert len(times) == 3
