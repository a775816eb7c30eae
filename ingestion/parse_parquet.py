"""Parquet through pyarrow, in batches whose real size is counted: what the footer says of rows and bytes is a claim."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.decode import refuse_bomb
from ingestion.limits import Deadline, Limits
from ingestion.table import Parsed, ParseOptions, no_header, no_rows, refuse_too_many, refuse_too_wide, score_header
from ingestion.typed_rows import as_texts, parsed

_BATCH_ROWS = 16_384


def parse_parquet(content: bytes, limits: Limits, options: ParseOptions, deadline: Deadline) -> Parsed:
    """Reads a Parquet file; `line` is the row's place from 1. A wanted column must not be nested. See `parse`."""
    file = pq.ParquetFile(pa.BufferReader(content))
    names = file.schema_arrow.names
    refuse_too_wide(len(names), limits)
    if score_header(names, options) == 0:
        raise no_header(names, options, "in the file's schema")
    refuse_too_many(file.metadata.num_rows, len(names), limits)
    frames = list(_frames(file, limits, options, deadline))
    found = parsed(pl.concat(frames), names, limits, "parquet") if frames else None
    if found is None or found.read == 0:
        raise no_rows("the file")
    return found


def _frames(file: pq.ParquetFile, limits: Limits, options: ParseOptions, deadline: Deadline) -> Iterator[pl.DataFrame]:
    """The file's rows as texts c0.., some thousand at a time. Columns that repeat a text stay packed until then."""
    rows, size = 0, 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        rows += batch.num_rows
        size += batch.nbytes
        refuse_bomb(size, size, limits)  # no ratio: a column that never changes takes no room at all
        refuse_too_many(rows, batch.num_columns, limits)
        deadline.check(f"row {rows:,} of {file.metadata.num_rows:,}")
        columns = zip(batch.schema.names, batch.columns, strict=True)
        yield as_texts([(name, pl.Series(column)) for name, column in columns], options)
