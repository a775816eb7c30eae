"""Settings of the plant: typed, with defaults, changed by administrators only, and used by plans and forecasts."""

from __future__ import annotations

import asyncio
from datetime import date

import httpx
import pytest
from litestar import Litestar
from serve_world import API, assert_problem
from sqlalchemy import text

from actors.planning import PlanningWork
from actors.plant_settings import read_settings

SETTINGS = f"{API}/settings"


@pytest.fixture
def admin(by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    return by_role["admin"]


async def test_what_nobody_has_set_has_its_default(app: Litestar, viewer: httpx.AsyncClient) -> None:
    answer = await viewer.get(SETTINGS)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert answer.headers["etag"] == '"1"'
    assert (body["revision"], body["set_here"]) == (1, [])
    assert body["working_weekdays"] == [1, 2, 3, 4, 5]
    assert (body["service_level_a"], body["capacity_extreme"], body["currency"]) == (0.97, 1.3, "EUR")
    assert body["planning_horizon_weeks"] == app.state.settings.planning_horizon_weeks
    assert (await viewer.get(SETTINGS, headers={"If-None-Match": '"1"'})).status_code == 304


async def test_a_change_is_kept_audited_and_can_be_taken_back(app: Litestar, admin: httpx.AsyncClient) -> None:
    change = {"service_level_b": 0.9, "working_weekdays": [6, 1, 2, 2], "company_name": "Pumps & Co"}
    answer = await admin.patch(SETTINGS, json=change, headers={"If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["service_level_b"], body["working_weekdays"], body["company_name"]) == (0.9, [1, 2, 6], "Pumps & Co")
    assert body["set_here"] == ["company_name", "service_level_b", "working_weekdays"]
    assert answer.headers["etag"] == f'"{body["revision"]}"' != '"1"'
    assert (await admin.get(SETTINGS)).json() == body
    same = await admin.patch(SETTINGS, json={"service_level_b": 0.9})
    assert same.json()["revision"] == body["revision"], "nothing was changed"
    late = await admin.patch(SETTINGS, json={"service_level_b": 0.8}, headers={"If-Match": '"1"'})
    assert_problem(late, 412)
    back = (await admin.patch(SETTINGS, json={"service_level_b": None})).json()
    assert (back["service_level_b"], back["revision"]) == (0.93, body["revision"] + 1)
    assert "service_level_b" not in back["set_here"]
    async with app.state.connections.sessions() as session:
        query = text("SELECT actor, action, entity_id FROM audit_entry WHERE entity = 'plant_setting' ORDER BY id")
        entries = [tuple(row) for row in await session.execute(query)]
    assert {entry[0] for entry in entries} == {"admin@example.com"}
    assert ("admin@example.com", "update", "service_level_b") in entries
    assert len(entries) == 4


async def test_values_out_of_range_are_refused(admin: httpx.AsyncClient) -> None:
    for change in (
        {"service_level_a": 1.0},
        {"working_weekdays": []},
        {"working_weekdays": [8]},
        {"currency": "EURO"},
        {"currency": "EUR\n"},
        {"firm_horizon_weeks": 1.5},
        {"default_holding_rate": -1},
        {"company_name": "a\u0000b"},
        {"time_zone": "Europe/Berlin"},
    ):
        problem = assert_problem(await admin.patch(SETTINGS, json=change), 400)
        assert problem["detail"], change
    assert (await admin.get(SETTINGS)).json()["revision"] == 1


async def test_values_that_do_not_go_together_are_refused(admin: httpx.AsyncClient) -> None:
    answer = await admin.patch(SETTINGS, json={"capacity_high": 1.4})
    (error,) = assert_problem(answer, 409)["errors"]
    assert error == {"field": "capacity_extreme", "message": "must be above capacity_high (1.4), is 1.3"}
    assert (await admin.get(SETTINGS)).json()["revision"] == 1
    together = await admin.patch(SETTINGS, json={"capacity_high": 1.4, "capacity_extreme": 1.5})
    assert together.status_code == 200


async def test_of_two_who_read_the_same_revision_one_is_refused(admin: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(admin.patch(SETTINGS, json={"firm_horizon_weeks": weeks}, headers={"If-Match": '"1"'}) for weeks in (5, 6))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]


async def test_plans_use_them(app: Litestar, admin: httpx.AsyncClient) -> None:
    change = {
        "working_weekdays": [1, 2, 3, 4],
        "firm_horizon_weeks": 6,
        "service_level_c": 0.8,
        "default_order_cost": 45,
        "default_holding_rate": 0.2,
        "planning_horizon_weeks": 12,
        "forecast_horizon_weeks": 8,
    }
    assert (await admin.patch(SETTINGS, json=change)).status_code == 200
    for day, working in (("2026-12-25", False), ("2026-12-19", True)):
        made = await admin.post(f"{API}/calendar-days", json={"day": day, "working": working})
        assert made.status_code == 201, made.text
    connections = app.state.connections
    _, _, parameters, _ = await PlanningWork(connections)._load(date(2026, 11, 24))
    assert parameters.weekmask == "1111000"
    assert parameters.holidays == {date(2026, 12, 25)}
    assert (parameters.firm_horizon_weeks, parameters.horizon_weeks) == (6, 12)
    assert (parameters.order_cost, parameters.holding_rate) == (45, 0.2)
    assert parameters.service_levels == {"A": 0.97, "B": 0.93, "C": 0.8}
    async with connections.sessions() as session:
        assert (await read_settings(session, connections.settings)).forecast_horizon_weeks == 8
