"""The sheets of a workbook of any kind through calamine: which one is meant, where its header is, its cells as texts.

calamine lays out a sheet as a full grid and cannot be interrupted, so this runs in the confined reader only.
"""

from collections.abc import Iterator
from typing import Any, Literal

import fastexcel
import polars as pl

from ingestion.errors import EmptyFile, UnreadableFile
from ingestion.limits import Deadline, Limits
from ingestion.table import (
    HEADER_SEARCH_ROWS,
    Parsed,
    ParseOptions,
    best_header,
    no_header,
    no_rows,
    refuse_too_many,
    refuse_too_wide,
    trimmed,
    without_blanks,
    without_long_cells,
)

_MAX_SHEETS = 50
_WHOLE_GRID: dict[str, Any] = {"header_row": None, "skip_rows": 0}
# fastexcel rounds numbers to nine decimals when it is asked for texts.
_MAYBE_ROUNDED = r"^-?[0-9]+\.[0-9]+$|^-?0$"
_ISO_TIME = r"^([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9.]+)$"
_TIME_OF_DAY = r"^1899-12-3[01] ([0-9]{2}:[0-9]{2}:[0-9.]+)$"  # Excel counts days from here and knows no date before


def parse_sheets(
    content: bytes,
    file_format: str,
    limits: Limits,
    options: ParseOptions,
    deadline: Deadline,
    *,
    durations: bool = False,
) -> Parsed:
    """Reads the sheet named by the mapping, else the visible sheet naming the most wanted columns. See `parse`.

    durations: cells may hold times, which fastexcel leaves out of texts (ODS).
    """
    try:
        reader = fastexcel.read_excel(content)
    except fastexcel.FastExcelError as error:
        raise _unreadable(str(error)) from error
    return _read(reader, file_format, limits, options, deadline, durations=durations)


def _unreadable(error: str) -> UnreadableFile:
    reason = error.splitlines()[0][:200]
    if "password" in reason.lower():
        return UnreadableFile("the workbook is protected by a password", expected="a workbook saved without one")
    told = f"the workbook is damaged ({reason})"
    if "cannot detect file format" in reason.lower():  # what calamine says when each of its readers has given up
        told = "the workbook is damaged, or one of its sheets spans more cells than can be read"
    return UnreadableFile(told, expected="a file that Excel opens: open it there and save it anew")


def _read(
    reader: fastexcel.ExcelReader,
    file_format: str,
    limits: Limits,
    options: ParseOptions,
    deadline: Deadline,
    *,
    durations: bool,
) -> Parsed:
    name, header_at, header = _find_header(reader, options, deadline)
    columns = trimmed(header)
    refuse_too_wide(len(columns), limits, header_at + 1)
    raw = _texts(reader, name, len(columns), durations=durations)
    deadline.check(f"the cells of sheet '{name}'")
    frame = without_blanks(
        raw.with_row_index("line", offset=1).with_columns(pl.col("line").cast(pl.Int64)).slice(header_at + 1)
    )
    if frame.is_empty():
        raise no_rows(f"sheet '{name}'", header_at + 1)
    refuse_too_many(frame.height, len(columns), limits)
    frame, malformed = without_long_cells(frame, limits)
    return Parsed(
        frame,
        columns,
        malformed,
        file_format,
        "utf-8",
        "",
        header_line=header_at + 1,
        sheet=name,
        numbers_are_plain=True,
    )


def _texts(reader: fastexcel.ExcelReader, name: str, width: int, *, durations: bool) -> pl.DataFrame:
    """The first `width` columns of a sheet as c0.., numbers in full and times as other formats give them."""
    sheet: pl.DataFrame = reader.load_sheet(
        name, **_WHOLE_GRID, use_columns=list(range(width)), dtypes="string"
    ).to_polars()
    frame = sheet.select(pl.col(old).cast(pl.String).alias(f"c{at}") for at, old in enumerate(sheet.columns))
    rounded = [
        at for at, texts in enumerate(frame.get_columns()) if texts.str.contains(_MAYBE_ROUNDED).any(ignore_nulls=True)
    ]
    for at, numbers in _columns(reader, name, rounded, "float"):
        frame = frame.with_columns(_in_full(frame[f"c{at}"], numbers).alias(f"c{at}"))
    if durations:
        missing = [at for at, texts in enumerate(frame.get_columns()) if texts.null_count()]
        for at, times in _columns(reader, name, missing, "duration"):
            frame = frame.with_columns(frame[f"c{at}"].fill_null(_clock(times)))
    return frame.with_columns(pl.all().str.replace(_ISO_TIME, "$1 $2").str.replace(_TIME_OF_DAY, "$1"))


def _columns(
    reader: fastexcel.ExcelReader, name: str, places: list[int], dtype: Literal["float", "duration"]
) -> Iterator[tuple[int, pl.Series]]:
    """Columns of a sheet read as another type, null where a cell is not of it."""
    if places:
        dtypes: Any = dict.fromkeys(places, dtype)
        frame = reader.load_sheet(name, **_WHOLE_GRID, use_columns=places, dtypes=dtypes).to_polars()
        yield from zip(places, frame.get_columns(), strict=True)


def _clock(times: pl.Series) -> pl.Series:
    """Durations as 10:11:12, hours without an upper end."""
    seconds = times.cast(pl.Duration("ms")).dt.total_seconds()
    frame = pl.DataFrame({"s": seconds})
    parts = [pl.col("s") // 3600, pl.col("s") // 60 % 60, pl.col("s") % 60]
    text = pl.concat_str([part.cast(pl.String).str.zfill(2) for part in parts], separator=":")
    return frame.select(text).to_series()


def _in_full(texts: pl.Series, numbers: pl.Series) -> pl.Series:
    """Texts, and the number in place of one that was cut short. A text that looks like a number is equal to it."""
    pair = pl.DataFrame({"text": texts, "number": numbers.cast(pl.Float64)})
    cut = pl.col("text").cast(pl.Float64, strict=False) != pl.col("number")
    full = pl.when(cut).then(pl.col("number").cast(pl.String)).otherwise(pl.col("text"))
    return pair.select(full).to_series()


def _find_header(
    reader: fastexcel.ExcelReader, options: ParseOptions, deadline: Deadline
) -> tuple[str, int, list[str]]:
    """(sheet, row index from 0, cells) of the record among the first rows that names the most wanted columns."""
    names = reader.sheet_names
    if options.sheet:
        if options.sheet not in names:
            raise UnreadableFile(
                f"there is no sheet '{options.sheet}'",
                expected=f"one of {', '.join(names[:20])}; or change the sheet that the mapping names",
            )
        names = [options.sheet]
    best: tuple[int, str, int, list[str]] | None = None
    first: list[str] = []
    any_cell = False
    for name in names[:_MAX_SHEETS]:
        deadline.check(f"sheet '{name}'")
        sheet = reader.load_sheet(name, **_WHOLE_GRID, n_rows=HEADER_SEARCH_ROWS, dtypes="string")
        if sheet.visible != "visible" and not options.sheet:
            continue
        rows = [[str(cell) if cell is not None else "" for cell in row] for row in sheet.to_polars().iter_rows()]
        any_cell = any_cell or any(map(any, rows))
        first = first or next(([cell for cell in row if cell] for row in rows if any(row)), [])
        found = best_header(rows, options)
        if found is not None and (best is None or found[0] > best[0]):
            best = found[0], name, found[1], rows[found[1]]
    if best is None:
        if not any_cell:
            raise EmptyFile("the workbook holds no visible cells", expected="a sheet with a header and rows below it")
        raise no_header(first, options)
    return best[1], best[2], best[3]
