"""Bulk traffic between Polars frames and PostgreSQL: COPY both ways, never rows of dicts.

Frames carry natural codes; the SQL that merges a staged frame into its table resolves codes to keys by join. Frames go
out in pieces, encoded beside the event loop while the server takes in the piece before.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import polars as pl
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.tracing import database_span

SQL_TYPES: dict[Any, str] = {
    pl.String: "text",
    pl.Float64: "double precision",
    pl.Int64: "bigint",
    pl.Int32: "integer",
    pl.Date: "date",
    pl.Boolean: "boolean",
    pl.Decimal: "numeric",
}
# Some megabytes of text: what a COPY holds beside its frame.
PIECE_ROWS = 50_000


async def driver_of(session: AsyncSession | AsyncConnection) -> Any:
    """Return the asyncpg connection under this session, inside its transaction."""
    connection = await session.connection() if isinstance(session, AsyncSession) else session
    # SQLAlchemy opens the transaction with the first statement it sends itself; the bare driver would not.
    await connection.execute(text("SELECT 1"))
    return (await connection.get_raw_connection()).driver_connection


async def stage(
    session: AsyncSession | AsyncConnection, name: str, frame: pl.DataFrame, types: Mapping[str, str] | None = None
) -> None:
    """COPY a frame into a temporary table of that name, dropped at commit.

    `name` and the frame's columns are our own identifiers, and so are `types`, the SQL types of columns that are not
    the usual counterpart of the frame's (a key as text is "uuid"). NaN and infinities are refused by NUMERIC later, so
    callers pass finite numbers.

    Raises:
        TypeError: a column's type has no SQL counterpart.
    """
    driver = await driver_of(session)
    of = {column: _sql_type(column, dtype) for column, dtype in frame.schema.items()} | dict(types or {})
    columns = ", ".join(f'"{column}" {sql_type}' for column, sql_type in of.items())
    await driver.execute(
        f"DROP TABLE IF EXISTS pg_temp.{name}; CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DROP"
    )
    with database_span("COPY", name):
        await driver.copy_to_table(
            name, source=_pieces(frame), format="csv", columns=frame.columns, schema_name="pg_temp"
        )
    await driver.execute(f"ANALYZE pg_temp.{name}")


async def append(session: AsyncSession | AsyncConnection, table: str, frame: pl.DataFrame) -> None:
    """COPY a frame into a table of ours, each column into that of its name: rows that are known not to be there yet.

    Raises:
        DBAPIError: the table refuses a value, as it would in a statement.
    """
    driver = await driver_of(session)
    try:
        with database_span("COPY", table):
            await driver.copy_to_table(table, source=_pieces(frame), format="csv", columns=frame.columns)
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        raise DBAPIError(f"COPY {table}", None, error) from error


async def read_frame(
    session: AsyncSession | AsyncConnection, query: str, *args: object, schema: dict[str, Any]
) -> pl.DataFrame:
    """Run a query and return its rows as a frame with exactly `schema` (column order included)."""
    driver = await driver_of(session)
    buffer = io.BytesIO()
    with database_span("COPY", "query"):
        await driver.copy_from_query(query, *args, output=buffer, format="csv")
    return await asyncio.to_thread(_parsed, buffer, schema)


def _parsed(buffer: io.BytesIO, schema: dict[str, Any]) -> pl.DataFrame:
    buffer.seek(0)
    if not buffer.getbuffer().nbytes:
        return pl.DataFrame(schema=schema)
    # A quoted empty field is text of no characters; a bare one is NULL.
    booleans = [column for column, dtype in schema.items() if dtype == pl.Boolean]
    wire = {column: pl.String if column in booleans else dtype for column, dtype in schema.items()}
    frame = pl.read_csv(buffer, has_header=False, schema=wire)
    return frame.with_columns((pl.col(column) == "t").alias(column) for column in booleans)


async def _pieces(frame: pl.DataFrame) -> AsyncIterator[bytes]:
    for piece in frame.iter_slices(PIECE_ROWS):
        yield await asyncio.to_thread(_csv, piece)


def _csv(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    # quote_style non_numeric keeps "" apart from NULL, which CSV COPY reads from a bare empty field.
    frame.write_csv(buffer, include_header=False, quote_style="non_numeric", null_value="")
    return buffer.getvalue()


def _sql_type(column: str, dtype: pl.DataType) -> str:
    found = SQL_TYPES.get(dtype.base_type())
    if found is None:
        raise TypeError(f"column {column}: no SQL type for {dtype}")
    return found
