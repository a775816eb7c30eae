"""The weekly rows of a forecast run."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from litestar import Router, get
from litestar.params import Parameter
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Forecast
from db.paging import fetch_page
from db.repositories import forecasts
from db.result_records import FORECAST_RUNS
from serve.parameters import Cursor, Limit, Values, several
from serve.problems import ERRORS
from serve.resources.filters import RunKey, run_id_of
from serve.schemas import ForecastRow, Listing, forecast_row
from serve.security import VIEWER


class RunRow(ForecastRow, frozen=True, kw_only=True):
    """Expected demand of an item in a week and its quantiles."""

    item: str
    item_name: str


@get(
    "/",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="listRunRows",
    summary="Expected demand by item and week",
    description="Ordered by item, then week.",
)
async def list_rows(
    session: AsyncSession,
    key: RunKey,
    items: Annotated[Values | None, several("One of these items.", query="item")] = None,
    first: Annotated[date | None, Parameter(query="from", description="First week.")] = None,
    last: Annotated[date | None, Parameter(query="to", description="Last week.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[RunRow]:
    """Rows of a run, page by page."""
    run_id = await run_id_of(session, FORECAST_RUNS, key)
    query = forecasts.rows_statement(run_id, items or (), first, last)
    page = await fetch_page(session, query, forecasts.ROWS_ORDER, sort=None, limit=limit, cursor=cursor)
    rows = [_row(each[0], each[1].code, each[1].name) for each in page.rows]
    return Listing(rows, page.next_cursor, page.total)


def _row(stored: Forecast, item: str, name: str) -> RunRow:
    weekly = forecast_row(stored)
    fields = {field: getattr(weekly, field) for field in ForecastRow.__struct_fields__}
    return RunRow(item=item, item_name=name, **fields)


router = Router("/forecast-runs/{key:str}/rows", route_handlers=[list_rows], tags=["Forecasts"])
