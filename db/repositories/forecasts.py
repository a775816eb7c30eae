"""Forecast runs: stored in bulk, read by run, item and page."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date

import polars as pl
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.copy import stage
from db.models import Forecast, ForecastMetric, ForecastRun, ForecastSeries, Item
from db.paging import Order, Rows
from db.timeseries import prepare_months

SERIES_ORDER = Order(
    {
        "item": Item.code,
        "name": Item.name,
        "abc": ForecastSeries.abc,
        "demand_class": ForecastSeries.demand_class,
        "model": ForecastSeries.model,
    },
    default="item",
    key=Item.code,
)
# Item and week together name a row of a run.
ROWS_ORDER = Order({"item": Item.code}, default="item", key=Forecast.week)
RUNS_ORDER = Order(
    {"created_at": ForecastRun.created_at, "as_of": ForecastRun.as_of, "items": ForecastRun.items},
    default="-created_at",
    key=ForecastRun.id,
)
_METRICS = "series, wql, rmsse, mase, wape, bias, coverage_80"


async def store(
    session: AsyncSession, run: ForecastRun, forecast: pl.DataFrame, series: pl.DataFrame, metrics: pl.DataFrame
) -> None:
    """Store a run with its rows. Frames are keyed by item code; codes unknown by now are left out."""
    session.add(run)
    await session.flush()
    await prepare_months(await session.connection(), "forecast", forecast["week"].unique())
    await _insert(session, "forecast", run.id, forecast, "week, mean, q10, q25, q50, q75, q90")
    await _insert(
        session,
        "forecast_series",
        run.id,
        series,
        "demand_class, adi, cv2, abc, xyz, model, reason, service_level, lead_time_weeks, lead_time_mean,"
        " lead_time_quantile",
    )
    await stage(session, "staged", metrics.select("model", "demand_class", *_METRICS.split(", ")))
    await session.execute(
        text(
            f"INSERT INTO forecast_metric (run_id, model, demand_class, {_METRICS})"
            f" SELECT :run_id, model, demand_class, {_METRICS} FROM staged"
        ),
        {"run_id": run.id},
    )


async def _insert(session: AsyncSession, table: str, run_id: uuid.UUID, frame: pl.DataFrame, columns: str) -> None:
    names = columns.split(", ")
    await stage(session, "staged", frame.select("item", *names))
    values = ", ".join(f"s.{name}" for name in names)
    await session.execute(
        text(
            f"INSERT INTO {table} (run_id, item_id, {columns})"
            f" SELECT :run_id, i.id, {values} FROM staged s JOIN item i ON i.code = s.item"
        ),
        {"run_id": run_id},
    )


async def latest(session: AsyncSession) -> ForecastRun | None:
    """The newest run."""
    query = select(ForecastRun).order_by(ForecastRun.created_at.desc()).limit(1)
    return (await session.execute(query)).scalar_one_or_none()


def runs_statement() -> Rows:
    """All runs."""
    return select(ForecastRun)


async def metrics(session: AsyncSession, run_ids: Sequence[uuid.UUID]) -> Sequence[ForecastMetric]:
    """Accuracy rows of several runs at once."""
    query = (
        select(ForecastMetric)
        .where(ForecastMetric.run_id.in_(run_ids))
        .order_by(ForecastMetric.run_id, ForecastMetric.demand_class, ForecastMetric.model)
    )
    return (await session.execute(query)).scalars().all()


def series_statement(run_id: uuid.UUID, search: str | None) -> Rows:
    """Series rows of a run with the item's code and name, filtered by free text."""
    query = select(ForecastSeries, Item).join(Item, Item.id == ForecastSeries.item_id)
    query = query.where(ForecastSeries.run_id == run_id)
    if search:
        query = query.where(Item.code.icontains(search, autoescape=True) | Item.name.icontains(search, autoescape=True))
    return query


async def item_forecast(
    session: AsyncSession, run_id: uuid.UUID, code: str
) -> tuple[Item, ForecastSeries, Sequence[Forecast]] | None:
    """One item's series row and weekly rows in a run; None when the run has none for it."""
    query = series_statement(run_id, None).where(Item.code == code)
    found = (await session.execute(query)).one_or_none()
    if found is None:
        return None
    series, item = found
    rows = select(Forecast).where(Forecast.run_id == run_id, Forecast.item_id == item.id).order_by(Forecast.week)
    return item, series, (await session.execute(rows)).scalars().all()


def rows_statement(
    run_id: uuid.UUID, items: Sequence[str] = (), first: date | None = None, last: date | None = None
) -> Rows:
    """Weekly rows of a run with their item, of these items only, from `first` to `last`."""
    query = select(Forecast, Item).join(Item, Item.id == Forecast.item_id).where(Forecast.run_id == run_id)
    if items:
        query = query.where(Item.code.in_(items))
    if first is not None:
        query = query.where(Forecast.week >= first)
    if last is not None:
        query = query.where(Forecast.week <= last)
    return query
