"""Forecast runs, per-item forecasts, and forecasts of series sent along."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from litestar import Router, get, post
from litestar.datastructures import State
from litestar.exceptions import ValidationException
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import ForecastRun
from db.paging import fetch_page
from db.repositories import forecasts
from serve.parameters import (
    FIRST_DAY,
    LAST_DAY,
    NO_CONTROL,
    PLANT_DAY,
    Cursor,
    Limit,
    Quantity,
    Search,
    sorts,
    text_parameter,
)
from serve.problems import ERRORS, Conflict, NotFound
from serve.schemas import (
    ForecastRow,
    ForecastRunOut,
    ItemForecastOut,
    Listing,
    SeriesOut,
    forecast_row,
    forecast_run_out,
    series_out,
)
from serve.security import OPERATOR, VIEWER

MAX_SERIES = 200
MAX_WEEKS = 1600


class SeriesIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A weekly series; `start` is a Monday, null is a week without a record (no demand)."""

    item: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=NO_CONTROL)]
    start: Annotated[date, msgspec.Meta(extra_json_schema={"pattern": PLANT_DAY})]
    values: Annotated[list[Quantity | None], msgspec.Meta(min_length=1, max_length=MAX_WEEKS)]


class PredictIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Series to forecast and how many weeks ahead."""

    series: Annotated[list[SeriesIn], msgspec.Meta(min_length=1, max_length=MAX_SERIES)]
    horizon: Annotated[int, msgspec.Meta(ge=1, le=52)] = 13


class PredictedOut(msgspec.Struct, frozen=True):
    """The forecast of one series, the model that made it, and why that one."""

    item: str
    model: str
    reason: str
    rows: list[ForecastRow]


class PredictOut(msgspec.Struct, frozen=True):
    """One forecast a series, in the order asked."""

    forecasts: list[PredictedOut]


@get("/", opt=VIEWER, responses=ERRORS, operation_id="listForecasts", summary="Forecast runs, newest first")
async def list_runs(
    session: AsyncSession,
    sort: Annotated[str | None, sorts(forecasts.RUNS_ORDER)] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Listing[ForecastRunOut]:
    """Runs with their accuracy."""
    query = forecasts.runs_statement()
    page = await fetch_page(session, query, forecasts.RUNS_ORDER, sort=sort, limit=limit, cursor=cursor)
    runs = [row[0] for row in page.rows]
    metrics = list(await forecasts.metrics(session, [run.id for run in runs]))
    return Listing([forecast_run_out(run, metrics) for run in runs], page.next_cursor, page.total)


@get("/latest", opt=VIEWER, responses=ERRORS, operation_id="getLatestForecastRun", summary="The newest forecast run")
async def get_latest(session: AsyncSession) -> ForecastRunOut:
    """The newest run with its accuracy."""
    run = await _latest(session)
    return forecast_run_out(run, list(await forecasts.metrics(session, [run.id])))


@get(
    "/latest/series",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="listForecastSeries",
    summary="How each item was forecast",
)
async def list_series(
    session: AsyncSession,
    search: Search = None,
    sort: Annotated[str | None, sorts(forecasts.SERIES_ORDER)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[SeriesOut]:
    """Class, model and reason per item."""
    run = await _latest(session)
    query = forecasts.series_statement(run.id, search)
    page = await fetch_page(session, query, forecasts.SERIES_ORDER, sort=sort, limit=limit, cursor=cursor)
    return Listing([series_out(row[0], row[1]) for row in page.rows], page.next_cursor, page.total)


@get(
    "/latest/items/{code:str}",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getItemForecast",
    summary="The newest forecast of an item",
)
async def get_item_forecast(
    session: AsyncSession, code: Annotated[str, text_parameter("Code of an item.")]
) -> ItemForecastOut:
    """Weekly mean and quantiles of one item."""
    run = await _latest(session)
    found = await forecasts.item_forecast(session, run.id, code)
    if found is None:
        raise NotFound(f"the newest forecast has no item {code!r}")
    item, series, rows = found
    fields = msgspec.structs.asdict(series_out(series, item))
    return ItemForecastOut(**fields, rows=[forecast_row(row) for row in rows])


@post(
    "/predict",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=200,
    operation_id="predict",
    summary="Forecast the series sent along",
)
async def predict(data: PredictIn, state: State) -> PredictOut:
    """Forecast ad-hoc series on the forecaster replicas; nothing is stored."""
    starts = {f"series.{position}.start": each.start for position, each in enumerate(data.series)}
    if outside := [name for name, start in starts.items() if not FIRST_DAY <= start <= LAST_DAY]:
        message = f"expected a day between {FIRST_DAY} and {LAST_DAY}"
        raise ValidationException(f"start: {message}", extra=[{"key": name, "message": message} for name in outside])
    if wrong := {name: f"{start} is not a Monday" for name, start in starts.items() if start.weekday() != 0}:
        raise Conflict("start: weeks begin on Monday", wrong)
    answers = await state.predict([(each.item, each.start, each.values) for each in data.series], data.horizon)
    return PredictOut([PredictedOut(**answer) for answer in answers])


async def _latest(session: AsyncSession) -> ForecastRun:
    run = await forecasts.latest(session)
    if run is None:
        raise NotFound("there is no forecast yet: start one with POST /jobs {kind: forecast}")
    return run


router = Router(
    "/forecasts",
    route_handlers=[list_runs, get_latest, list_series, get_item_forecast, predict],
    tags=["Forecasts"],
)
