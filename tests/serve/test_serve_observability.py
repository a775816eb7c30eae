"""One trace from the request to the database of the attempt, and a public page of metrics that stands without its
sources."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import structlog
from litestar import Litestar
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from serve_world import API, add_job, add_user, bearer, http_client, started, token_for
from sqlalchemy import make_url, text
from structlog.testing import capture_logs

from actors import metrics
from actors.dispatch import Dispatcher
from actors.events import progress_event
from actors.identity import IDENTITY
from actors.logs import redact_fields
from actors.metrics_exchange import write_snapshot
from actors.owner import Connections, Owner
from actors.run import JobRun
from actors.telemetry import configure_telemetry, current_ids, shutdown_telemetry
from cluster.local.redis import free_port
from db.tracing import trace_engine
from serve import scrape
from serve.application import build_app
from serve.observation import observed
from settings import Settings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def spans(settings: Settings) -> Iterator[InMemorySpanExporter]:
    """Spans of this process, as they end."""
    exporter = InMemorySpanExporter()
    configure_telemetry(settings, "test", exporter=exporter)
    yield exporter
    shutdown_telemetry()


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the page makes it anew."""
    monkeypatch.setattr(scrape, "FRESH_S", -1.0)


async def samples_of(client: httpx.AsyncClient, path: str = "/metrics") -> dict[tuple[str, ...], float]:
    """Value by name and labels, those of origin left out."""
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = [value for name, value in sample.labels.items() if name not in ("process", "instance")]
            found[sample.name, *sorted(labels)] = sample.value
    return found


async def test_one_trace_goes_from_the_request_through_the_row_to_the_attempts_statements(
    spans: InMemorySpanExporter, app: Litestar, operator: httpx.AsyncClient
) -> None:
    connections: Connections = app.state.connections
    trace_engine(connections.engine)

    class Work:
        name = "planning"

        async def perform(self, run: JobRun) -> None:
            async with run.sessions() as session:
                await session.execute(text("SELECT 'of the work'"))
            structlog.get_logger().info("at work")
            await run.finish({}, "done")

    caller = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    answer = await operator.post(f"{API}/jobs", json={"kind": "plan"}, headers=caller)
    assert answer.status_code == 202
    assert answer.headers["x-trace-id"] == TRACE
    job_id = answer.json()["id"]
    dispatcher = Dispatcher(connections.settings, connections, {"planning": Owner(Work(), connections)})
    with capture_logs(processors=[structlog.contextvars.merge_contextvars, add_trace]) as lines:
        serving = asyncio.create_task(dispatcher.run())
        async with asyncio.timeout(20):
            while (await operator.get(f"{API}/jobs/{job_id}")).json()["state"] != "done":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await dispatcher.stop()
        await serving

    by_id = {each.context.span_id: each for each in spans.get_finished_spans()}
    statement = next(each for each in by_id.values() if "of the work" in str(each.attributes))
    chain = [each.name for each in ancestry(statement, by_id)]
    assert chain == ["SELECT", "attempt planning", "dispatch", f"POST {API}/jobs"]
    assert f"{statement.context.trace_id:032x}" == TRACE
    inserts = [each for each in by_id.values() if each.name == "INSERT" and each.context.trace_id == int(TRACE, 16)]
    assert inserts, "the request's own statements are not in its trace"
    at_work = next(line for line in lines if line["event"] == "at work")
    assert (at_work["job"], at_work["run"], at_work["actor"]) == (job_id, 1, "planning")
    assert at_work["trace_id"] == TRACE


def ancestry(span: ReadableSpan, by_id: dict[int, ReadableSpan]) -> list[ReadableSpan]:
    """The span, its parent, and so on as far as they are ours."""
    parent = by_id.get(span.parent.span_id) if span.parent else None
    return [span, *(ancestry(parent, by_id) if parent else [])]


def add_trace(_logger: Any, _method: str, event: Any) -> Any:
    """As the configured logs do it."""
    event["trace_id"] = (current_ids() or ("", ""))[0]
    return redact_fields(None, "", event)


async def test_a_failed_request_is_a_failed_span_named_by_its_route(
    spans: InMemorySpanExporter, viewer: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("password=hunter2")

    from db.repositories import items

    monkeypatch.setattr(items, "find", broken)
    answer = await viewer.get(f"{API}/demand/A-100")
    assert answer.status_code == 500
    (request,) = [each for each in spans.get_finished_spans() if each.name.startswith("GET")]
    assert request.name == f"GET {API}/demand/{{item}}"
    assert request.attributes["http.response.status_code"] == 500
    assert not request.status.is_ok
    assert "hunter2" not in request.to_json()


async def test_requests_are_timed_by_route_and_never_by_path(
    anyone: httpx.AsyncClient, viewer: httpx.AsyncClient
) -> None:
    await viewer.get(f"{API}/jobs/{uuid.uuid4()}")
    await anyone.get("/made-up/by-a-caller")
    await anyone.request("FROB", f"{API}/items")
    await anyone.get(f"{API}/items")
    found = await samples_of(anyone)
    name = "fmrp_http_request_seconds_count"
    for labels in (
        ("GET", f"{API}/jobs/{{job_id}}", "4xx"), ("GET", "unmatched", "4xx"), ("GET", f"{API}/items", "4xx"),
    ):  # fmt: skip
        assert found[name, *sorted(labels)] >= 1, labels
    text = (await anyone.get("/metrics")).text
    assert "made-up" not in text
    assert "FROB" not in text


async def test_the_queue_is_read_from_the_database(app: Litestar, anyone: httpx.AsyncClient) -> None:
    now = datetime.now(UTC)
    async with app.state.connections.sessions.begin() as session:
        due = [await add_job(session, "plan", "waiting") for _ in range(3)]
        await add_job(session, "forecast", "running")
        await add_job(session, "ingest", "failed")
        await add_job(session, "ingest", "held")
        await add_job(session, "day", "done", finished_at=now)
        for job, seconds, priority in zip(due, (-90, -30, 3600), (0, 5, 9), strict=True):
            values = {"id": job.id, "at": now + timedelta(seconds=seconds), "priority": priority}
            await session.execute(text("UPDATE job SET run_at = :at, priority = :priority WHERE id = :id"), values)
        await session.execute(text("INSERT INTO kind_control (kind, paused) VALUES ('plan', true)"))
        for name, kind, hours in (("a", "day", -1), ("b", "day", 1), ("c", "plan", 1)):
            values = {"name": name, "kind": kind, "at": now + timedelta(hours=hours)}
            await session.execute(
                text("INSERT INTO schedule (id, name, kind, cron, next_run_at)"
                     " VALUES (gen_random_uuid(), :name, :kind, '0 6 * * *', :at)"), values
            )  # fmt: skip
        for number, (state, seconds) in enumerate((("serving", 0), ("serving", 60), ("draining", 0))):
            values = {"name": f"d{number}", "state": state, "at": now - timedelta(seconds=seconds)}
            await session.execute(
                text("INSERT INTO worker (id, actor, name, host, pid, state, heartbeat_at)"
                     " VALUES (gen_random_uuid(), :name, :name, 'h', 1, :state, :at)"), values
            )  # fmt: skip
    found = await samples_of(anyone)
    assert found["fmrp_jobs", "plan", "waiting"] == 3
    assert found["fmrp_jobs", "forecast", "running"] == 1
    assert found["fmrp_jobs", "failed", "ingest"] == found["fmrp_jobs", "held", "ingest"] == 1
    assert found["fmrp_jobs", "ingest", "waiting"] == 0
    assert found["fmrp_queue_due_jobs", "plan"] == 2
    assert 90 <= found["fmrp_queue_oldest_due_seconds", "plan"] < 120
    assert found["fmrp_queue_oldest_due_seconds", "forecast"] == 0
    assert found["fmrp_kind_paused", "plan"] == 1
    assert found["fmrp_dispatchers", "serving"] == found["fmrp_dispatchers", "draining"] == 1
    assert 3600 <= found["fmrp_schedule_late_seconds", "day"] < 3700
    assert found["fmrp_schedule_late_seconds", "plan"] == 0
    assert found["fmrp_last_success_timestamp_seconds", "day"] == pytest.approx(now.timestamp(), abs=1)
    assert found["fmrp_scrape_part_up", "database"] == found["fmrp_scrape_part_up", "processes"] == 1


async def test_the_page_shows_the_counts_of_other_processes(
    app: Litestar, anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(IDENTITY, "process", "planning")
        elsewhere.setattr(IDENTITY, "instance", "elsewhere")
        metrics.cache_asked("plans", hit=True)
        await write_snapshot(app.state.connections.redis, 60)
    page = (await anyone.get("/metrics")).text
    families = {each.name: each for each in text_string_to_metric_families(page)}
    origins = {(each.labels["process"], each.labels["instance"]) for each in families["fmrp_cache_requests"].samples}
    assert origins == {("planning", "elsewhere"), (IDENTITY.process, IDENTITY.instance)}
    processes = {each.labels["process"]: each.value for each in families["fmrp_processes"].samples}
    assert processes == {"planning": 1, IDENTITY.process: 1}
    assert page.count("# TYPE fmrp_cache_requests_total") == 1


@pytest.fixture
async def stranded(settings: Settings) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """The API without its database, and without Redis."""
    away = make_url(settings.require_database_url()).set(port=free_port()).render_as_string(hide_password=False)
    lost = {
        "database": {"database_url": SecretStr(away)},
        "processes": {"redis_url": SecretStr(f"redis://127.0.0.1:{free_port()}")},
    }
    async with (
        started(build_app(settings.model_copy(update=lost["database"]), nothing)) as first,
        started(build_app(settings.model_copy(update=lost["processes"]), nothing)) as second,
        http_client(first) as no_database,
        http_client(second) as no_redis,
    ):
        yield {"database": no_database, "processes": no_redis}


async def nothing(*_: object) -> list[dict[str, Any]]:
    """No forecaster."""
    return []


async def test_the_page_stands_without_the_database_or_redis(stranded: dict[str, httpx.AsyncClient]) -> None:
    for part, other in (("database", "processes"), ("processes", "database")):
        found = await samples_of(stranded[part])
        assert found["fmrp_scrape_part_up", part] == 0
        assert found["fmrp_scrape_part_up", other] == 1
        assert "fmrp_event_clients" in {name for name, *_ in found}
        assert (("fmrp_jobs", "plan", "waiting") in found) == (part != "database")


async def test_nothing_secret_or_personal_is_on_the_page(app: Litestar, settings: Settings) -> None:
    user = await add_user(app.state.connections, "viewer", "anna.smith@example.com")
    token = token_for(app, user.id)
    async with http_client(app, bearer(token)) as client:
        await client.post(f"{API}/auth/login", json={"email": "anna.smith@example.com", "password": "hush-hush-1"})
        await client.get(f"{API}/events?ticket=hush-hush-2")
        await client.get(f"{API}/demand/SECRET-ITEM")
        page = (await client.get("/metrics")).text
    known = (settings.database_url, settings.redis_url, settings.token_secret)
    secrets = [secret.get_secret_value() for secret in known if secret is not None]
    for hidden in (*secrets, token, user.id, "anna", "example.com", "hush", "SECRET-ITEM", "127.0.0.1"):
        assert hidden not in page, hidden


async def test_however_often_it_is_asked_for_the_page_is_made_once_in_a_while(
    app: Litestar, anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape, "FRESH_S", 60.0)
    made = 0
    make = scrape.ScrapePage._make

    async def counted(page: scrape.ScrapePage) -> bytes:
        nonlocal made
        made += 1
        return await make(page)

    monkeypatch.setattr(scrape.ScrapePage, "_make", counted)
    for path in ("/metrics", f"{API}/metrics", "/metrics"):
        assert (await anyone.get(path)).status_code == 200
    assert made == 1


async def test_an_event_is_timed_from_its_making_to_the_hub(app: Litestar) -> None:
    def arrived() -> float:
        return metrics.REGISTRY.get_sample_value("fmrp_event_lag_seconds_count") or 0.0

    before = arrived()
    async with asyncio.timeout(10):
        while arrived() == before:  # the reader may not have its place yet
            await app.state.connections.events.publish(progress_event("job.changed", uuid.uuid4(), None, "plan"))
            await asyncio.sleep(0.05)


async def test_what_is_no_http_request_passes_by() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await observed(app)({"type": "websocket", "path": "/"}, None, None)  # type: ignore[arg-type]
    assert seen == ["websocket"]
