"""The forecasting actor's work: classify demand, have the forecaster replicas fit shards of it, store the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import polars as pl
from sqlalchemy.ext.asyncio import AsyncSession

from actors import metrics
from actors.failure_alerts import job_succeeded
from actors.owner import Connections
from actors.plant_settings import read_settings
from actors.run import JobRun
from db.models import ForecastRun
from db.repositories import forecasts, plant
from forecasting.classes import ClassLimits
from forecasting.run import ChunkResult, Classification, classify, combine
from forecasting.series import weekly_series
from planning.plant_settings import PlantSettings

# Series a replica fits in one call: small enough for a lively progress bar, large enough to be worth the trip.
SHARD = 25
IN_FLIGHT = 2

# Series, classes, lead times, horizon in weeks, service level by ABC class.
FitShard = Callable[[pl.DataFrame, Classification, pl.DataFrame, int, dict[str, float]], Awaitable[ChunkResult]]


class NoDemand(ValueError):
    """There is nothing to forecast yet."""


class ForecastingWork:
    """Forecasts every active item with demand. `fit_shard` runs one shard on a forecaster replica."""

    name = "forecasting"

    def __init__(self, connections: Connections, fit_shard: FitShard) -> None:
        self._connections = connections
        self._fit_shard = fit_shard

    async def perform(self, run: JobRun) -> None:
        """Parameters: `horizon_weeks` (default: the plant's setting), `items` (list of codes; default all)."""
        run.report(0.01, "loading", "reading demand")
        async with self._connections.sessions() as session:
            demand = await plant.read_demand(session)
            lead_times = await plant.read_lead_times(session)
            settings = await read_settings(session, self._connections.settings)
        horizon = int(run.parameters.get("horizon_weeks") or settings.forecast_horizon_weeks)
        if codes := run.parameters.get("items"):
            demand = demand.filter(pl.col("item").is_in(codes))
        if demand.is_empty():
            raise NoDemand("there is no demand to forecast: ingest sales first")
        run.report(0.03, "classifying", f"{demand['item'].n_unique()} items")
        series, classes = await run.in_thread(_prepare, demand, horizon, class_limits(settings))
        lead_time_weeks = lead_times.select(
            "item", (pl.col("lead_time_days").cast(pl.Float64).fill_null(5.0) / 5.0).alias("lead_time_weeks")
        )
        chunks = await self._fit(run, series, classes, lead_time_weeks, horizon, settings.service_levels)
        result = await run.in_thread(combine, chunks)
        run.report(0.95, "storing", f"{result.forecast.height} forecast rows")
        as_of = series["week"].max()
        assert isinstance(as_of, date)
        forecast_run = ForecastRun(job_id=run.job_id, as_of=as_of, horizon_weeks=horizon, items=result.series.height)

        async def store(session: AsyncSession) -> None:
            await forecasts.store(session, forecast_run, result.forecast, result.series, result.metrics)
            await job_succeeded(session, run.kind, run.parameters, self._connections.settings)

        accuracy = _accuracy(result.metrics)
        await run.finish(
            {"items": result.series.height, "as_of": as_of.isoformat(), **accuracy},
            f"{result.series.height:,} items",
            store,
        )
        metrics.FORECAST_ITEMS.inc(result.series.height)

    async def _fit(
        self,
        run: JobRun,
        series: pl.DataFrame,
        classes: Classification,
        lead_times: pl.DataFrame,
        horizon: int,
        service_levels: dict[str, float],
    ) -> list[ChunkResult]:
        codes = classes.items["item"].to_list()
        shards = [codes[start : start + SHARD] for start in range(0, len(codes), SHARD)]
        gate = asyncio.Semaphore(IN_FLIGHT)
        done = 0

        async def fit(shard: list[str]) -> ChunkResult:
            nonlocal done
            chosen = pl.col("item").is_in(shard)
            async with gate:
                run.report(0.05 + 0.9 * done / len(codes), "forecasting", f"{done} of {len(codes)} items")
                chunk = await self._fit_shard(
                    series.filter(chosen), classes.part(shard), lead_times.filter(chosen), horizon, service_levels
                )
            done += len(shard)
            run.report(0.05 + 0.9 * done / len(codes), "forecasting", f"{done} of {len(codes)} items")
            return chunk

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fit(shard)) for shard in shards]
        except ExceptionGroup as failures:
            # The first one bare: whether it was a cancellation or a passing fault is told by its type.
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]


def class_limits(settings: PlantSettings) -> ClassLimits:
    """Where the plant's classes end."""
    return ClassLimits(settings.abc_a_share, settings.abc_b_share, settings.xyz_x_limit, settings.xyz_y_limit)


def _prepare(demand: pl.DataFrame, horizon: int, limits: ClassLimits) -> tuple[pl.DataFrame, Classification]:
    """Weekly series and their classes. A series ends where its feed ends: silence after that is not zero demand."""
    feed_ends = demand.group_by("feed").agg(pl.col("day").max())
    ends = demand.select("item", "feed").unique().join(feed_ends, on="feed").group_by("item").agg(pl.col("day").max())
    series = weekly_series(demand.select("item", "day", "quantity"), ends)
    last_year = demand["day"].max() - timedelta(days=364)  # type: ignore[operator]
    revenue = (
        demand.filter(pl.col("day") > last_year)
        .group_by("item")
        .agg(pl.col("revenue").fill_null(0.0).sum().alias("revenue"))
    )
    return series, classify(series, revenue, horizon=horizon, limits=limits)


def _accuracy(metrics: pl.DataFrame) -> dict[str, Any]:
    """Scaled pinball loss of the chosen models and of the baselines over all series, for the job's result."""
    overall = metrics.filter(pl.col("demand_class") == "all")
    return {"wql": dict(overall.select("model", "wql").iter_rows())}
