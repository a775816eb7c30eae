"""Parquet through pyarrow, in batches whose real size is counted: what the footer says of rows and bytes is a claim."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.decode import refuse_bomb
from ingestion.errors import UnreadableFile
from ingestion.limits import Deadline, Limits
from ingestion.table import (
    Parsed,
    ParseOptions,
    no_header,
    no_rows,
    refuse_too_many,
    refuse_too_wide,
    score_header,
    without_blanks,
    without_long_cells,
)

_BATCH_ROWS = 16_384
_ADVICE = "plain columns of texts, numbers, dates and truth values: leave the column out, or flatten it"


def parse_parquet(content: bytes, limits: Limits, options: ParseOptions, deadline: Deadline) -> Parsed:
    """Reads a Parquet file; `line` is the row's place from 1. Nested columns are refused by name. See `parse`."""
    file = pq.ParquetFile(pa.BufferReader(content))
    schema = file.schema_arrow
    refuse_too_wide(len(schema), limits)
    _refuse_nested(schema)
    if score_header(schema.names, options) == 0:
        raise no_header(schema.names, options, "in the file's schema")
    refuse_too_many(file.metadata.num_rows, len(schema), limits)
    frames = list(_frames(file, limits, deadline))
    rows = sum(frame.height for frame in frames)
    if rows == 0:
        raise no_rows("the file")
    frame = pl.concat(frames).with_row_index("line", offset=1).with_columns(pl.col("line").cast(pl.Int64))
    frame, malformed = without_long_cells(without_blanks(frame), limits)
    if frame.is_empty() and malformed.is_empty():
        raise no_rows("the file")
    return Parsed(frame, tuple(schema.names), malformed, "parquet", "utf-8", "", header_line=0, numbers_are_plain=True)


def _frames(file: pq.ParquetFile, limits: Limits, deadline: Deadline) -> Iterator[pl.DataFrame]:
    """The file's rows as texts c0.., some thousand at a time. Columns that repeat a long text stay packed until then."""
    rows, size = 0, 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        rows += batch.num_rows
        size += batch.nbytes
        refuse_bomb(size, size, limits)  # no ratio: a column that never changes takes no room at all
        refuse_too_many(rows, batch.num_columns, limits)
        deadline.check(f"row {rows:,} of {file.metadata.num_rows:,}")
        yield pl.DataFrame(
            {f"c{at}": _texts(pl.Series(column), name) for at, (name, column) in enumerate(_named(batch))}
        )


def _named(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    return zip(batch.schema.names, batch.columns, strict=True)


def _texts(values: pl.Series, name: str) -> pl.Series:
    """The values as they are: 2.5, 3 (not 3.0), 2024-01-02, 2024-01-02 03:04:05 in the column's own time zone."""
    dtype = values.dtype
    if dtype.is_float():
        return values.cast(pl.String).str.strip_suffix(".0")
    if isinstance(dtype, pl.Datetime):
        return values.dt.strftime("%Y-%m-%d %H:%M:%S%.f")
    if dtype == pl.Binary:
        try:
            return values.cast(pl.String)
        except pl.exceptions.PolarsError as error:
            raise UnreadableFile(f"column '{name[:100]}' holds bytes that are no text", expected=_ADVICE) from error
    if isinstance(dtype, pl.Duration) or dtype.is_nested() or dtype == pl.Object:
        raise UnreadableFile(f"column '{name[:100]}' holds {dtype}", expected=_ADVICE)
    return values.cast(pl.String)


def _refuse_nested(schema: pa.Schema) -> None:
    nested = [f"'{field.name[:100]}' ({field.type})"[:200] for field in schema if pa.types.is_nested(field.type)]
    if nested:
        raise UnreadableFile(f"has nested columns: {', '.join(nested[:5])}", expected=_ADVICE)
