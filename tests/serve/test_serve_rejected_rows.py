"""Rejected rows through the API: found, corrected, let be, taken out as a file, and read again as a job."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from litestar import Litestar
from serve_world import API, add_ingest_run, add_job, assert_problem
from test_serve_reads import listed

from db.models import IngestRun
from db.repositories import sources

pytestmark = pytest.mark.usefixtures("plant")
ROWS = f"{API}/sources/rejected-rows"


@pytest.fixture
async def run_id(app: Litestar, plant: None) -> uuid.UUID:
    """A run of the source `inbox` with three rejected rows."""
    async with app.state.connections.sessions.begin() as session:
        return await add_ingest_run(session, "stock.csv", "erp")


@pytest.fixture
async def row(viewer: httpx.AsyncClient, run_id: uuid.UUID) -> dict[str, Any]:
    """Its first row."""
    found: dict[str, Any] = (await viewer.get(f"{API}/sources/runs/{run_id}/rejected-rows")).json()["items"][0]
    return found


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"source": "erp"}, 3),
        ({"source": "nowhere"}, 0),
        ({"source": "erp", "state": "open", "parked": "false"}, 3),
        ({"source": "erp", "state": "taken"}, 0),
        ({"source": "erp", "search": "EIGHTY"}, 3),
        ({"source": "erp", "search": "100%"}, 0),
        ({"mapping": "erp_items", "source": "erp"}, 3),
    ],
)
async def test_rows_of_all_runs_are_filtered_and_paged(
    viewer: httpx.AsyncClient, run_id: uuid.UUID, query: dict[str, str], count: int
) -> None:
    found = await listed(viewer, "/sources/rejected-rows", limit=2, **query)
    assert len(found) == count
    assert len({each["id"] for each in found}) == count


async def test_a_row_is_corrected_and_the_rest_of_it_stays(
    operator: httpx.AsyncClient, row: dict[str, Any], run_id: uuid.UUID
) -> None:
    changed = await operator.patch(f"{ROWS}/{row['id']}", json={"corrected": {"cost": "80"}})
    assert changed.status_code == 200, changed.text
    assert changed.json()["corrected"] == {"code": "A-100", "cost": "80"}
    assert changed.json()["corrected_by"] == "operator@example.com"
    assert changed.headers["etag"] == '"2"'
    stale = await operator.patch(f"{ROWS}/{row['id']}", json={"corrected": None}, headers={"If-Match": '"1"'})
    assert_problem(stale, 412)
    forgotten = await operator.patch(f"{ROWS}/{row['id']}", json={"corrected": None}, headers={"If-Match": '"2"'})
    assert (forgotten.json()["corrected"], forgotten.json()["corrected_by"]) == (None, None)


async def test_a_row_is_let_be_and_taken_up_again(operator: httpx.AsyncClient, row: dict[str, Any]) -> None:
    dismissed = await operator.patch(f"{ROWS}/{row['id']}", json={"state": "dismissed"})
    assert dismissed.json()["state"] == "dismissed"
    assert (await operator.patch(f"{ROWS}/{row['id']}", json={"state": "open"})).json()["state"] == "open"


async def test_several_rows_are_let_be_at_once(operator: httpx.AsyncClient, run_id: uuid.UUID) -> None:
    ids = [each["id"] for each in await listed(operator, "/sources/rejected-rows", source="erp")]
    unknown = str(uuid.uuid4())
    answer = await operator.post(f"{ROWS}/dismiss", json={"ids": [*ids, unknown]})
    assert answer.json() == {"dismissed": ids, "unchanged": [unknown]}
    assert_problem(await operator.post(f"{API}/sources/runs/{run_id}/rerun", json={}), 409)


async def test_the_open_rows_are_a_file_to_correct(operator: httpx.AsyncClient, row: dict[str, Any]) -> None:
    await operator.patch(f"{ROWS}/{row['id']}", json={"corrected": {"cost": "80"}})
    answer = await operator.get(f"{API}/sources/runs/{row['run_id']}/rejected-rows/export")
    assert answer.content.decode("utf-8-sig").splitlines() == [
        "line,field,reason,code,cost",
        "4,cost,not a number,A-100,80",
        "7,cost,not a number,A-100,eighty",
        "9,cost,not a number,A-100,eighty",
    ]


async def test_reading_again_is_a_job_and_asked_twice_with_one_key_it_is_one(
    operator: httpx.AsyncClient, run_id: uuid.UUID
) -> None:
    path, key = f"{API}/sources/runs/{run_id}/rerun", {"Idempotency-Key": "once"}
    first = await operator.post(path, json={}, headers=key)
    assert first.status_code == 202, first.text
    assert first.json()["parameters"] == {"rerun_of": str(run_id)}
    assert (await operator.post(path, json={}, headers=key)).json()["id"] == first.json()["id"]
    assert_problem(await operator.post(path, json={"mapping": "erp_stock"}), 409)
    assert_problem(await operator.post(f"{API}/sources/runs/{uuid.uuid4()}/rerun", json={}), 404)


async def test_a_refused_file_is_read_again_by_the_mapping_that_is_named(
    app: Litestar, operator: httpx.AsyncClient
) -> None:
    async with app.state.connections.sessions.begin() as session:
        content = b"code;name\n"
        file = await sources.put_file(
            session, source="erp", name="x.csv", sha256=hashlib.sha256(content).hexdigest(), content=content,
            state="failed",
        )  # fmt: skip
        job = await add_job(session, "ingest")
        run = IngestRun(
            job_id=job.id, source_file_id=file, source="erp", file="x.csv", mapping="", target="", state="failed",
            error="mapping: no rule of the source fits the file's name", started_at=datetime.now(UTC),
        )  # fmt: skip
        await sources.add_run(session, run)
        run_id = run.id
    path = f"{API}/sources/runs/{run_id}/rerun"
    assert_problem(await operator.post(path, json={}), 409)
    assert_problem(await operator.post(path, json={"mapping": "nobodys"}), 409)
    started = await operator.post(path, json={"mapping": "erp_items"})
    assert started.json()["parameters"] == {"source_file_id": str(file), "mapping": "erp_items", "file": "x.csv"}
