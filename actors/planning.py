"""The planning actor's work: load the plant, plan it, store the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from actors.failure_alerts import job_succeeded
from actors.owner import Connections
from actors.plant_settings import read_settings
from actors.run import JobRun
from db.models import PlanningRun
from db.repositories import alerts, forecasts, plan_details, plans, plant, plant_settings
from planning.alerts import KINDS, AlertLimits
from planning.alerts import alerts as alerts_of
from planning.inputs import PlanInputs, PlanParameters
from planning.plan import Plan, plan
from planning.plant_settings import PlantSettings


@dataclass(frozen=True)
class _Watched:
    """What is looked at beside the plan: what lies in warehouses, and from where on to tell."""

    warehouses: pl.DataFrame
    limits: AlertLimits


class PlanningWork:
    """Nets the newest forecast and the plant's stock and orders into dated planned orders."""

    name = "planning"

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def perform(self, run: JobRun) -> None:
        """Parameters: `today` (ISO date, default this day in UTC), `horizon_weeks` (default: the plant's setting)."""
        today = date.fromisoformat(run.parameters.get("today") or datetime.now(UTC).date().isoformat())
        run.report(0.02, "loading", "reading the plant's data")
        inputs, forecast_run_id, parameters, watched = await self._load(today)
        if weeks := run.parameters.get("horizon_weeks"):
            parameters = replace(parameters, horizon_weeks=int(weeks))
        result = await run.in_thread(
            plan,
            inputs,
            parameters,
            lambda fraction, message: run.report(0.1 + 0.7 * fraction, "planning", message),
        )
        found = await run.in_thread(_alerts, result, inputs, today, watched)
        run.report(0.85, "storing", f"{result.orders.height} planned orders")
        planning_run = PlanningRun(
            job_id=run.job_id,
            forecast_run_id=forecast_run_id,
            as_of=today,
            horizon_days=parameters.horizon_weeks * 7,
            summary=result.summary,
            warnings=result.warnings.to_dicts(),
        )

        async def store(session: AsyncSession) -> None:
            await plans.store(session, planning_run, result.orders, result.capacity)
            await plan_details.store_stock_parameters(session, planning_run.id, result.stock_parameters)
            await alerts.settle(session, KINDS, found)
            await job_succeeded(session, run.kind, run.parameters, self._connections.settings)

        message = f"{result.summary['orders']:,} orders, {result.summary['critical']:,} critical"
        await run.finish(result.summary, message, store)

    async def _load(self, today: date) -> tuple[PlanInputs, Any, PlanParameters, _Watched]:
        async with self._connections.sessions() as session:
            # One snapshot: an ingestion that commits meanwhile is seen whole or not at all.
            await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            frames = await plant.read_plant(session)
            forecast_run = await forecasts.latest(session)
            if forecast_run is None:
                rows, series = pl.DataFrame(schema=plant.FORECAST_SCHEMA), pl.DataFrame(schema=plant.SERIES_SCHEMA)
            else:
                rows, series = await plant.read_forecast(session, forecast_run.id)
            history = await plant.read_weekly_history(session)
            settings = await read_settings(session, self._connections.settings)
            parameters = await _parameters(session, settings, today)
            watched = _Watched(await plant.read_warehouses(session), _limits(settings))
        inputs = PlanInputs(**frames, forecast=rows, forecast_series=series, weekly_history=history)
        return inputs, forecast_run.id if forecast_run else None, parameters, watched


async def _parameters(session: AsyncSession, settings: PlantSettings, today: date) -> PlanParameters:
    """As planners have set them."""
    holidays, working_days = await plant_settings.calendar_days(session)
    return PlanParameters(
        today=today,
        horizon_weeks=settings.planning_horizon_weeks,
        firm_horizon_weeks=settings.firm_horizon_weeks,
        holidays=holidays,
        weekmask=settings.weekmask,
        working_days=working_days,
        service_levels=settings.service_levels,
        order_cost=settings.default_order_cost,
        holding_rate=settings.default_holding_rate,
    )


def _limits(settings: PlantSettings) -> AlertLimits:
    return AlertLimits(
        full=settings.capacity_full,
        high=settings.capacity_high,
        extreme=settings.capacity_extreme,
        warehouse_warning=settings.warehouse_warning_share,
        warehouse_critical=settings.warehouse_critical_share,
    )


def _alerts(result: Plan, inputs: PlanInputs, today: date, watched: _Watched) -> pl.DataFrame:
    return alerts_of(
        result.orders,
        result.capacity,
        result.stock_parameters,
        result.warnings,
        inputs.open_orders,
        today,
        watched.warehouses,
        watched.limits,
    )
