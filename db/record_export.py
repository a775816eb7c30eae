"""All rows of a list at once, as a frame: through COPY, as rows of Python objects would cost many times as much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from sqlalchemy import Boolean, ColumnElement, Date, DateTime, Double, Integer, func
from sqlalchemy.ext.asyncio import AsyncSession

from db.copy import read_frame
from db.paging import Order, Rows
from db.records import RecordTable

_DTYPES: tuple[tuple[type[Any], Any], ...] = (
    (Boolean, pl.Boolean),
    (Integer, pl.Int64),
    (Double, pl.Float64),
    (Date, pl.Date),
)
_TIMES = "%Y-%m-%d %H:%M:%S%.f"


async def read_rows(
    session: AsyncSession, table: RecordTable, query: Rows, order: Order, names: Sequence[str], sort: str | None
) -> pl.DataFrame:
    """The rows of `query` (made by `table.rows`, with filters and no order) with these names, in the order of the list.

    Points in time are UTC, without zone. What is no boolean, number, day or time is text.

    Raises:
        BadSort: the list cannot be sorted by that.
    """
    _, by, descending = order.resolve(sort)
    ordered = query.order_by((by.desc() if descending else by.asc()).nulls_last(), order.key)
    values = {name: table.shown_as(name) for name in names}
    shown = [_in_utc(value, name) for name, value in values.items()]
    statement = ordered.with_only_columns(*shown, maintain_column_froms=True)
    dialect = session.get_bind().dialect
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    arguments = [compiled.params[name] for name in compiled.positiontup or ()]
    schema = {name: _dtype(value) for name, value in values.items()}
    frame = await read_frame(session, str(compiled), *arguments, schema=schema)
    times = [name for name, value in values.items() if isinstance(value.type, DateTime)]
    return frame.with_columns(pl.col(name).str.to_datetime(_TIMES, strict=True) for name in times)


def _in_utc(value: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    return func.timezone("UTC", value).label(name) if isinstance(value.type, DateTime) else value


def _dtype(value: ColumnElement[Any]) -> Any:
    return next((dtype for kind, dtype in _DTYPES if isinstance(value.type, kind)), pl.String)
