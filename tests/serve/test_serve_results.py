"""What runs found is read below the run, by its id or as the latest; models are promoted; the front page in figures."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from litestar import Litestar
from serve_world import API, add_alerts, add_forecast, add_job, add_plan, add_plan_details, assert_problem
from sqlalchemy import text

from db.repositories import models

pytestmark = pytest.mark.usefixtures("plant")
LATEST = f"{API}/planning-runs/latest"


@pytest.fixture
async def planned(app: Litestar, plant: None) -> uuid.UUID:
    """A newer plan than the fixture's, with all that belongs to one."""
    async with app.state.connections.sessions.begin() as session:
        run_id = await add_plan(session)
        await add_plan_details(session, run_id)
        await add_alerts(session)
    return run_id


async def rows(client: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_runs_newest_first_and_the_latest_by_name(viewer: httpx.AsyncClient, planned: uuid.UUID) -> None:
    runs = await rows(viewer, f"{API}/planning-runs")
    assert runs[0]["id"] == str(planned)
    assert len(runs) == 2
    latest = (await viewer.get(LATEST)).json()
    assert latest == (await viewer.get(f"{API}/planning-runs/{planned}")).json()
    assert latest["summary"] == {"orders": 4, "critical": 1, "stock_value": 554.0}
    assert latest["warnings"][0]["item"] == "C%50"
    assert_problem(await viewer.get(f"{API}/planning-runs/{uuid.uuid4()}"), 404)
    assert_problem(await viewer.get(f"{API}/planning-runs/newest"), 404)


async def test_runs_are_paged(viewer: httpx.AsyncClient, planned: uuid.UUID) -> None:
    first = (await viewer.get(f"{API}/planning-runs", params={"limit": 1})).json()
    second = (await viewer.get(f"{API}/planning-runs", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert first["items"][0]["id"] != second["items"][0]["id"]
    assert (first["total"], second["next_cursor"]) == (2, None)


async def test_orders_of_a_run(viewer: httpx.AsyncClient, planned: uuid.UUID) -> None:
    orders = await rows(viewer, f"{LATEST}/orders")
    assert [each["rank"] for each in orders] == [1, 2, 3, 4]
    assert {each["run_id"] for each in orders} == {str(planned)}
    assert (orders[0]["item"], orders[0]["item_name"], orders[0]["unit"]) == ("B-110", "Seal", "pcs")
    assert (orders[0]["supplier"], orders[0]["supplier_name"], orders[1]["supplier"]) == ("S-1", "Smith", None)
    found = await rows(viewer, f"{LATEST}/orders", priority=["high", "medium"], sort="-value", fields=["item", "value"])
    assert [each["item"] for each in found] == ["A-100", "=1+1"]
    assert found[0].keys() == {"id", "item", "value"}
    assert [each["item"] for each in await rows(viewer, f"{LATEST}/orders", search="smith")] == ["B-110"]
    assert_problem(await viewer.get(f"{LATEST}/orders", params={"priority": "urgent"}), 400)
    assert_problem(await viewer.get(f"{API}/planning-runs/{uuid.uuid4()}/orders"), 404)


async def test_stock_parameters_of_a_run(viewer: httpx.AsyncClient, planned: uuid.UUID) -> None:
    path = f"{LATEST}/stock-parameters"
    assert [each["item"] for each in await rows(viewer, path)] == ["A-100", "B-110", "C%50"]
    for query in (
        {"below_safety_stock": True},
        {"stock_out_on_to": "2026-12-01"},
        {"abc": "B", "xyz": "Z"},
        {"search": "seal"},
        {"coverage_days_to": 4},
    ):
        found = await rows(viewer, path, **query)
        assert [each["item"] for each in found] == ["B-110"], query
    assert found[0]["stock_out_on"] == "2026-11-26"
    assert (await rows(viewer, path, sort="-daily_demand_mean"))[0]["item"] == "B-110"
    page = (await viewer.get(path, params={"limit": 2, "sort": "abc"})).json()
    assert [each["item"] for each in await rows(viewer, path, sort="abc", cursor=page["next_cursor"])] == ["C%50"]


async def test_stock_parameters_are_kept_in_redis_and_never_older_than_their_items(
    app: Litestar, by_role: dict[str, httpx.AsyncClient], planned: uuid.UUID
) -> None:
    viewer, redis = by_role["viewer"], app.state.connections.redis
    first = await rows(viewer, f"{LATEST}/stock-parameters", sort="item")
    assert len(await redis.keys("fmrp:cache:stock parameter:*")) == 1
    assert await rows(viewer, f"{LATEST}/stock-parameters", sort="item") == first
    assert await rows(viewer, f"{API}/planning-runs/{planned}/stock-parameters", sort="item") == first
    assert len(await redis.keys("fmrp:cache:stock parameter:*")) == 1, "the same page, however the run is named"
    item = first[0]["item"]
    renamed = await by_role["manager"].patch(f"{API}/items/{item}", json={"name": "Renamed"})
    assert renamed.status_code == 200
    assert (await rows(viewer, f"{LATEST}/stock-parameters", sort="item"))[0]["item_name"] == "Renamed"


async def test_action_messages_and_pegging_of_a_run(viewer: httpx.AsyncClient, planned: uuid.UUID) -> None:
    messages = await rows(viewer, f"{LATEST}/action-messages")
    assert [(each["kind"], each["open_order"], each["rank"]) for each in messages] == [
        ("expedite", "PO-1", 1),
        ("new", None, 2),
    ]
    made = (await rows(viewer, f"{LATEST}/orders", kind="production"))[0]
    assert messages[1]["order_id"] == made["id"]
    feeds = await rows(viewer, f"{LATEST}/pegging", demand_order=made["id"])
    assert [(each["item"], each["quantity"]) for each in feeds] == [("B-110", 25.0)]
    serves = await rows(viewer, f"{LATEST}/pegging", order=made["id"])
    assert [(each["demand_kind"], each["demand"]) for each in serves] == [("firm_order", "C-1/1")]


async def test_capacity_of_a_run(viewer: httpx.AsyncClient, planned: uuid.UUID) -> None:
    loads = await rows(viewer, f"{LATEST}/capacity")
    assert [(each["work_centre"], each["load_share"]) for each in loads] == [("W-1", 0.5), ("W-1", None)]
    page = (await viewer.get(f"{LATEST}/capacity", params={"limit": 1})).json()
    assert [each["week"] for each in await rows(viewer, f"{LATEST}/capacity", cursor=page["next_cursor"])] == [
        "2026-11-30"
    ]
    assert await rows(viewer, f"{LATEST}/capacity", load_share_from=1.1) == []


async def test_a_forecast_run_with_its_metrics_series_and_rows(app: Litestar, viewer: httpx.AsyncClient) -> None:
    async with app.state.connections.sessions.begin() as session:
        run_id = await add_forecast(session, ("A-100", "A-200", "B-110"))
    run = f"{API}/forecast-runs/latest"
    assert (await viewer.get(run)).json()["id"] == str(run_id)
    assert [each["model"] for each in await rows(viewer, f"{run}/metrics")] == ["AutoETS"]
    series = await rows(viewer, f"{run}/series", abc="A", demand_class="smooth", model="AutoETS", search="pump")
    assert [each["item"] for each in series] == ["A-100", "A-200"]
    assert await rows(viewer, f"{run}/series", xyz="Z") == []
    first = (await viewer.get(f"{run}/rows", params={"limit": 4})).json()
    assert [each["item"] for each in first["items"]] == ["A-100"] * 2 + ["A-200"] * 2
    assert first["total"] == 6
    rest = await rows(viewer, f"{run}/rows", cursor=first["next_cursor"])
    assert [(each["item"], each["week"], each["q90"]) for each in rest] == [
        ("B-110", "2026-11-23", 9.0),
        ("B-110", "2026-11-30", 9.0),
    ]
    only = await rows(viewer, f"{run}/rows", **{"item": ["A-200", "B-110"], "from": "2026-11-30", "to": "2026-12-31"})
    assert [each["item"] for each in only] == ["A-200", "B-110"]


async def test_a_deleted_item_stays_in_what_was_found(
    by_role: dict[str, httpx.AsyncClient], planned: uuid.UUID
) -> None:
    assert (await by_role["manager"].delete(f"{API}/items/C%2550")).status_code == 204
    assert (await rows(by_role["viewer"], f"{LATEST}/orders", sort="-rank"))[0]["item"] == "C%50"


async def test_a_challenger_is_promoted_once(app: Litestar, by_role: dict[str, httpx.AsyncClient]) -> None:
    async with app.state.connections.sessions.begin() as session:
        job = await add_job(session, "train")
        old = await models.register(session, "chronos", "chronos", job_id=job.id, metrics={"wql": 0.21})
        await models.promote(session, old, "the first", "system")
        new = await models.register(session, "chronos", "chronos", sha256="a" * 64, quantiles=[0.1, 0.5, 0.9])
        old_id, new_id = old.id, new.id
    manager, path = by_role["manager"], f"{API}/models/{new_id}/promote"
    assert_problem(await by_role["operator"].post(path, json={"verdict": "better"}), 403)
    assert_problem(await manager.post(path, json={"verdict": ""}), 400)
    done = await manager.post(path, json={"verdict": "WQL 0.19 against 0.21"})
    assert done.status_code == 200, done.text
    assert (done.json()["stage"], done.json()["promoted_by"]) == ("champion", "manager@example.com")
    assert_problem(await manager.post(path, json={"verdict": "again"}), 409)
    assert_problem(await manager.post(f"{API}/models/{old_id}/promote", json={"verdict": "back"}), 409)
    assert_problem(await manager.post(f"{API}/models/{uuid.uuid4()}/promote", json={"verdict": "none"}), 404)
    found = await rows(manager, f"{API}/models", sort="version")
    assert [(each["version"], each["stage"]) for each in found] == [(1, "retired"), (2, "champion")]
    one = await manager.get(f"{API}/models/{new_id}")
    assert one.json()["quantiles"] == [0.1, 0.5, 0.9]
    assert one.headers["etag"] == done.headers["etag"]


async def test_the_front_page_in_figures(viewer: httpx.AsyncClient, planned: uuid.UUID) -> None:
    answer = await viewer.get(f"{API}/summary")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["alerts"] == {"critical": 1, "warning": 1, "info": 1}
    assert (body["plan"]["id"], body["plan"]["orders"], body["plan"]["critical"]) == (str(planned), 4, 1)
    assert body["forecast"]["accuracy"][0] == {"model": "AutoETS", "wql": 0.5, "mase": 0.5, "wape": 0.5, "bias": 0.5}
    assert body["plan"]["stock_value"] == 554.0
    assert [each["source"] for each in body["sources"]] == ["inbox"]
    assert body["sources"][0]["last_data_at"]
    assert (body["overdue_orders"], body["running_jobs"]) == (0, 0)


async def test_an_empty_plant_has_a_front_page(app: Litestar, viewer: httpx.AsyncClient) -> None:
    async with app.state.connections.sessions.begin() as session:
        for table in ("planning_run", "forecast_run"):
            await session.execute(text(f"DELETE FROM {table}"))
    body = (await viewer.get(f"{API}/summary")).json()
    assert (body["plan"], body["forecast"]) == (None, None)
    assert_problem(await viewer.get(LATEST), 404)
