"""The sheets of a workbook of any kind through calamine: which one is meant, where its header is, its cells as texts.

calamine lays out a sheet as a full grid and cannot be interrupted, so this runs in the confined reader only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
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
# Cells that hold an error, as fastexcel tells of them and as Excel shows them.
_ERROR = re.compile(r"Error\((\w+)\)")
_ERRORS = {
    "Div0": "#DIV/0!",
    "NA": "#N/A",
    "Name": "#NAME?",
    "Null": "#NULL!",
    "Num": "#NUM!",
    "Ref": "#REF!",
    "Value": "#VALUE!",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a table is: its sheet, the sheet's first column in use, the header's row (both from 0), the header."""

    sheet: str
    first_column: int
    header_at: int
    header: list[str]

    def columns(self, width: int) -> list[int]:
        """The sheet's columns that hold the first `width` of the table."""
        return list(range(self.first_column, self.first_column + width))


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
    place = _find_header(reader, limits, options, deadline)
    columns, line = trimmed(place.header), place.header_at + 1
    refuse_too_wide(len(columns), limits, line)
    raw = _texts(reader, place, len(columns), durations=durations)
    deadline.check(f"the cells of sheet '{place.sheet}'")
    frame = without_blanks(raw.with_row_index("line", offset=1).with_columns(pl.col("line").cast(pl.Int64)).slice(line))
    if frame.is_empty():
        raise no_rows(f"sheet '{place.sheet}'", line)
    refuse_too_many(frame.height, len(columns), limits)
    frame, malformed = without_long_cells(frame, limits)
    return Parsed(
        frame,
        columns,
        malformed,
        file_format,
        "utf-8",
        "",
        header_line=line,
        sheet=place.sheet,
        numbers_are_plain=True,
    )


def _texts(reader: fastexcel.ExcelReader, place: _Place, width: int, *, durations: bool) -> pl.DataFrame:
    """The table's columns as c0.., numbers in full, errors as Excel shows them, times as other formats give them."""
    sheet = reader.load_sheet(place.sheet, **_WHOLE_GRID, use_columns=place.columns(width), dtypes="string")
    batch, failed = sheet.to_arrow_with_errors()
    texts: Any = pl.from_arrow(batch)
    frame = pl.DataFrame({f"c{at}": column.cast(pl.String) for at, column in enumerate(texts.get_columns())})
    frame = _with_errors(frame, failed)
    rounded = [
        at for at, texts in enumerate(frame.get_columns()) if texts.str.contains(_MAYBE_ROUNDED).any(ignore_nulls=True)
    ]
    for at, numbers in _columns(reader, place, rounded, "float"):
        frame = frame.with_columns(_in_full(frame[f"c{at}"], numbers).alias(f"c{at}"))
    if durations:
        missing = [at for at, texts in enumerate(frame.get_columns()) if texts.null_count()]
        for at, times in _columns(reader, place, missing, "duration"):
            frame = frame.with_columns(frame[f"c{at}"].fill_null(_clock(times)))
    return frame.with_columns(pl.all().str.replace(_ISO_TIME, "$1 $2").str.replace(_TIME_OF_DAY, "$1"))


def _with_errors(frame: pl.DataFrame, failed: fastexcel.CellErrors | None) -> pl.DataFrame:
    """Cells that hold an error show it: left empty, they would pass for cells that nobody has filled."""
    found: dict[int, tuple[list[int], list[str]]] = {}
    for cell in failed.errors if failed is not None else ():
        if (told := _ERROR.search(cell.detail)) is not None:
            row, column = cell.offset_position
            rows, texts = found.setdefault(column, ([], []))
            rows.append(row)
            texts.append(_ERRORS.get(told[1], "#N/A"))
    return frame.with_columns(frame[f"c{at}"].scatter(rows, texts) for at, (rows, texts) in found.items())


def _columns(
    reader: fastexcel.ExcelReader, place: _Place, wanted: list[int], dtype: Literal["float", "duration"]
) -> Iterator[tuple[int, pl.Series]]:
    """Columns of the table read as another type, null where a cell is not of it."""
    if wanted:
        columns = [place.first_column + at for at in wanted]
        frame = reader.load_sheet(place.sheet, **_WHOLE_GRID, use_columns=columns, dtypes=dtype).to_polars()
        yield from zip(wanted, frame.get_columns(), strict=True)


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


def _find_header(reader: fastexcel.ExcelReader, limits: Limits, options: ParseOptions, deadline: Deadline) -> _Place:
    """The record among the first rows of the sheets that names the most wanted columns."""
    names = reader.sheet_names
    if options.sheet:
        if options.sheet not in names:
            raise UnreadableFile(
                f"there is no sheet '{options.sheet}'",
                expected=f"one of {', '.join(names[:20])}; or change the sheet that the mapping names",
            )
        names = [options.sheet]
    best: tuple[int, _Place] | None = None
    first: list[str] = []
    any_cell = False
    for name in names[:_MAX_SHEETS]:
        deadline.check(f"sheet '{name}'")
        sheet = reader.load_sheet(name, **_WHOLE_GRID, n_rows=HEADER_SEARCH_ROWS, dtypes="string")
        if sheet.width == 0 or (sheet.visible != "visible" and not options.sheet):
            continue
        frame = sheet.to_polars()
        # A header that is wider is refused, wherever in it the wanted columns are.
        rows = [_as_texts(row) for row in frame[:, : limits.max_columns + 1].iter_rows()]
        any_cell = any_cell or any(map(any, rows))
        first = first or next(([cell for cell in row if cell] for row in rows if any(row)), [])
        found = best_header(rows, options)
        if found is not None and (best is None or found[0] > best[0]):
            start = sheet.available_columns()[0].absolute_index
            best = found[0], _Place(name, start, found[1], _as_texts(frame.row(found[1])))
    if best is None:
        if not any_cell:
            raise EmptyFile("the workbook holds no visible cells", expected="a sheet with a header and rows below it")
        raise no_header(first, options)
    return best[1]


def _as_texts(row: tuple[Any, ...]) -> list[str]:
    return [str(cell) if cell is not None else "" for cell in row]
