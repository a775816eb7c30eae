"""Forecast and plan of a small plant: rows land together with the job's end."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from queue_world import claim, get, perform, run_of, scalar, start
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from actors import flow, jobs
from actors.forecasting import SHARD, FitShard, ForecastingWork
from actors.owner import Connections, Outcome
from actors.planning import PlanningWork
from db.repositories import forecasts, plans, plant, plant_settings, targets
from db.repositories.jobs import Superseded
from forecasting.run import ChunkResult, Classification, forecast_chunk
from ingestion.targets import TARGETS

TODAY = date(2026, 11, 23)  # a Monday
WEEKS = 60


async def fit_here(
    series: pl.DataFrame,
    classes: Classification,
    lead_times: pl.DataFrame,
    horizon: int,
    service_levels: dict[str, float],
) -> ChunkResult:
    """What a forecaster replica does, in this process and without the backtest's minutes."""
    return await asyncio.to_thread(
        forecast_chunk,
        series,
        classes,
        horizon=horizon,
        lead_times=lead_times,
        service_levels=service_levels,
        with_backtest=False,
    )


async def store(connections: Connections, target: str, rows: list[dict[str, Any]], feed: str = "erp") -> None:
    async with connections.sessions.begin() as session:
        await targets.store(session, target, pl.DataFrame(rows, schema=TARGETS[target].schema()), feed=feed)


def sold(item: str, last: date, quantity: float = 10.0) -> list[dict[str, Any]]:
    """A sale each week up to `last`."""
    days = [last - timedelta(weeks=n) for n in range(WEEKS)]
    return [{"item": item, "day": day, "quantity": quantity, "revenue": 2 * quantity} for day in days]


@pytest.fixture
async def small_plant(connections: Connections) -> None:
    """A bike of two wheels, sold until last week, and an item of a shop that closed in 2010."""
    kinds = {"BIKE": "finished", "WHEEL": "component", "OLD": "trading_good"}
    items = [
        {"code": c, "name": c, "kind": k, "unit": "pcs", "active": True, "cost": 5.0, "lead_time_days": 5}
        for c, k in kinds.items()
    ]
    await store(connections, "items", items)
    await store(connections, "suppliers", [{"code": "S1", "name": "Sparta", "active": True}])
    await store(connections, "supplier_terms", [{"item": "WHEEL", "supplier": "S1", "price": 5.0, "priority": 1}])
    await store(
        connections, "bom_lines", [{"parent": "BIKE", "component": "WHEEL", "quantity_per": 2.0, "scrap_share": 0.0}]
    )
    await store(
        connections,
        "stock",
        [{"item": "BIKE", "warehouse": "main", "on_hand": 4.0, "reserved": 0.0, "quarantined": 0.0}],
    )
    await store(connections, "work_centres", [{"code": "M1", "name": "Mill", "hours_per_day": 8.0, "efficiency": 1.0}])
    await store(
        connections,
        "routings",
        [{"item": "BIKE", "sequence": 1, "work_centre": "M1", "setup_hours": 0.5, "unit_hours": 0.1}],
    )
    await store(connections, "demand", sold("BIKE", TODAY - timedelta(days=3)))
    await store(connections, "demand", sold("OLD", date(2010, 12, 3)), feed="shop")


async def forecast(connections: Connections, fit: FitShard = fit_here, **parameters: Any) -> tuple[Outcome, Any]:
    job = await start(connections, "forecast", parameters)
    return await perform(connections, ForecastingWork(connections, fit), job.id), await get(connections, job.id)


async def test_a_forecast_lands_with_its_jobs_end(connections: Connections, small_plant: None) -> None:
    outcome, job = await forecast(connections, horizon_weeks=6)
    assert outcome.end == "done"
    assert (job.state, job.message) == ("done", "2 items")
    async with connections.sessions() as session:
        run = await forecasts.latest(session)
        assert run is not None
        rows, series = await plant.read_forecast(session, run.id)
    assert (run.job_id, run.horizon_weeks, run.items) == (job.id, 6, 2)
    assert run.as_of == date(2026, 11, 16)
    assert series["item"].to_list() == ["BIKE", "OLD"]
    bike = rows.filter(pl.col("item") == "BIKE")
    assert bike["week"].to_list() == [TODAY + timedelta(weeks=n) for n in range(6)]
    assert bike["mean"].to_list() == pytest.approx([10.0] * 6, rel=0.2)
    quantiles = rows.select("q10", "q25", "q50", "q75", "q90").rows()
    assert all(list(row) == sorted(row) and row[0] >= 0 for row in quantiles)


async def test_a_feed_that_ended_in_2010_is_forecast_from_its_own_end(
    connections: Connections, small_plant: None
) -> None:
    await forecast(connections, horizon_weeks=6)
    async with connections.sessions() as session:
        run = await forecasts.latest(session)
        assert run is not None
        rows, _ = await plant.read_forecast(session, run.id)
    old = rows.filter(pl.col("item") == "OLD")
    # Not zero, as it would be if the silence of fifteen years counted as demand of nothing.
    assert old["mean"].to_list() == pytest.approx([10.0] * 6, rel=0.2)
    assert old["week"].min() == date(2010, 12, 6)
    tables = "SELECT count(*) FROM pg_inherits WHERE inhparent IN ('forecast'::regclass, 'demand'::regclass)"
    assert await scalar(connections, tables) < 50  # the years between have no tables


async def test_only_the_items_asked_for_are_forecast(connections: Connections, small_plant: None) -> None:
    _, job = await forecast(connections, items=["OLD"], horizon_weeks=4)
    assert job.message == "1 items"
    assert await scalar(connections, "SELECT count(*) FROM forecast") == 4


async def test_without_demand_the_forecast_says_what_to_do(connections: Connections) -> None:
    outcome, _ = await forecast(connections)
    assert (outcome.end, outcome.passing) == ("failed", False)
    assert outcome.error == "there is no demand to forecast: ingest sales first"


async def test_many_items_are_fitted_in_shards_and_none_is_left_out(connections: Connections) -> None:
    codes = [f"I{n:03d}" for n in range(SHARD + 3)]
    await store(
        connections,
        "items",
        [{"code": c, "name": c, "kind": "trading_good", "unit": "pcs", "active": True} for c in codes],
    )
    last = TODAY - timedelta(days=3)
    rows = [{"item": c, "day": last - timedelta(weeks=n), "quantity": 5.0} for c in codes for n in range(10)]
    await store(connections, "demand", rows)
    shards: list[int] = []

    async def counted(series: pl.DataFrame, *rest: Any) -> ChunkResult:
        shards.append(series["item"].n_unique())
        return await fit_here(series, *rest)

    outcome, job = await forecast(connections, counted, horizon_weeks=2)
    assert outcome.end == "done"
    assert sorted(shards) == [3, SHARD]
    assert job.result["items"] == len(codes)
    assert await scalar(connections, "SELECT count(DISTINCT item_id) FROM forecast") == len(codes)


@pytest.mark.parametrize(("fault", "passing"), [(ConnectionError("replica died"), True), (ValueError("bad"), False)])
async def test_a_fault_of_a_replica_is_told_as_it_is(
    connections: Connections, small_plant: None, fault: Exception, passing: bool
) -> None:
    async def fails(*_: Any) -> ChunkResult:
        raise fault

    outcome, _ = await forecast(connections, fails)
    assert (outcome.end, outcome.error, outcome.passing) == ("failed", str(fault), passing)
    assert await scalar(connections, "SELECT count(*) FROM forecast_run") == 0


async def test_a_forecast_is_cancelled_in_the_middle(connections: Connections, small_plant: None) -> None:
    job = await start(connections, "forecast")
    work = ForecastingWork(connections, fit_here)
    heard: list[str] = []

    async def cancelled_meanwhile(*arguments: Any) -> ChunkResult:
        async with connections.sessions.begin() as session:
            await jobs.cancel(session, job.id)
        deadline = asyncio.get_running_loop().time() + 10
        while running._stop is None:
            assert asyncio.get_running_loop().time() < deadline, "the run never heard of it"
            await asyncio.sleep(0.02)
        heard.append("stop")
        return await fit_here(*arguments)

    work._fit_shard = cancelled_meanwhile
    running = await run_of(connections, await claim(connections, job.id))
    from actors.run import Cancelled

    with pytest.raises(Cancelled):
        async with running.reporting():
            await work.perform(running)
    assert heard == ["stop"]
    assert await scalar(connections, "SELECT count(*) FROM forecast_run") == 0


async def plan_today(connections: Connections) -> tuple[Outcome, Any]:
    job = await start(connections, "plan", {"today": TODAY.isoformat(), "horizon_weeks": 6})
    return await perform(connections, PlanningWork(connections), job.id), await get(connections, job.id)


async def test_a_plan_lands_with_its_jobs_end_and_its_forecast(connections: Connections, small_plant: None) -> None:
    await forecast(connections, horizon_weeks=6)
    outcome, job = await plan_today(connections)
    assert outcome.end == "done"
    async with connections.sessions() as session:
        run = await plans.latest(session)
        newest = await forecasts.latest(session)
        assert run is not None
        assert newest is not None
        orders = (await session.execute(plans.orders_statement(run.id))).all()
        load = await plans.capacity(session, run.id)
    assert (run.job_id, run.forecast_run_id, run.as_of, run.horizon_days) == (job.id, newest.id, TODAY, 42)
    assert len(orders) == job.result["orders"] > 0
    made = sum(order.quantity for order, item, _ in orders if item.code == "BIKE")
    bought = sum(order.quantity for order, item, _ in orders if item.code == "WHEEL")
    assert bought == 2 * made > 0
    assert {(order.kind, item.code, supplier.code if supplier else None) for order, item, supplier in orders} == {
        ("production", "BIKE", None),
        ("purchase", "WHEEL", "S1"),
    }
    assert sorted(order.rank for order, _, _ in orders) == list(range(1, len(orders) + 1))
    assert {centre.code for _, centre in load} == {"M1"}
    assert sum(row.load_hours for row, _ in load) > 0


async def test_a_plant_without_forecast_is_planned_by_its_orders_alone(
    connections: Connections, small_plant: None
) -> None:
    order = {"number": "C1", "line": 1, "item": "BIKE", "quantity": 9.0, "due_date": TODAY + timedelta(weeks=2)}
    await store(connections, "firm_orders", [order])
    outcome, job = await plan_today(connections)
    assert outcome.end == "done"
    assert await scalar(connections, "SELECT forecast_run_id IS NULL FROM planning_run")
    assert job.result["orders"] == 2


async def test_an_empty_plant_gives_an_empty_plan(connections: Connections) -> None:
    outcome, job = await plan_today(connections)
    assert (outcome.end, job.result["orders"]) == ("done", 0)


@pytest.mark.parametrize("kind", ["forecast", "plan"])
async def test_a_superseded_run_leaves_no_rows(connections: Connections, small_plant: None, kind: str) -> None:
    job = await start(connections, kind, {"horizon_weeks": 4})
    old = await run_of(connections, await claim(connections, job.id))
    await claim(connections, job.id)
    work = ForecastingWork(connections, fit_here) if kind == "forecast" else PlanningWork(connections)
    with pytest.raises(Superseded):
        await work.perform(old)
    for table in ("forecast_run", "forecast", "planning_run", "planned_order", "stock_parameter", "alert"):
        assert await scalar(connections, f"SELECT count(*) FROM {table}") == 0


async def test_a_plan_whose_job_cannot_end_is_not_stored(
    connections: Connections, small_plant: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(session: AsyncSession, child: Any) -> list[Any]:
        raise RuntimeError("commit failed")

    monkeypatch.setattr(flow, "advance_parent", fails)
    outcome, job = await plan_today(connections)
    assert (outcome.end, job.state) == ("failed", "running")
    assert await scalar(connections, "SELECT count(*) FROM planning_run") == 0


async def open_alerts(connections: Connections) -> dict[tuple[str, str], int]:
    """How often each open alert was found, by kind and subject."""
    async with connections.sessions() as session:
        query = text("SELECT kind, subject, count FROM alert WHERE state = 'open'")
        return {(kind, subject): count for kind, subject, count in await session.execute(query)}


async def test_a_plan_says_how_items_are_stocked(connections: Connections, small_plant: None) -> None:
    await forecast(connections, horizon_weeks=6)
    await plan_today(connections)
    async with connections.sessions() as session:
        query = text(
            "SELECT i.code, p.* FROM stock_parameter p JOIN item i ON i.id = p.item_id WHERE i.code <> 'OLD' ORDER BY 1"
        )
        bike, wheel = (await session.execute(query)).all()
    assert (bike.on_hand, bike.available, bike.lead_time_days, bike.demand_class) == (4.0, 4.0, 5, "smooth")
    assert bike.daily_demand_mean == pytest.approx(2.0, rel=0.2)
    assert bike.stock_out_on == date(2026, 11, 25)
    assert bike.below_safety_stock is (bike.available < bike.safety_stock)
    assert (wheel.abc, wheel.on_hand, wheel.coverage_days) == (None, 0.0, 0.0)


async def test_a_plan_raises_alerts_counts_them_again_and_resolves_what_is_gone(
    connections: Connections, small_plant: None
) -> None:
    await forecast(connections, horizon_weeks=6)
    late = {"number": "P1", "kind": "purchase", "item": "WHEEL", "supplier": "S1", "quantity": 2.0}
    await store(connections, "open_orders", [{**late, "due_date": TODAY - timedelta(days=9)}])
    await plan_today(connections)
    first = await open_alerts(connections)
    assert {("stock_out", "BIKE"), ("overdue_order", "P1 WHEEL")} <= first.keys()
    assert set(first.values()) == {1}
    await plan_today(connections)
    assert await open_alerts(connections) == dict.fromkeys(first, 2)
    stock = {"warehouse": "main", "on_hand": 1e4, "reserved": 0.0, "quarantined": 0.0}
    await store(connections, "stock", [{"item": item, **stock} for item in ("BIKE", "WHEEL")])
    await store(connections, "open_orders", [{**late, "due_date": TODAY + timedelta(days=9)}])
    await plan_today(connections)
    assert await open_alerts(connections) == {key: 3 for key in first if key[0] == "data"}
    assert await scalar(connections, "SELECT count(*) FROM alert WHERE changed_by = 'system'") > 1


async def set_plant(connections: Connections, **values: Any) -> None:
    async with connections.sessions.begin() as session:
        await plant_settings.store(session, values)


async def test_a_forecast_goes_by_the_plants_service_levels_and_class_limits(
    connections: Connections, small_plant: None
) -> None:
    async def series() -> dict[str, list[Any]]:
        await forecast(connections, horizon_weeks=4)
        async with connections.sessions() as session:
            run = await forecasts.latest(session)
            assert run is not None
            _, rows = await plant.read_forecast(session, run.id)
        return {item: given for item, *given in rows.select("item", "abc", "xyz", "service_level").rows()}

    assert await series() == {"BIKE": ["A", "X", 0.97], "OLD": ["C", "X", 0.85]}
    await set_plant(connections, service_level_a=0.99, service_level_c=0.75, xyz_x_limit=0.02, xyz_y_limit=2.0)
    async with connections.sessions.begin() as session:
        changed = "UPDATE demand SET quantity = 30 WHERE day = (SELECT max(day) FROM demand WHERE feed = 'erp')"
        await session.execute(text(changed))
    assert await series() == {"BIKE": ["A", "Y", 0.99], "OLD": ["C", "X", 0.75]}


async def test_a_plan_goes_by_the_calendar_and_the_limits_of_the_plant(
    connections: Connections, small_plant: None
) -> None:
    await forecast(connections, horizon_weeks=6)
    async with connections.sessions.begin() as session:
        saturday, wednesday = TODAY + timedelta(days=5), TODAY + timedelta(days=9)
        await session.execute(
            text("INSERT INTO calendar_day (id, day, working) VALUES (gen_random_uuid(), :a, true),"
                 " (gen_random_uuid(), :b, false)"), {"a": saturday, "b": wednesday},
        )  # fmt: skip
        await session.execute(text("UPDATE warehouse SET capacity_m3 = 5 WHERE code = 'main'"))
        await session.execute(text("UPDATE item SET volume_m3 = 1 WHERE code = 'BIKE'"))  # four are on hand
    await plan_today(connections)
    hours = "SELECT capacity_hours FROM capacity_load ORDER BY week LIMIT 1 OFFSET "
    assert [await scalar(connections, f"{hours}{week}") for week in range(3)] == [48.0, 32.0, 40.0]
    assert not {kind for kind, _ in await open_alerts(connections)} & {"warehouse", "overload"}

    limits = {"capacity_full": 0.01, "capacity_high": 0.02, "capacity_extreme": 0.03}
    await set_plant(connections, warehouse_warning_share=0.6, warehouse_critical_share=0.75, **limits)
    await plan_today(connections)
    found = await open_alerts(connections)
    assert ("warehouse", "main") in found
    assert "overload" in {kind for kind, _ in found}
    told = "SELECT severity || ' ' || message FROM alert WHERE kind = 'warehouse'"
    assert await scalar(connections, told) == "critical main: 4 of 5 m³ in use (80 %)"
