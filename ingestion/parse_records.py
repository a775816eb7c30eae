"""Rows that a connector hands over as records, as a file of texts."""

import polars as pl

from ingestion.limits import Limits
from ingestion.table import Parsed, ParseOptions, refuse_too_many, refuse_too_wide
from ingestion.typed_rows import as_texts, parsed


def parse_records(records: pl.DataFrame, limits: Limits, options: ParseOptions | None = None) -> Parsed:
    """`line` counts the rows from 1. The very values come out that the same rows give in a Parquet file.

    Raises:
        IngestionError: more than may be taken, or a wanted column that is no text, number, date or truth value.
    """
    refuse_too_wide(records.width, limits)
    refuse_too_many(records.height, records.width, limits)
    columns = [(name, records[name]) for name in records.columns]
    return parsed(as_texts(columns, options or ParseOptions()), records.columns, limits, "records")
