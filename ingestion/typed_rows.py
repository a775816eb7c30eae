"""Rows that come as typed columns (Parquet, records of a database or an API), as a table of texts."""

from collections.abc import Sequence

import polars as pl

from ingestion.errors import UnreadableFile
from ingestion.limits import Limits
from ingestion.table import Parsed, ParseOptions, header_key, without_blanks, without_long_cells

_ADVICE = "plain columns of texts, numbers, dates and truth values: leave the column out, or flatten it"


def as_texts(columns: Sequence[tuple[str, pl.Series]], options: ParseOptions) -> pl.DataFrame:
    """The columns (name, values) as c0.., each value as it is: 2.5, 3 (not 3.0), 2024-01-02, 2024-01-02 03:04:05 in the
    column's own time zone.

    A column whose values are no plain ones stays empty, unless it is a wanted one: then it raises UnreadableFile.
    """
    return pl.DataFrame(
        {f"c{at}": _column(values, name, options) for at, (name, values) in enumerate(columns)},
        schema_overrides={f"c{at}": pl.String for at in range(len(columns))},
    )


def parsed(frame: pl.DataFrame, names: Sequence[str], limits: Limits, file_format: str) -> Parsed:
    """Columns c0.. of texts as what parsing gives; `line` is the row's place, from 1."""
    numbered = frame.with_row_index("line", offset=1).with_columns(pl.col("line").cast(pl.Int64))
    kept, malformed = without_long_cells(without_blanks(numbered), limits)
    return Parsed(kept, tuple(names), malformed, file_format, "utf-8", "", header_line=0, numbers_are_plain=True)


def _column(values: pl.Series, name: str, options: ParseOptions) -> pl.Series:
    try:
        return _texts(values, name)
    except UnreadableFile:
        if not options.fields or any(header_key(name) in accepted for accepted in options.fields):
            raise
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(values))


def _texts(values: pl.Series, name: str) -> pl.Series:
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
        raise UnreadableFile(f"column '{name[:100]}' holds {dtype}"[:300], expected=_ADVICE)
    return values.cast(pl.String)
