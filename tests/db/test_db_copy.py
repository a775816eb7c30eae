"""Frames go through COPY and come back as they were."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.owner import Connections
from db.copy import read_frame, stage

SCHEMA: dict[str, Any] = {
    "text": pl.String,
    "number": pl.Float64,
    "big": pl.Int64,
    "small": pl.Int32,
    "day": pl.Date,
    "flag": pl.Boolean,
}
# PostgreSQL takes any character but NUL; surrogates are no characters.
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "",
        " ",
        '"',
        '""',
        "a,b",
        "line\nbreak",
        "carriage\r\nreturn",
        "\r",
        "\\.",
        "\\N",
        "NULL",
        "#x",
        "žluťoučký",
        "🏭",
        "t",
    ]
)
ROWS = st.lists(
    st.tuples(
        st.none() | TEXTS,
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.integers(-(2**31), 2**31 - 1),
        st.none() | st.dates(date(1000, 1, 1), date(9999, 12, 31)),
        st.none() | st.booleans(),
    ),
    max_size=8,
)


async def there_and_back(engine: AsyncEngine, frame: pl.DataFrame) -> pl.DataFrame:
    """Stage the frame and read it again in its own order."""
    names = ", ".join(frame.columns)
    async with engine.begin() as connection:
        await stage(connection, "staged", frame.with_row_index("row").cast({"row": pl.Int64}))
        return await read_frame(connection, f"SELECT {names} FROM staged ORDER BY row", schema=dict(frame.schema))


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_a_frame_of_every_type_comes_back_as_it_was(
    loop: asyncio.AbstractEventLoop, engine: AsyncEngine, rows: list[tuple[Any, ...]]
) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    assert_frame_equal(loop.run_until_complete(there_and_back(engine, frame)), frame, check_exact=True)


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.none() | TEXTS, max_size=8))
def test_a_single_column_of_texts_keeps_its_nulls_and_empty_lines(
    loop: asyncio.AbstractEventLoop, engine: AsyncEngine, texts: list[str | None]
) -> None:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})

    async def alone() -> pl.DataFrame:
        async with engine.begin() as connection:
            await stage(connection, "staged", frame)
            return await read_frame(connection, "SELECT text FROM staged", schema={"text": pl.String})

    assert_frame_equal(loop.run_until_complete(alone()), frame, check_row_order=False)


async def test_many_rows_with_line_breaks_in_them_stay_whole(connections: Connections) -> None:
    frame = pl.DataFrame(
        {"number": range(20_000), "text": [f'"row"\n{n}\n\n,' if n % 3 else None for n in range(20_000)]},
        schema={"number": pl.Int64, "text": pl.String},
    )
    assert_frame_equal(await there_and_back(connections.engine, frame), frame)


async def test_no_rows_give_an_empty_frame_of_that_schema(connections: Connections) -> None:
    assert_frame_equal(
        await there_and_back(connections.engine, pl.DataFrame(schema=SCHEMA)), pl.DataFrame(schema=SCHEMA)
    )


@pytest.mark.parametrize("dtype", [pl.Datetime, pl.List(pl.Int64), pl.Float32, pl.UInt64, pl.Categorical])
async def test_a_column_type_without_counterpart_is_named(connections: Connections, dtype: Any) -> None:
    async with connections.engine.begin() as connection:
        with pytest.raises(TypeError, match="column odd: no SQL type"):
            await stage(connection, "staged", pl.DataFrame(schema={"odd": dtype}))


async def test_a_staged_frame_takes_the_place_of_one_of_the_same_name_and_is_gone_after_commit(
    connections: Connections,
) -> None:
    async with connections.sessions.begin() as session:
        await stage(session, "staged", pl.DataFrame({"a": [1, 2, 3]}))
        await stage(session, "staged", pl.DataFrame({"b": ["only"]}))
        frame = await read_frame(session, "SELECT b FROM staged", schema={"b": pl.String})
        assert frame["b"].to_list() == ["only"]
        gone = "SELECT count(*) FROM pg_class WHERE relname = 'staged'"
        assert (await read_frame(session, gone, schema={"n": pl.Int64})).item() == 1
    async with connections.sessions.begin() as session:
        assert (await read_frame(session, gone, schema={"n": pl.Int64})).item() == 0


async def test_a_query_takes_bound_arguments(connections: Connections) -> None:
    async with connections.sessions() as session:
        frame = await read_frame(
            session, "SELECT $1::text, $2::bigint", "it's; --", 7, schema={"t": pl.String, "n": pl.Int64}
        )
    assert frame.rows() == [("it's; --", 7)]
