"""One day through the real stack: files in, dated orders out. Runs first, for the later tests need its data."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from cluster.demo.client import Client
from cluster.demo.factory import FactoryFiles

pytestmark = pytest.mark.stack


async def test_the_day_turns_the_inbox_into_dated_orders(client: Client, factory: FactoryFiles) -> None:
    heard: list[dict[str, Any]] = []
    day = await client.start("day", key=str(uuid.uuid4()))
    ended = await client.follow(day["id"], heard.append)
    assert ended["state"] == "done", ended["error"]

    runs = {run["file"]: run for run in (await client.get("/sources/inbox/runs", limit=100))["items"]}
    assert set(runs) == set(factory.rows)
    for name, run in runs.items():
        assert run["read"] == factory.rows[name], name
        assert run["read"] == run["taken"] + run["merged"] + run["rejected"], name
        rejected = (await client.get(f"/sources/runs/{run['id']}/rejected-rows", limit=500))["items"]
        assert len(rejected) == run["rejected"]
        assert all(row["line"] > 1 and row["reason"] for row in rejected)

    moved = {event["data"]["progress"] for event in heard if event["data"].get("job_id") == day["id"]}
    assert any(0 < share < 1 for share in moved), "the progress bar of the day never moved"
    steps = [job["kind"] for job in reversed((await client.get("/jobs", parent_id=day["id"]))["items"])]
    assert steps == ["ingest", "forecast", "plan"]


async def test_forecasts_have_ordered_quantiles_and_name_their_model(client: Client) -> None:
    run = await client.get("/forecasts/latest")
    assert {row["model"] for row in run["metrics"]} >= {"chosen", "seasonal_naive", "moving_average"}
    series = (await client.get("/forecasts/latest/series", limit=20))["items"]
    assert series
    for each in series:
        forecast = await client.get(f"/forecasts/latest/items/{each['item']}")
        assert len(forecast["rows"]) == run["horizon_weeks"]
        assert forecast["model"]
        assert forecast["reason"]
        for row in forecast["rows"]:
            assert 0 <= row["q10"] <= row["q25"] <= row["q50"] <= row["q75"] <= row["q90"]


async def test_orders_come_most_urgent_first_and_reach_down_the_bill_of_material(client: Client) -> None:
    orders = (await client.get("/plans/latest/orders", limit=500))["items"]
    ranks = [("critical", "high", "medium", "low").index(order["priority"]) for order in orders]
    assert ranks == sorted(ranks)
    assert {order["kind"] for order in orders} == {"purchase", "production"}
    bought = [order for order in orders if order["kind"] == "purchase"]
    assert all(order["supplier"] and order["cause"] and order["quantity"] > 0 for order in bought)
    assert all(order["release_date"] <= order["due_date"] or order["past_due_days"] > 0 for order in orders)


async def test_a_second_day_reads_no_file_again_and_changes_no_demand(client: Client) -> None:
    before = await client.get("/plans/latest")
    day = await client.start("day", key=str(uuid.uuid4()))
    ended = await client.follow(day["id"], lambda event: None)
    assert ended["state"] == "done", ended["error"]
    assert ended["result"]["ingest"]["files"] == 0
    after = await client.get("/plans/latest")
    assert after["id"] != before["id"]
    assert after["summary"] == before["summary"]


async def test_the_forecaster_answers_for_series_sent_along(client: Client) -> None:
    series = [{"item": "new", "start": "2026-01-05", "values": [10.0, None, 12.0, 9.0] * 15}]
    answer = await client._send("POST", "/forecasts/predict", json={"series": series, "horizon": 6})
    (forecast,) = answer.json()["forecasts"]
    assert forecast["item"] == "new"
    assert forecast["rows"][0]["week"] == "2027-03-01"
    assert len(forecast["rows"]) == 6
