"""Lists, details, forecasts, plans, jobs, uploads and the documentation, as a client sees them."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import date
from typing import Any

import httpx
import pytest
from litestar import Litestar
from serve_world import API, ITEMS, MONDAY, add_forecast, add_ingest_run, add_job, assert_problem
from sqlalchemy import text

from serve.application import build_app
from settings import Settings

pytestmark = pytest.mark.usefixtures("plant")


async def listed(client: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every row of a list, page by page; checks that totals agree and the pages end."""
    rows: list[dict[str, Any]] = []
    cursor = None
    for _ in range(50):
        params = {**query, **({"cursor": cursor} if cursor else {})}
        answer = await client.get(API + path, params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        rows += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            assert page["total"] == len(rows)
            return rows
        assert len(page["items"]) == query.get("limit", 50)
    raise AssertionError("the list does not end")


SORTS = [None, "code", "-code", "cost", "-cost", "name", "category", "-category", "kind"]


async def test_paging_gives_every_item_once(viewer: httpx.AsyncClient) -> None:
    for sort in SORTS:
        query = {"sort": sort} if sort else {}
        paged = await listed(viewer, "/items", limit=2, **query)
        whole = await listed(viewer, "/items", limit=500, **query)
        assert sorted(each["code"] for each in paged) == sorted(ITEMS)
        assert paged == whole
        field = (sort or "code").removeprefix("-")
        known = [each[field] for each in paged if each[field] is not None]
        assert [each[field] for each in paged[: len(known)]] == known, "nulls are not last"
        if field == "cost":
            assert known == sorted(known, reverse=sort == "-cost")


async def test_items_are_found_by_part_of_code_or_name_and_by_kind(viewer: httpx.AsyncClient) -> None:
    for search, codes in (
        ("pump", {"A-100", "A-200"}),
        ("a-1", {"A-100"}),
        ("_", {"B-1_0"}),
        ("%", {"C%50"}),
        ("steel", {"C%50"}),
        ("\\", set()),
    ):
        assert {each["code"] for each in await listed(viewer, "/items", search=search, limit=50)} == codes, search
    components = await listed(viewer, "/items", kind="component", limit=50)
    assert {each["code"] for each in components} == {"B-1_0", "B-110", "=1+1"}
    both = await listed(viewer, "/items", kind="component", search="seal", limit=50)
    assert [each["code"] for each in both] == ["B-110"]


async def test_an_item_comes_with_its_stock_and_leads_to_structure_and_suppliers(viewer: httpx.AsyncClient) -> None:
    item = (await viewer.get(f"{API}/items/A-100")).json()
    assert item["on_hand"] == 10.0
    lines = await listed(viewer, "/bom-lines", parent="A-100", sort="component")
    assert {line["component"]: (line["quantity_per"], line["scrap_share"]) for line in lines} == {
        "B-110": (2.5, 0.02),
        "B-1_0": (1.0, 0.0),
    }
    (term,) = await listed(viewer, "/supplier-terms", item="B-110")
    assert (term["supplier"], term["price"], term["min_order_qty"], term["order_multiple"]) == ("S-1", 4.5, 10.0, 5.0)
    assert (await viewer.get(f"{API}/items/C%2550")).json()["code"] == "C%50"
    assert (await viewer.get(f"{API}/items/{item['id']}")).json() == item


async def test_demand_by_week_and_day_within_bounds(viewer: httpx.AsyncClient) -> None:
    async def rows(**query: str) -> list[tuple[str, float]]:
        answer = await viewer.get(f"{API}/demand/A-100", params=query)
        assert answer.status_code == 200, answer.text
        return [(each["date"], each["quantity"]) for each in answer.json()["rows"]]

    assert await rows() == [("2026-11-02", 3.0), ("2026-11-09", 4.0), ("2026-11-16", 0.0), ("2026-11-23", 8.0)]
    assert await rows(grain="month") == [("2026-11-01", 15.0)]
    assert await rows(grain="month", **{"from": "2026-11-30"}) == [("2026-11-01", 15.0)]
    assert await rows(grain="day", to="2026-11-04") == [("2026-11-02", 1.0), ("2026-11-03", 0.0), ("2026-11-04", 2.0)]
    assert await rows(**{"from": "2026-11-10", "to": "2026-11-22"}) == [("2026-11-09", 4.0)]
    assert await rows(**{"from": "2027-01-01"}) == []
    answer = await viewer.get(f"{API}/demand/A-100", params={"from": "yesterday"})
    assert assert_problem(answer, 400)["errors"][0]["field"] == "from"
    assert_problem(await viewer.get(f"{API}/demand/A-100", params={"grain": "hour"}), 400)


async def test_the_newest_forecast_is_served(app: Litestar, viewer: httpx.AsyncClient) -> None:
    async with app.state.connections.sessions.begin() as session:
        newest = await add_forecast(session, ("A-200", "B-110", "A-100"))
    run = (await viewer.get(f"{API}/forecasts/latest")).json()
    assert run["id"] == str(newest)
    assert run["metrics"][0]["coverage_80"] == 0.5
    runs = (await viewer.get(f"{API}/forecasts")).json()["items"]
    assert [each["items"] for each in runs] == [3, 2]
    series = await listed(viewer, "/forecasts/latest/series", limit=2, sort="-item")
    assert [each["item"] for each in series] == ["B-110", "A-200", "A-100"]
    found = await listed(viewer, "/forecasts/latest/series", limit=5, search="large")
    assert [(each["item"], each["name"], each["model"]) for each in found] == [("A-200", "Pump, large", "AutoETS")]
    item = (await viewer.get(f"{API}/forecasts/latest/items/A-100")).json()
    assert [row["week"] for row in item["rows"]] == ["2026-11-23", "2026-11-30"]
    assert item["rows"][0] == {
        "week": "2026-11-23", "mean": 5.0, "q10": 1.0, "q25": 3.0, "q50": 5.0, "q75": 7.0, "q90": 9.0
    }  # fmt: skip


async def test_a_forecast_of_series_sent_along(operator: httpx.AsyncClient) -> None:
    series = [
        {"item": "steady", "start": "2025-06-02", "values": [10.0] * 30},
        {"item": "gaps", "start": "2025-06-02", "values": [None, 4.0, None, 6.0]},
        {"item": "one", "start": "2025-06-02", "values": [3]},
        {"item": "nothing", "start": "2025-06-02", "values": [None, None]},
        {"item": "steady", "start": "2025-06-02", "values": [500.0] * 30},
    ]
    answer = await operator.post(f"{API}/forecasts/predict", json={"series": series, "horizon": 3})
    assert answer.status_code == 200, answer.text
    made = answer.json()["forecasts"]
    assert [each["item"] for each in made] == ["steady", "gaps", "one", "nothing", "steady"]
    for each, asked in zip(made, series, strict=True):
        assert each["model"]
        assert len(each["rows"]) == 3
        last = date.fromisoformat("2025-06-02").toordinal() + 7 * len(asked["values"])  # type: ignore[arg-type]
        assert date.fromisoformat(each["rows"][0]["week"]).toordinal() == last
        for row in each["rows"]:
            quantiles = [row[name] for name in ("q10", "q25", "q50", "q75", "q90")]
            assert quantiles == sorted(quantiles)
            assert quantiles[0] >= 0
    assert made[0]["rows"][0]["mean"] == pytest.approx(10, rel=0.2)
    assert made[4]["rows"][0]["mean"] == pytest.approx(500, rel=0.2)


REFUSED_SERIES = [
    ({"start": "2025-06-03"}, 409, "series.0.start"),
    ({"start": "0001-01-01"}, 400, "series.0.start"),
    ({"start": "9999-12-27"}, 400, "series.0.start"),
    ({"values": []}, 400, "series.0.values"),
    ({"values": [1.0] * 1601}, 400, "series.0.values"),
    ({"values": ["five"]}, 400, "series.0.values.0"),
    ({"values": ["5"]}, 400, "series.0.values.0"),
    ({"values": [1e15]}, 400, "series.0.values.0"),
    ({"item": ""}, 400, "series.0.item"),
    ({"items": []}, 400, "series.0.items"),
]


async def test_series_that_cannot_be_forecast_are_refused(operator: httpx.AsyncClient) -> None:
    for change, status, field in REFUSED_SERIES:
        series = {"item": "A", "start": "2025-06-02", "values": [1.0], **change}
        problem = assert_problem(await operator.post(f"{API}/forecasts/predict", json={"series": [series]}), status)
        assert problem["errors"][0]["field"] == field


async def test_predict_has_limits(operator: httpx.AsyncClient) -> None:
    one = {"item": "A", "start": "2025-06-02", "values": [1.0]}
    for body in ({"series": [one] * 201}, {"series": []}, {"series": [one], "horizon": 0},
                 {"series": [one], "horizon": 53}):  # fmt: skip
        assert_problem(await operator.post(f"{API}/forecasts/predict", json=body), 400)
    most = await operator.post(f"{API}/forecasts/predict", json={"series": [one] * 200, "horizon": 1})
    assert len(most.json()["forecasts"]) == 200


async def test_orders_come_most_urgent_first_and_by_filter(viewer: httpx.AsyncClient) -> None:
    assert (await viewer.get(f"{API}/plans/latest")).json()["summary"]["critical"] == 1
    assert len((await viewer.get(f"{API}/plans")).json()["items"]) == 1
    orders = await listed(viewer, "/plans/latest/orders", limit=1)
    assert [each["priority"] for each in orders] == ["critical", "high", "medium", "low"]
    first = {"item": "B-110", "name": "Seal", "supplier": "S-1", "supplier_name": "Smith", "value": 180.0}
    assert first.items() <= orders[0].items()
    for query, items in (
        ({"kind": "production"}, ["A-100"]),
        ({"priority": "low"}, ["C%50"]),
        ({"supplier": "S-1"}, ["B-110"]),
        ({"search": "steel"}, ["C%50"]),
        ({"kind": "purchase", "priority": "high"}, []),
        ({"sort": "-value"}, ["A-100", "B-110", "=1+1", "C%50"]),
        ({"sort": "due_date"}, ["B-110", "A-100", "=1+1", "C%50"]),
    ):
        found = await listed(viewer, "/plans/latest/orders", limit=2, **query)
        assert [each["item"] for each in found] == items, query
    assert_problem(await viewer.get(f"{API}/plans/latest/orders?priority=urgent"), 400)


async def test_the_csv_holds_the_same_orders_and_no_formula(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.get(f"{API}/plans/latest/orders.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert f"planned-orders-{MONDAY}.csv" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["item"] for row in rows] == ["B-110", "A-100", "'=1+1", "C%50"]
    assert rows[2]["name"] == "'=HYPERLINK(1)"
    assert rows[2]["cause"] == "'@SUM(A1)"
    assert [row["quantity"] for row in rows] == ["40.0", "10.0", "3.0", "2.0"]
    for row in rows:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())
    some = await viewer.get(f"{API}/plans/latest/orders.csv?kind=production")
    assert [row["item"] for row in csv.DictReader(io.StringIO(some.text))] == ["A-100"]


async def test_capacity_is_load_against_hours(viewer: httpx.AsyncClient) -> None:
    rows = (await viewer.get(f"{API}/plans/latest/capacity")).json()["rows"]
    assert [(row["work_centre"], row["week"], row["load_hours"], row["load_share"]) for row in rows] == [
        ("W-1", "2026-11-23", 20.0, 0.5),
        ("W-1", "2026-11-30", 44.0, None),
    ]


async def test_a_started_job_waits_in_the_queue(app: Litestar, operator: httpx.AsyncClient) -> None:
    answer = await operator.post(f"{API}/jobs", json={"kind": "plan", "parameters": {"today": "2026-11-23"}})
    assert answer.status_code == 202
    job = answer.json()
    waiting = {"kind": "plan", "state": "waiting", "requested_by": "operator@example.com", "parent_id": None}
    assert waiting.items() <= job.items()
    assert job["parameters"] == {"today": "2026-11-23"}
    assert "traceback" not in job
    detail = (await operator.get(f"{API}/jobs/{job['id']}")).json()
    assert detail == job | {"traceback": None, "worker": None}
    assert await queued(app) == [job["id"]]
    again = (await operator.post(f"{API}/jobs", json={"kind": "plan", "parameters": {"today": "2026-11-23"}})).json()
    assert again["id"] == job["id"], "an equal job still waits"


async def queued(app: Litestar) -> list[str]:
    async with app.state.connections.sessions() as session:
        rows = await session.execute(text("SELECT id::text FROM job WHERE state = 'waiting' ORDER BY created_at, id"))
        return list(rows.scalars())


async def test_an_idempotency_key_gives_the_same_job_to_the_same_person(
    app: Litestar, by_role: dict[str, httpx.AsyncClient]
) -> None:
    body = {"kind": "ingest", "parameters": {"mapping": "items"}}
    headers = {"Idempotency-Key": "monday"}
    first, second = [
        (await by_role["operator"].post(f"{API}/jobs", json=body, headers=headers)).json() for _ in range(2)
    ]
    assert first["id"] == second["id"]
    other = (await by_role["admin"].post(f"{API}/jobs", json=body, headers=headers)).json()
    fresh = (await by_role["operator"].post(f"{API}/jobs", json=body, headers={"Idempotency-Key": "tuesday"})).json()
    assert len({first["id"], other["id"], fresh["id"]}) == 3
    assert len(await queued(app)) == 3
    answer = await by_role["operator"].post(f"{API}/jobs", json=body, headers={"Idempotency-Key": "k" * 201})
    assert_problem(answer, 400)


async def test_a_day_starts_with_its_first_child(app: Litestar, operator: httpx.AsyncClient) -> None:
    parameters = {"plan": {"today": "2026-11-23"}, "ingest": {"note": "x"}}
    day = (await operator.post(f"{API}/jobs", json={"kind": "day", "parameters": parameters})).json()
    assert day["state"] == "running"
    children = await listed(operator, "/jobs", parent_id=day["id"], limit=10)
    assert [(each["kind"], each["state"], each["parameters"]) for each in children] == [
        ("ingest", "waiting", {"source": "inbox", "note": "x"})
    ]
    assert await queued(app) == [children[0]["id"]]
    assert (await operator.post(f"{API}/jobs", json={"kind": "day"})).json()["id"] == day["id"]


BAD_STEPS = [{"ingest": 5}, {"ingest": [1]}, {"banana": {}}, {"plan": "today"}]


async def test_parameters_of_a_day_are_objects_by_step(app: Litestar, operator: httpx.AsyncClient) -> None:
    for parameters in BAD_STEPS:
        answer = await operator.post(f"{API}/jobs", json={"kind": "day", "parameters": parameters})
        assert assert_problem(answer, 409)["errors"][0]["field"] == f"parameters.{next(iter(parameters))}"
        assert await queued(app) == []


async def test_jobs_are_listed_newest_first_and_by_filter(app: Litestar, operator: httpx.AsyncClient) -> None:
    plan = (await operator.post(f"{API}/jobs", json={"kind": "plan"})).json()
    forecast = (await operator.post(f"{API}/jobs", json={"kind": "forecast"})).json()
    rows = await listed(operator, "/jobs", limit=2)
    assert [each["id"] for each in rows[:2]] == [forecast["id"], plan["id"]]
    assert [each["id"] for each in await listed(operator, "/jobs", limit=9, state="waiting", kind="plan")] == [
        plan["id"]
    ]
    assert {each["state"] for each in await listed(operator, "/jobs", limit=9, state="done")} == {"done"}
    problem = assert_problem(await operator.get(f"{API}/jobs?state=sleeping"), 400)
    assert problem["errors"][0]["field"] == "state"
    assert_problem(await operator.get(f"{API}/jobs?parent_id=me"), 400)


async def test_cancel_and_retry_by_state(app: Litestar, operator: httpx.AsyncClient) -> None:
    job = (await operator.post(f"{API}/jobs", json={"kind": "plan"})).json()
    path = f"{API}/jobs/{job['id']}"
    assert_problem(await operator.post(f"{path}/retry"), 409)
    cancelled = await operator.post(f"{path}/cancel")
    assert cancelled.status_code == 202
    assert cancelled.json()["state"] == "cancelled"
    assert_problem(await operator.post(f"{path}/cancel"), 409)
    retried = await operator.post(f"{path}/retry")
    assert retried.status_code == 202
    assert retried.json()["state"] == "waiting"
    async with app.state.connections.sessions.begin() as session:
        done = await add_job(session, "plan", "done")
        failed = await add_job(session, "plan", "failed", error="no stock", attempts=4, failures=4)
    for action in ("cancel", "retry"):
        assert_problem(await operator.post(f"{API}/jobs/{done.id}/{action}"), 409)
    again = (await operator.post(f"{API}/jobs/{failed.id}/retry")).json()
    assert (again["state"], again["error"]) == ("waiting", None)
    assert (again["failures"], again["losses"]) == (0, 0), "it would be given up at its first failure"


async def test_a_cancelled_day_takes_its_child_along(operator: httpx.AsyncClient) -> None:
    day = (await operator.post(f"{API}/jobs", json={"kind": "day"})).json()
    assert (await operator.post(f"{API}/jobs/{day['id']}/cancel")).json()["state"] == "cancelled"
    children = await listed(operator, "/jobs", parent_id=day["id"], limit=9)
    assert [each["state"] for each in children] == ["cancelled"]


async def test_a_day_cannot_be_retried_while_another_runs(operator: httpx.AsyncClient) -> None:
    first = (await operator.post(f"{API}/jobs", json={"kind": "day"})).json()
    await operator.post(f"{API}/jobs/{first['id']}/cancel")
    second = (await operator.post(f"{API}/jobs", json={"kind": "day"})).json()
    assert second["id"] != first["id"]
    assert_problem(await operator.post(f"{API}/jobs/{first['id']}/retry"), 409)
    assert (await operator.get(f"{API}/jobs/{first['id']}")).json()["state"] == "cancelled"


async def test_an_upload_keeps_the_file_and_starts_its_ingestion(app: Litestar, operator: httpx.AsyncClient) -> None:
    content = b"code;name\nA;B\n"
    for sent in ("../../etc/items.csv", "C:\\Users\\me\\items.csv", "items.csv"):
        answer = await operator.post(
            f"{API}/sources/uploads", files={"file": (sent, content)}, data={"mapping": "erp_items"}
        )
        assert answer.status_code == 202, answer.text
        job = answer.json()
        assert job["kind"] == "ingest"
        assert job["parameters"]["file"] == "items.csv"
        assert (await queued(app))[-1] == job["id"]
    async with app.state.connections.sessions() as session:
        rows = (await session.execute(text("SELECT id::text, name, content, mapping FROM source_file"))).all()
    assert [tuple(row) for row in rows] == [(job["parameters"]["source_file_id"], "items.csv", content, "erp_items")]


async def test_a_file_larger_than_other_bodies_is_taken(app: Litestar, operator: httpx.AsyncClient) -> None:
    content = b"x" * (3 * 1024 * 1024)
    answer = await operator.post(
        f"{API}/sources/uploads", files={"file": ("big.csv", content)}, data={"mapping": "erp_items"}
    )
    assert answer.status_code == 202, answer.text
    async with app.state.connections.sessions() as session:
        assert (await session.execute(text("SELECT size FROM source_file"))).scalar_one() == len(content)


class TestSmallUploads:
    """With a limit of 2 kB."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"upload_max_bytes": 2048})

    @pytest.fixture
    def built(self, settings: Settings) -> Litestar:
        return build_app(settings, None)  # type: ignore[arg-type]  # nothing is predicted here

    async def test_a_file_beyond_the_limit_is_413_and_says_how_much(
        self, app: Litestar, operator: httpx.AsyncClient
    ) -> None:
        for size, limit in ((2049, "2,048"), (500_000, "67,584")):
            answer = await operator.post(
                f"{API}/sources/uploads", files={"file": ("a.csv", b"x" * size)}, data={"mapping": "erp_items"}
            )
            assert f"at most {limit}" in assert_problem(answer, 413)["detail"]
        assert await queued(app) == []


async def test_an_upload_sent_again_with_its_key_starts_one_job(app: Litestar, operator: httpx.AsyncClient) -> None:
    async def send(content: bytes, key: str) -> httpx.Response:
        files = {"file": ("items.csv", content)}
        headers = {"Idempotency-Key": key}
        return await operator.post(
            f"{API}/sources/uploads", files=files, data={"mapping": "erp_items"}, headers=headers
        )

    answers = [await send(b"code", "monday") for _ in range(2)]
    answers += await asyncio.gather(*(send(b"code", "monday") for _ in range(3)))
    assert [answer.status_code for answer in answers] == [202] * 5
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert_problem(await send(b"other", "monday"), 409)
    assert (await send(b"other", "tuesday")).json()["id"] != answers[0].json()["id"]
    assert len(await queued(app)) == 2


async def test_an_upload_without_a_known_mapping_or_name_changes_nothing(
    app: Litestar, operator: httpx.AsyncClient
) -> None:
    upload = f"{API}/sources/uploads"
    unknown = await operator.post(upload, files={"file": ("a.csv", b"a")}, data={"mapping": "nope"})
    problem = assert_problem(unknown, 409)
    assert problem["errors"][0]["field"] == "mapping"
    assert "'nope'" in problem["detail"]
    assert_problem(await operator.post(upload, files={"file": ("..", b"a")}, data={"mapping": "erp_items"}), 409)
    assert_problem(await operator.post(upload, files={"file": ("a.csv", b"a")}), 400)
    assert_problem(await operator.post(upload, data={"mapping": "erp_items"}), 400)
    async with app.state.connections.sessions() as session:
        assert (await session.execute(text("SELECT count(*) FROM source_file"))).scalar_one() == 0
    assert await queued(app) == []


async def test_runs_and_rejected_rows_are_listed(app: Litestar, viewer: httpx.AsyncClient) -> None:
    async with app.state.connections.sessions.begin() as session:
        uploaded = await add_ingest_run(session, "upload.csv", "upload")
    everything = await listed(viewer, "/sources/runs", limit=1)
    assert [each["file"] for each in everything] == ["upload.csv", "items.csv"]
    assert [each["file"] for each in await listed(viewer, "/sources/inbox/runs", limit=5)] == ["items.csv"]
    assert [each["id"] for each in await listed(viewer, "/sources/upload/runs", limit=5)] == [str(uploaded)]
    run = (await viewer.get(f"{API}/sources/runs/{uploaded}")).json()
    assert run["read"] == run["taken"] + run["merged"] + run["rejected"] == 10
    rows = await listed(viewer, f"/sources/runs/{uploaded}/rejected-rows", limit=2)
    assert [row["line"] for row in rows] == [4, 7, 9]
    first = {name: rows[0][name] for name in ("line", "field", "reason", "raw", "state", "source", "file")}
    assert first == {
        "line": 4, "field": "cost", "reason": "not a number", "raw": '{"code": "A-100", "cost": "eighty"}',
        "state": "open", "source": "upload", "file": "upload.csv",
    }  # fmt: skip


async def test_sources_show_no_secret_and_mappings_are_named(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.get(f"{API}/sources")
    assert [each["code"] for each in answer.json()["items"]] == ["inbox"]
    assert "hush-hush" not in answer.text
    mappings = {each["name"]: each["target"] for each in (await viewer.get(f"{API}/sources/mappings")).json()["items"]}
    assert mappings["erp_items"] == "items"


async def test_the_api_describes_itself(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.get(f"{API}/docs/openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    ids = []
    for path, operations in document["paths"].items():
        assert path.startswith(API)
        for method, operation in operations.items():
            ids.append(operation["operationId"])
            assert operation["summary"], f"{method} {path}"
            # An unhealthy system says in what way, not that it failed to.
            for status in ("400", "401", "404", *(("503",) if operation["operationId"] != "getHealth" else ())):
                content = operation["responses"][status]["content"]
                assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert len(ids) == len(set(ids)) > 25
    assert {"listItems", "startJob", "predict", "uploadFile", "getEventTicket"} <= set(ids)


async def test_the_documentation_page_needs_nothing_from_elsewhere(anyone: httpx.AsyncClient) -> None:
    page = await anyone.get(f"{API}/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    document = (await anyone.get(f"{API}/docs/openapi.json")).json()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert f"id='{operation['operationId']}'" in page.text
    assert f"href='{API}/docs/openapi.json'" in page.text


async def test_health_is_ok_with_everything_there(anyone: httpx.AsyncClient) -> None:
    for path in ("/health", f"{API}/health"):
        answer = await anyone.get(path)
        assert answer.status_code == 200
        health = answer.json()
        assert health["status"] == "ok"
        assert health["connectors"], "no connector was found"


async def test_health_is_degraded_without_the_event_reader(app: Litestar, anyone: httpx.AsyncClient) -> None:
    await app.state.hub.stop()
    answer = await anyone.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"


def test_every_kind_of_job_may_be_asked_for(app: Litestar) -> None:
    kinds = app.openapi_schema.to_schema()["components"]["schemas"]["JobKind"]["enum"]
    assert {"day", "ingest", "forecast", "plan", "tidy"} <= set(kinds)
