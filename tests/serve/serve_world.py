"""A small plant behind the API, and clients that are logged in."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import polars as pl
import uvicorn
from litestar import Litestar
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.ext.asyncio import AsyncSession

from actors.owner import Connections
from db.models import ForecastRun, IngestRun, Job, PlanningRun, Source
from db.repositories import alerts, forecasts, plan_details, plans, rejected_rows, sources, targets, users
from serve.forecaster import AdHoc, Forecaster
from serve.security import AUDIENCE, ISSUER, User

PASSWORD = "correct horse battery"
# Cheap parameters: they travel in the hash, so checking is as cheap.
PASSWORD_HASH = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
ROLES = ("viewer", "operator", "manager", "admin")
MONDAY = date(2026, 11, 23)
RUN = MONDAY - timedelta(weeks=1)
API = "/api/v1"
PROBLEM_JSON = "application/problem+json"


async def add_user(connections: Connections, role: str, email: str | None = None) -> User:
    """An account with PASSWORD."""
    async with connections.sessions.begin() as session:
        account = await users.add(
            session, email=email or f"{role}@example.com", name=role.title(), role=role, password_hash=PASSWORD_HASH
        )
    return User(str(account.id), account.email, account.name, account.role)


def token_for(app: Litestar, user_id: str, **given: Any) -> str:
    """A bearer token as log-in makes it, or with other claims."""
    claims = {"token_issuer": ISSUER, "token_audience": AUDIENCE, **given}
    token: str = app.state.auth.create_token(user_id, **claims)
    return token


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


def http_client(app: Litestar, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """A client in this process; an exception the application lets through counts as its answer, not as the test's."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://fmrp.test", headers=headers)


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The answer is problem details of that status; returns them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].split(";")[0] == PROBLEM_JSON
    problem: dict[str, Any] = answer.json()
    assert problem.keys() >= {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == answer.request.url.path
    return problem


async def add_job(session: AsyncSession, kind: str = "forecast", state: str = "done", **fields: Any) -> Job:
    """A job row as it is after it ended."""
    job = Job(kind=kind, state=state, running_key=None, waiting_key=None, **fields)
    session.add(job)
    await session.flush()
    return job


ITEMS = ("A-100", "A-200", "B-1_0", "B-110", "C%50", "=1+1")


async def add_plant(session: AsyncSession) -> None:
    """Six items, one of them assembled, with a supplier, stock and demand."""
    kinds = ("finished", "finished", "component", "component", "raw_material", "component")
    rows = pl.DataFrame(
        {
            "code": ITEMS,
            "name": ["Pump", "Pump, large", "Shaft", "Seal", "Steel", "=HYPERLINK(1)"],
            "kind": kinds,
            "unit": ["pcs"] * 6,
            "category": ["pumps", "pumps", None, None, None, None],
            "cost": [50.0, 80.0, 5.0, 5.0, None, 1.0],
            "price": [99.0, 149.0, None, None, None, None],
            "lead_time_days": [2, 2, 10, 10, 20, 5],
            **{name: [None] * 6 for name in ("min_order_qty", "order_multiple", "safety_stock", "service_level")},
            "active": [True] * 6,
        },
        schema_overrides=dict.fromkeys(
            ("min_order_qty", "order_multiple", "safety_stock", "service_level"), pl.Float64
        ),
    )
    await targets.store(session, "items", rows, feed="test")
    supplier = pl.DataFrame(
        {"code": ["S-1"], "name": ["Smith"], "email": [None], "lead_time_days": [7], "active": [True]},
        schema_overrides={"email": pl.String},
    )
    await targets.store(session, "suppliers", supplier, feed="test")
    terms = {"item": ["B-110"], "supplier": ["S-1"], "price": [4.5], "min_order_qty": [10.0], "order_multiple": [5.0]}
    await targets.store(
        session, "supplier_terms", pl.DataFrame({**terms, "lead_time_days": [7], "priority": [1]}), feed="test"
    )
    bom = pl.DataFrame(
        {
            "parent": ["A-100"] * 2,
            "component": ["B-1_0", "B-110"],
            "quantity_per": [1.0, 2.5],
            "scrap_share": [0.0, 0.02],
            "valid_from": [None] * 2,
            "valid_to": [None] * 2,
        },
        schema_overrides={"valid_from": pl.Date, "valid_to": pl.Date},
    )
    await targets.store(session, "bom_lines", bom, feed="test")
    stock = pl.DataFrame(
        {"item": ["A-100"] * 2, "warehouse": ["main", "shop"], "on_hand": [7.0, 3.0], "reserved": [0.0] * 2}
    ).with_columns(quarantined=pl.lit(0.0))
    await targets.store(session, "stock", stock, feed="test")
    days = [date(2026, 11, 2), date(2026, 11, 4), date(2026, 11, 10), date(2026, 11, 23)]
    demand = pl.DataFrame(
        {"item": ["A-100"] * 4, "day": days, "quantity": [1.0, 2.0, 4.0, 8.0], "revenue": [10.0, 20.0, 40.0, 80.0]}
    )
    await targets.store(session, "demand", demand, feed="test")
    centre = pl.DataFrame({"code": ["W-1"], "name": ["Lathe"], "hours_per_day": [8.0], "efficiency": [1.0]})
    await targets.store(session, "work_centres", centre, feed="test")


async def add_forecast(session: AsyncSession, items: tuple[str, ...] = ("A-100", "A-200")) -> uuid.UUID:
    """A forecast run over those items, two weeks ahead."""
    job = await add_job(session, "forecast")
    weeks = [MONDAY, MONDAY + timedelta(weeks=1)]
    rows = pl.DataFrame({"item": [item for item in items for _ in weeks], "week": weeks * len(items)})
    rows = rows.with_columns(
        **{name: pl.lit(value) for name, value in (("mean", 5.0), ("q10", 1.0), ("q25", 3.0), ("q50", 5.0))},
        q75=pl.lit(7.0),
        q90=pl.lit(9.0),
    )
    numbers = ("adi", "cv2", "service_level", "lead_time_weeks", "lead_time_mean", "lead_time_quantile")
    series = pl.DataFrame({"item": items}).with_columns(
        demand_class=pl.lit("smooth"),
        abc=pl.lit("A"),
        xyz=pl.lit("X"),
        model=pl.lit("AutoETS"),
        reason=pl.lit("best in the backtest"),
        **{name: pl.lit(1.0) for name in numbers},
    )
    figures = ("wql", "rmsse", "mase", "wape", "bias", "coverage_80")
    metrics = pl.DataFrame({"model": ["AutoETS"], "demand_class": ["all"], "series": [2]}).with_columns(
        **{name: pl.lit(0.5) for name in figures}
    )
    run = ForecastRun(job_id=job.id, as_of=RUN, horizon_weeks=2, items=len(items))
    await forecasts.store(session, run, rows, series, metrics)
    return run.id


async def add_plan(session: AsyncSession) -> uuid.UUID:
    """A plan of four orders in order of urgency, and the load of one work centre."""
    job = await add_job(session, "plan")
    orders = pl.DataFrame(
        {
            "kind": ["purchase", "production", "purchase", "purchase"],
            "item": ["B-110", "A-100", "=1+1", "C%50"],
            "supplier": ["S-1", None, None, None],
            "quantity": [40.0, 10.0, 3.0, 2.0],
            "release_date": [date(2026, 11, 20), date(2026, 11, 24), date(2026, 11, 30), date(2026, 12, 7)],
            "due_date": [date(2026, 12, 1), date(2026, 12, 2), date(2026, 12, 9), date(2027, 1, 4)],
            "priority": ["critical", "high", "medium", "low"],
            "past_due_days": [3, 0, 0, 0],
            "unit_cost": [4.5, 50.0, 1.0, None],
            "value": [180.0, 500.0, 3.0, None],
            "cause": ["A-100", "forecast", "@SUM(A1)", "forecast"],
        }
    )
    capacity = pl.DataFrame(
        {"work_centre": ["W-1"] * 2, "week": [MONDAY, MONDAY + timedelta(weeks=1)], "load_hours": [20.0, 44.0]}
    ).with_columns(capacity_hours=pl.Series([40.0, 0.0]))
    run = PlanningRun(
        job_id=job.id,
        forecast_run_id=None,
        as_of=MONDAY,
        horizon_days=182,
        summary={"orders": 4, "critical": 1, "stock_value": 554.0},
        warnings=[{"item": "C%50", "field": "cost", "message": "missing"}],
    )
    await plans.store(session, run, orders, capacity)
    return run.id


async def add_plan_details(session: AsyncSession, run_id: uuid.UUID) -> None:
    """Stock parameters of three items, two action messages and a peg of the plan's first order."""
    parameters = pl.DataFrame(
        {
            "item": ["A-100", "B-110", "C%50"],
            "abc": ["A", "B", None],
            "xyz": ["X", "Z", None],
            "demand_class": ["smooth", "lumpy", None],
            "daily_demand_mean": [1.5, 4.0, 0.0],
            "lead_time_days": [2, 7, 20],
            "safety_stock": [5.0, 20.0, 0.0],
            "reorder_point": [8.0, 48.0, 0.0],
            "on_hand": [10.0, 12.0, 3.0],
            "available": [10.0, 12.0, 3.0],
            "coverage_days": [6.7, 3.0, None],
            "stock_out_on": [None, date(2026, 11, 26), None],
            "stock_value": [500.0, 54.0, None],
        }
    )
    await plan_details.store_stock_parameters(session, run_id, parameters)
    messages = pl.DataFrame(
        {
            "kind": ["expedite", "new"],
            "item": ["B-110", "A-100"],
            "open_order": ["PO-1", None],
            "order": [None, 2],
            "from_date": [date(2026, 12, 9), None],
            "to_date": [date(2026, 11, 26), date(2026, 12, 2)],
            "from_quantity": [30.0, None],
            "to_quantity": [30.0, 10.0],
            "priority": ["critical", "high"],
            "cause": ["10 of A-100 due 2026-12-02", "forecast"],
        }
    )
    await plan_details.store_action_messages(session, run_id, messages)
    pegging = pl.DataFrame(
        {
            "item": ["B-110", "A-100"],
            "supply_kind": ["planned_order", "planned_order"],
            "order": [1, 2],
            "demand_kind": ["planned_order", "firm_order"],
            "demand": [None, "C-1/1"],
            "demand_order": [2, None],
            "quantity": [25.0, 10.0],
            "due_date": [date(2026, 12, 1), date(2026, 12, 2)],
        }
    )
    await plan_details.store_pegging(session, run_id, pegging)


async def add_alerts(session: AsyncSession) -> None:
    """One alert of each severity, the least severe first."""
    found = pl.DataFrame(
        {
            "kind": ["data", "overload", "stock_out"],
            "subject": ["cost", "W-1 2026-11-23", "B-110"],
            "severity": ["info", "warning", "critical"],
            "message": ["cost: 1 items", "W-1: 44 hours", "B-110: stock runs out on 2026-11-26"],
            "item": [None, None, "B-110"],
            "work_centre": [None, "W-1", None],
            "day": [None, MONDAY, date(2026, 11, 26)],
        }
    )
    await alerts.settle(session, ["data", "overload", "stock_out"], found)


async def add_ingest_run(session: AsyncSession, file: str = "items.csv", source: str = "inbox") -> uuid.UUID:
    """A run that rejected three of its ten rows."""
    job = await add_job(session, "ingest")
    run = IngestRun(
        job_id=job.id, source=source, file=file, mapping="erp_items", target="items", state="done",
        read=10, taken=6, merged=1, rejected=3, started_at=datetime.now(UTC),
    )  # fmt: skip
    await sources.add_run(session, run)
    rejected = pl.DataFrame(
        {
            "line": [9, 4, 7],
            "field": ["cost"] * 3,
            "reason": ["not a number"] * 3,
            "raw": [json.dumps({"code": "A-100", "cost": "eighty"})] * 3,
            "parked": [False] * 3,
        }
    )
    await rejected_rows.store(session, run.id, rejected)
    return run.id


async def add_source(session: AsyncSession) -> None:
    """A source whose configuration holds a secret."""
    source = Source(code="inbox", name="Inbox", connector="folder", config={"password": "hush-hush"}, rules=[])
    await sources.put(session, source)


async def add_everything(session: AsyncSession) -> None:
    """Items, forecast, plan and ingestion runs to read."""
    await add_plant(session)
    await add_forecast(session)
    await add_plan(session)
    await add_ingest_run(session)
    await add_source(session)


async def predict(series: list[AdHoc], horizon: int) -> list[dict[str, Any]]:
    """What the forecaster deployment answers."""
    return (await asyncio.to_thread(Forecaster().predict, [(series, horizon)]))[0]


@asynccontextmanager
async def started(app: Litestar) -> AsyncIterator[Litestar]:
    """Between start and stop, both in one task of their own: a fixture's two halves run in different ones."""
    running, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            running.set()
            await over.wait()

    task = asyncio.create_task(live())
    ready = asyncio.create_task(running.wait())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    try:
        if running.is_set():
            yield app
    finally:
        over.set()
        await task


@asynccontextmanager
async def listening(app: Litestar) -> AsyncIterator[str]:
    """The application behind a real server on a free port; gives host:port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="websockets-sansio", lifespan="on")
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server ended while it started"
        await asyncio.sleep(0.01)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await asyncio.wait_for(task, 10)
