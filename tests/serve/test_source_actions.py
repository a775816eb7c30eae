"""Sources are asked before and after they exist, read anew, and listed with how they are doing."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from erp_connector import ErpConnector
from litestar import Litestar
from serve_world import API, add_source, assert_problem
from source_world import PASSWORD, SOURCES, erp, install
from sqlalchemy import event, select, text

from db.models import AuditEntry, IngestRun, Job, Schedule, Source
from db.repositories import sources
from fmrp_sdk import LoadReport
from fmrp_sdk.loader import LoadFailure

NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


@pytest.fixture
async def admin(app: Litestar, by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    install(app)
    return by_role["admin"]


async def stored(app: Litestar, code: str = "erp") -> Source:
    async with app.state.connections.sessions() as session:
        return (await session.execute(select(Source).where(Source.code == code))).scalar_one()


async def add_job(app: Litestar, source: str | None, state: str, **rest: Any) -> uuid.UUID:
    """A job of a source, or of an upload, as it stands."""
    parameters = {"source": source} if source else {"source_file_id": str(uuid.uuid4())}
    keys = {"running_key": None, "waiting_key": None}
    async with app.state.connections.sessions.begin() as session:
        job = Job(kind="ingest", state=state, parameters=parameters, **keys, **{"created_at": NOW, **rest})
        session.add(job)
    return job.id


async def add_run(app: Litestar, job_id: uuid.UUID, file: str, state: str = "done", **rest: Any) -> None:
    async with app.state.connections.sessions.begin() as session:
        run = IngestRun(
            job_id=job_id, source="erp", file=file, mapping="m", target="items", state=state, started_at=NOW, **rest
        )
        session.add(run)


async def status(client: httpx.AsyncClient, code: str = "erp") -> dict[str, Any]:
    answer = await client.get(f"{SOURCES}/{code}/status")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    rows = {each["code"]: each for each in (await client.get(SOURCES)).json()["items"]}
    assert rows[code]["status"] == found
    return found


@pytest.mark.parametrize(
    ("given", "ok", "says"),
    [
        ({"host": "erp.example", "password": PASSWORD}, True, "3 files wait"),
        ({"host": "says", "password": PASSWORD}, False, "the log-in with [redacted] was refused"),
        ({"host": "tells", "password": PASSWORD}, False, "erp refused the password '[redacted]'"),
        ({"host": "broken", "password": PASSWORD}, False, "connector erp failed over it: KeyError"),
        ({"host": "erp.example", "colour": PASSWORD}, False, "colour: Extra inputs are not permitted"),
        ({"host": "erp.example", "password": "env:PATH"}, False, "expected env:FMRP_SOURCE_"),
        ({"host": "erp.example", "password": "(set)"}, True, "3 files wait"),
    ],
)
async def test_a_source_is_checked_before_it_exists(
    app: Litestar, admin: httpx.AsyncClient, given: dict[str, Any], ok: bool, says: str
) -> None:
    answer = await admin.post(f"{SOURCES}/check", json={"connector": "erp", "config": given})
    assert answer.status_code == 200
    assert answer.json()["ok"] is ok
    assert says in answer.json()["message"]
    assert PASSWORD not in answer.text
    assert (await admin.get(SOURCES)).json()["total"] == 0


async def test_a_new_source_needs_a_connector_that_is_there_and_an_administrator(
    admin: httpx.AsyncClient, by_role: dict[str, httpx.AsyncClient]
) -> None:
    answer = await admin.post(f"{SOURCES}/check", json={"connector": "nothing"})
    assert answer.json() == {"ok": False, "message": "connector 'nothing' is not installed"}
    for path in ("check", "erp/check", "erp/discover", "erp/reset"):
        assert_problem(await by_role["manager"].post(f"{SOURCES}/{path}", json={"connector": "erp"}), 403)
    assert_problem(await admin.post(SOURCES, json=erp(code="check")), 409)


async def test_what_a_source_holds_is_told_with_stored_and_with_other_settings(admin: httpx.AsyncClient) -> None:
    await admin.post(SOURCES, json=erp())
    found = (await admin.post(f"{SOURCES}/erp/discover", json={})).json()
    assert (found["ok"], found["complete"], found["message"]) == (True, True, "2 file(s) and 1 stream(s)")
    assert found["files"] == [
        {"name": "items.csv", "size": 12, "modified_at": "2026-11-23T00:00:00Z", "problem": None},
        {"name": "b?d.csv", "size": 0, "modified_at": "2026-11-23T00:00:00Z", "problem": "refused with [redacted]"},
    ]
    columns = {"id": "INTEGER", "at": "TIMESTAMP"}
    assert found["streams"] == [{"name": "orders", "columns": columns, "key": ["id"], "cursor": "at", "problem": None}]
    for host, says in (
        ("down", "erp.example is down: try again later"),
        ("tells", "erp refused the password '[redacted]'"),
        ("broken", "the connector erp failed over it: KeyError"),
        ("nonsense", "the connector erp failed over it: TypeError"),
    ):
        refused = (await admin.post(f"{SOURCES}/erp/discover", json={"config": {"host": host}})).json()
        assert refused == {"ok": False, "message": says, "files": [], "streams": [], "complete": True}
    many = (await admin.post(f"{SOURCES}/erp/discover", json={"config": {"host": "many"}})).json()
    assert (len(many["files"]), many["complete"]) == (1000, False)
    assert many["message"].endswith("; there are more")
    assert_problem(await admin.post(f"{SOURCES}/none/discover", json={}), 404)


async def test_discovery_is_as_patient_as_a_check(admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.routes.source_actions.PATIENCE_S", 0.05)
    monkeypatch.setattr(ErpConnector, "over", type(ErpConnector.over)())
    await admin.post(SOURCES, json=erp(config={"host": "hangs"}))
    try:
        told = (await admin.post(f"{SOURCES}/erp/discover", json={})).json()
    finally:
        ErpConnector.over.set()
    assert "no answer within 0.05 seconds" in told["message"]


async def test_a_reset_forgets_where_reading_went_on_once_it_is_confirmed(
    app: Litestar, admin: httpx.AsyncClient
) -> None:
    made = await admin.post(SOURCES, json=erp())
    async with app.state.connections.sessions.begin() as session:
        await session.execute(text("UPDATE source SET state = '{\"version\": 1}'"))
    where = f"{SOURCES}/erp/reset"
    for body, headers, refusal in (
        ({}, {}, 409),
        ({"confirm": "pre"}, {}, 409),
        ({"confirm": "pre"}, {"If-Match": made.headers["etag"]}, 409),
        ({}, {"If-Match": '"7"'}, 412),
        ({"confirm": "erp"}, {"If-Match": '"7"'}, 412),
    ):
        assert_problem(await admin.post(where, json=body, headers=headers), refusal)
    assert (await stored(app)).state == {"version": 1}
    done = await admin.post(where, json={}, headers={"If-Match": made.headers["etag"]})
    assert (done.status_code, done.headers["etag"], done.json()["revision"]) == (200, '"2"', 2)
    assert (await stored(app)).state == {}
    assert (await admin.post(where, json={"confirm": "erp"})).status_code == 200
    async with app.state.connections.sessions() as session:
        query = select(AuditEntry).where(AuditEntry.entity == "source", AuditEntry.action == "update")
        entry = (await session.execute(query)).scalar_one()
    assert (entry.actor, entry.before, entry.after) == (
        "admin@example.com",
        {"state": "(hidden)"},
        {"state": "(hidden)"},
    )


async def test_a_source_that_is_being_read_is_not_reset(app: Litestar, admin: httpx.AsyncClient) -> None:
    await admin.post(SOURCES, json=erp())
    job_id = await add_job(app, "erp", "running")
    refused = await admin.post(f"{SOURCES}/erp/reset", json={"confirm": "erp"})
    assert str(job_id) in assert_problem(refused, 409)["detail"]
    async with app.state.connections.sessions.begin() as session:
        await sources.put(session, Source(code=sources.UPLOAD, name="Uploads by hand", connector="upload"))
    assert_problem(await admin.post(f"{SOURCES}/upload/reset", json={"confirm": "upload"}), 409)


async def test_the_list_is_paged_sorted_and_filtered(app: Litestar, admin: httpx.AsyncClient) -> None:
    for code, name, active in (("b", "Bikes", True), ("a", "Axles", False), ("c", "50% off", True)):
        await admin.post(SOURCES, json=erp(code=code, name=name, active=active))
    async with app.state.connections.sessions.begin() as session:
        await add_source(session)

    async def codes(**given: Any) -> list[str]:
        return [each["code"] for each in (await admin.get(SOURCES, params=given)).json()["items"]]

    assert await codes() == ["a", "b", "c", "inbox"]
    assert await codes(sort="-name") == ["inbox", "b", "a", "c"]
    assert await codes(connector="erp", active=True) == ["b", "c"]
    assert await codes(connector=["folder", "none"]) == ["inbox"]
    assert (await codes(search="IKE"), await codes(search="%"), await codes(active=False)) == (["b"], ["c"], ["a"])
    first = (await admin.get(SOURCES, params={"limit": 3})).json()
    assert (len(first["items"]), first["total"]) == (3, 4)
    assert await codes(limit=3, cursor=first["next_cursor"]) == ["inbox"]


async def test_status_tells_how_the_last_reading_ended(app: Litestar, admin: httpx.AsyncClient) -> None:
    await admin.post(SOURCES, json=erp())
    nothing = {"last_run": None, "job": None, "dead_jobs": 0, "next_run_at": None, "last_error": None, "problem": None}
    assert await status(admin) == nothing
    assert_problem(await admin.get(f"{SOURCES}/none/status"), 404)
    await add_job(app, "erp", "failed", created_at=NOW - timedelta(days=1), finished_at=NOW, error="yesterday")
    last = await add_job(app, "erp", "done", finished_at=NOW)
    await add_run(app, last, "items.csv", read=10, taken=6, merged=1, rejected=3)
    await add_run(app, last, "stock.csv", "failed", error="no such column: item")
    found = await status(admin)
    assert found["last_run"] == {
        "job_id": str(last), "state": "done", "finished_at": "2026-11-23T06:30:00Z", "files": 2, "failed_files": 1,
        "read": 10, "taken": 6, "merged": 1, "rejected": 3,
    }  # fmt: skip
    assert (found["last_error"], found["dead_jobs"], found["job"]) == ("stock.csv: no such column: item", 1, None)
    # A retry that waits, and why; then a dead letter.
    job_id = await add_job(
        app, "erp", "waiting", run_at=NOW, failures=1, message="will retry: erp is down\nTraceback", created_at=NOW
    )
    found = await status(admin)
    assert found["job"] == {"job_id": str(job_id), "state": "waiting", "run_at": "2026-11-23T06:30:00Z"}
    assert found["last_error"] == "will retry: erp is down"
    later = NOW + timedelta(hours=1)
    await add_job(app, "erp", "held", created_at=later, finished_at=later, error="it took its worker down")
    await add_job(app, "erp", "running", created_at=later)
    found = await status(admin)
    assert (found["last_run"]["state"], found["last_run"]["files"], found["dead_jobs"]) == ("held", 0, 2)
    assert found["job"]["state"] == "running"


async def test_status_tells_when_a_source_is_read_next(app: Litestar, admin: httpx.AsyncClient) -> None:
    for code in ("erp", "off"):
        await admin.post(SOURCES, json=erp(code=code, active=code == "erp"))
    hours = {
        ("day", 5): {},
        ("ingest", 4): {"source": "erp"},
        ("ingest", 3): {"source": "off"},
        ("day", 2): {"ingest": {"source": "other"}},
        ("plan", 1): {},
    }
    async with app.state.connections.sessions.begin() as session:
        for (kind, hour), parameters in hours.items():
            at = NOW + timedelta(hours=hour)
            name = f"{kind} {hour}"
            session.add(Schedule(name=name, kind=kind, cron="0 6 * * *", parameters=parameters, next_run_at=at))
        session.add(Schedule(name="rests", kind="day", cron="0 6 * * *", enabled=False, next_run_at=NOW))
    assert (await status(admin))["next_run_at"] == "2026-11-23T10:30:00Z"
    assert (await status(admin, "off"))["next_run_at"] is None
    async with app.state.connections.sessions.begin() as session:
        await session.execute(text("DELETE FROM schedule WHERE kind = 'ingest'"))
    assert (await status(admin))["next_run_at"] == "2026-11-23T11:30:00Z"


async def test_uploads_have_a_status_too(app: Litestar, admin: httpx.AsyncClient) -> None:
    async with app.state.connections.sessions.begin() as session:
        await sources.put(session, Source(code=sources.UPLOAD, name="Uploads by hand", connector="upload"))
    await add_job(app, None, "done", finished_at=NOW)
    found = await status(admin, "upload")
    assert (found["last_run"]["state"], found["problem"]) == ("done", None)


async def test_the_list_asks_the_database_as_often_for_many_sources_as_for_one(
    app: Litestar, admin: httpx.AsyncClient
) -> None:
    statements: list[str] = []
    engine = app.state.connections.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: statements.append(statement))
    asked = []
    for count in (1, 30):
        async with app.state.connections.sessions.begin() as session:
            for number in range(count):
                await sources.put(session, Source(code=f"s{number}", name="s", connector="erp", config={}, rules=[]))
        statements.clear()
        assert len((await admin.get(SOURCES)).json()["items"]) == count
        asked.append(sum("FROM source" in each or "job" in each or "schedule" in each for each in statements))
    assert asked == [3, 3]


async def test_a_switched_off_connector_is_named_with_its_reason_everywhere(
    app: Litestar, admin: httpx.AsyncClient
) -> None:
    await admin.post(SOURCES, json=erp())
    connectors = {name: each for name, each in app.state.plugins.connectors.items() if name != "erp"}
    off = LoadFailure("erp", "fmrp-erp", None, "import of 'erp' failed: KeyError: token=hush-hush")
    twice = LoadFailure("more", "fmrp-erp", "erp", "has no version")
    app.state.plugins = LoadReport(MappingProxyType(connectors), (off, twice))
    reason = "import of 'erp' failed: KeyError: token=[redacted]; has no version"
    health = await admin.get(f"{API}/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert health.json()["switched_off"] == {"erp": reason}
    assert "erp" not in health.json()["connectors"]
    problem = f"connector 'erp' is switched off: {reason}"
    assert (await status(admin))["problem"] == problem
    listed = (await admin.get(f"{SOURCES}/connectors")).json()["items"]
    assert {each["problem"] for each in listed if each["name"] == "erp"} == set(reason.split("; "))
    assert (await admin.post(f"{SOURCES}/erp/check", json={})).json() == {"ok": False, "message": problem}
    assert (await admin.post(f"{SOURCES}/erp/discover", json={})).json()["message"] == problem
    assert assert_problem(await admin.post(SOURCES, json=erp(code="new")), 409)["detail"] == problem
    # What is stored can still be seen, changed but for its settings, and deleted.
    assert (await admin.get(f"{SOURCES}/erp")).json()["config"] == {"host": "(set)", "password": "(set)"}
    assert (await admin.patch(f"{SOURCES}/erp", json={"active": False})).status_code == 200
    assert (await admin.delete(f"{SOURCES}/erp")).status_code == 204
