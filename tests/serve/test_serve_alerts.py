"""Alerts: the most severe first, acknowledged by operators, resolved, and all of it in the audit log."""

from __future__ import annotations

import uuid

import httpx
import pytest
from litestar import Litestar
from serve_world import API, add_alerts, assert_problem
from sqlalchemy import text

pytestmark = pytest.mark.usefixtures("plant")
ALERTS = f"{API}/alerts"


@pytest.fixture
async def raised(app: Litestar, plant: None) -> None:
    """Three alerts."""
    async with app.state.connections.sessions.begin() as session:
        await add_alerts(session)


async def ids(client: httpx.AsyncClient, **query: str) -> list[str]:
    answer = await client.get(ALERTS, params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["items"]]


@pytest.mark.usefixtures("raised")
class TestAlerts:
    async def test_the_most_severe_first(self, viewer: httpx.AsyncClient) -> None:
        found = (await viewer.get(ALERTS)).json()["items"]
        assert [each["severity"] for each in found] == ["critical", "warning", "info"]
        assert (found[0]["item"], found[0]["item_name"], found[1]["work_centre"]) == ("B-110", "Seal", "W-1")
        assert (found[0]["state"], found[0]["count"], found[0]["day"]) == ("open", 1, "2026-11-26")

    @pytest.mark.parametrize(
        ("query", "kinds"),
        [
            ({"severity": "warning"}, ["overload"]),
            ({"kind": "data"}, ["data"]),
            ({"item": "B-110"}, ["stock_out"]),
            ({"search": "RUNS OUT"}, ["stock_out"]),
            ({"state": "resolved"}, []),
            ({"day_from": "2026-11-24"}, ["stock_out"]),
        ],
    )
    async def test_filters(self, viewer: httpx.AsyncClient, query: dict[str, str], kinds: list[str]) -> None:
        found = (await viewer.get(ALERTS, params=query)).json()["items"]
        assert [each["kind"] for each in found] == kinds

    async def test_acknowledged_then_resolved(self, app: Litestar, by_role: dict[str, httpx.AsyncClient]) -> None:
        operator = by_role["operator"]
        one = (await ids(operator))[0]
        assert_problem(await by_role["viewer"].post(f"{ALERTS}/{one}/acknowledge"), 403)
        seen = await operator.post(f"{ALERTS}/{one}/acknowledge")
        assert seen.status_code == 200, seen.text
        assert (seen.json()["state"], seen.json()["changed_by"]) == ("acknowledged", "operator@example.com")
        assert (await operator.post(f"{ALERTS}/{one}/acknowledge")).json() == seen.json()
        assert await ids(operator, state="acknowledged") == [one]
        over = await operator.post(f"{ALERTS}/{one}/resolve")
        assert (over.json()["state"], over.headers["etag"]) == ("resolved", '"3"')
        assert_problem(await operator.post(f"{ALERTS}/{one}/acknowledge"), 409)
        read = await operator.get(f"{ALERTS}/{one}")
        assert read.headers["etag"] == '"3"'
        async with app.state.connections.sessions() as session:
            log = text("SELECT actor, after ->> 'state' FROM audit_entry WHERE entity = 'alert' ORDER BY at")
            entries = (await session.execute(log)).all()
        assert entries == [("operator@example.com", "acknowledged"), ("operator@example.com", "resolved")]

    async def test_many_at_once(self, operator: httpx.AsyncClient) -> None:
        known, nobody = await ids(operator), str(uuid.uuid4())
        answer = await operator.post(f"{ALERTS}/acknowledge", json={"ids": [*known[:2], nobody]})
        assert answer.json() == {"acknowledged": known[:2], "unchanged": [nobody]}
        assert await ids(operator, state="open") == known[2:]
        assert_problem(await operator.post(f"{ALERTS}/acknowledge", json={"ids": []}), 400)

    async def test_what_is_not_there(self, operator: httpx.AsyncClient) -> None:
        for key in (str(uuid.uuid4()), "B-110"):
            assert_problem(await operator.get(f"{ALERTS}/{key}"), 404)
            assert_problem(await operator.post(f"{ALERTS}/{key}/resolve"), 404)
