"""Rows that come as typed columns, from a database or an API, as a file of texts."""

import polars as pl

from ingestion.errors import TooManyCells, TooManyColumns, TooManyRows, UnreadableFile
from ingestion.limits import Limits
from ingestion.table import MALFORMED_SCHEMA, Parsed

_NESTED = (pl.List, pl.Array, pl.Struct, pl.Binary, pl.Object)


def parse_records(records: pl.DataFrame, limits: Limits) -> Parsed:
    """`line` counts the rows from 1. Numbers keep their value, dates and times get ISO form.

    Raises:
        IngestionError: more than may be taken, or a column that is no text, number, date or truth value.
    """
    if records.width > limits.max_columns:
        raise TooManyColumns(f"{records.width:,} columns", expected=f"at most {limits.max_columns:,}")
    if records.height > limits.max_rows:
        raise TooManyRows(f"{records.height:,} rows", expected=f"at most {limits.max_rows:,}")
    if records.height * records.width > limits.max_cells:
        raise TooManyCells(
            f"{records.height:,} rows of {records.width:,} columns", expected=f"at most {limits.max_cells:,} cells"
        )
    texts = [_text(name, dtype).alias(f"c{place}") for place, (name, dtype) in enumerate(records.schema.items())]
    frame = records.select(texts).with_row_index("line", offset=1).with_columns(pl.col("line").cast(pl.Int64))
    malformed = pl.DataFrame(schema=MALFORMED_SCHEMA)
    return Parsed(frame, tuple(records.columns), malformed, "records", "utf-8", "", 0, numbers_are_plain=True)


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, _NESTED):
        raise UnreadableFile(
            f"its values are {dtype}", field=name, expected="texts, numbers, dates or truth values, one a row"
        )
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        column = column.dt.strftime("%Y-%m-%d %H:%M:%S")
    text = column.cast(pl.String)
    return pl.when(text.str.strip_chars() != "").then(text)
