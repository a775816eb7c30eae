"""Tables as files to download: CSV and XLSX with typed cells, and nothing in them that a spreadsheet would run."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import polars as pl
import xlsxwriter
from litestar import Response
from litestar.datastructures import ResponseHeader
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import Parameter

from ingestion.formula_text import marked
from serve.problems import Conflict

FileFormat = Literal["csv", "xlsx"]
Format = Annotated[FileFormat, Parameter(query="format", description="CSV (UTF-8, commas) or an Excel workbook.")]
MEDIA_TYPES: dict[FileFormat, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
CONTENT_DISPOSITION = ResponseHeader(
    name="Content-Disposition", description="The file's name, with the day it was made.", documentation_only=True
)
# What a sheet and a cell of Excel hold.
MOST_ROWS = 1_048_575
MOST_CHARS = 32_767
# Excel counts days from 1899-12-30.
_DAYS_TO_1970, _DAY_US = 25_569, 86_400_000_000
_WIDEST = 50
_SAMPLE = 200
_FORMATS = {"date": "yyyy-mm-dd", "moment": "yyyy-mm-dd hh:mm:ss"}
# Characters XML has no place for.
_NO_XML = r"[\x00\x{FFFE}\x{FFFF}]"


@dataclass
class FileDownload(Operation):
    """An operation that answers a file in either format: Litestar documents one media type an operation."""

    def __post_init__(self) -> None:
        """Say both."""
        for answer in (self.responses or {}).values():
            if isinstance(answer, OpenAPIResponse) and answer.content and MEDIA_TYPES["csv"] in answer.content:
                answer.content = {
                    MEDIA_TYPES["csv"]: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING)),
                    MEDIA_TYPES["xlsx"]: OpenAPIMediaType(
                        schema=Schema(type=OpenAPIType.STRING, content_media_type=MEDIA_TYPES["xlsx"])
                    ),
                }


def download(content: bytes, name: str, file_format: FileFormat) -> Response[bytes]:
    """The file as an answer. `name` is ours: letters, digits and dashes."""
    media_type = MEDIA_TYPES[file_format]
    # A media type with a charset is what browsers and curl go by; without one they guess.
    kind = f"{media_type}; charset=utf-8" if file_format == "csv" else media_type
    headers = {"Content-Disposition": f'attachment; filename="{name}.{file_format}"'}
    return Response(content, media_type=kind, headers=headers)


def write_table(frame: pl.DataFrame, title: str, file_format: FileFormat) -> bytes:
    """The frame as a file, header first. Not for the event loop: a large workbook takes seconds.

    Raises:
        Conflict: more rows than a sheet holds.
    """
    if file_format == "csv":
        return write_csv(frame)
    if frame.height > MOST_ROWS:
        raise Conflict(f"format: {frame.height:,} rows, and a sheet holds {MOST_ROWS:,}; ask for csv or filter more")
    buffer = io.BytesIO()
    with open_workbook(buffer) as book:
        write_sheet(book, book.add_worksheet(sheet_name(title)), frame)
    return buffer.getvalue()


def write_csv(frame: pl.DataFrame) -> bytes:
    """UTF-8 with the byte order mark Excel needs to see that it is."""
    buffer = io.BytesIO()
    _safe(frame).write_csv(buffer, include_bom=True, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return buffer.getvalue()


def open_workbook(buffer: io.BytesIO) -> Any:
    """A workbook whose texts are never taken for formulas, numbers or links, and whose rows are written in order."""
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
    }
    return xlsxwriter.Workbook(buffer, options)


def sheet_name(title: str) -> str:
    """A title as Excel allows it."""
    return title[:1].upper() + title[1:31]


def write_sheet(book: Any, sheet: Any, frame: pl.DataFrame) -> None:
    """The frame on an empty sheet: header bold and in place while scrolling, a filter on it, columns as wide as their
    texts."""
    bold = book.add_format({"bold": True, "bottom": 1})
    styles = {name: book.add_format({"num_format": text}) for name, text in _FORMATS.items()}
    cells = _safe(frame)
    for place, name in enumerate(cells.columns):
        sheet.set_column(place, place, _width(cells[name]), styles.get(_kind(cells.schema[name])))
    sheet.freeze_panes(1, 0)
    if cells.width:
        sheet.autofilter(0, 0, max(1, cells.height), cells.width - 1)
    for place, name in enumerate(cells.columns):
        sheet.write_string(0, place, name, bold)
    writers: list[tuple[Callable[..., Any], Any]] = []
    columns: list[Sequence[Any]] = []
    for name, dtype in cells.schema.items():
        kind = _kind(dtype)
        writer = {"text": sheet.write_string, "boolean": sheet.write_boolean}.get(kind, sheet.write_number)
        writers.append((writer, styles.get(kind)))
        columns.append(_values(cells[name], kind).to_list())
    for row, values in enumerate(zip(*columns, strict=True), start=1):
        for place, value in enumerate(values):
            if value is not None:
                write, style = writers[place]
                write(row, place, value, style)


def _safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts marked where they would run; what is no finite number, left out."""
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(
        *(pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in floats),
        *(marked(pl.col(name)).alias(name) for name in texts),
    )


def _kind(dtype: pl.DataType) -> str:
    if dtype == pl.Date:
        return "date"
    if dtype == pl.Datetime:
        return "moment"
    if dtype == pl.Boolean:
        return "boolean"
    return "number" if dtype.is_numeric() else "text"


def _values(column: pl.Series, kind: str) -> pl.Series:
    """The column as what a cell holds: days by Excel's count for dates, texts no longer than a cell takes."""
    if kind in ("date", "moment"):
        return column.cast(pl.Datetime("us")).cast(pl.Int64) / _DAY_US + _DAYS_TO_1970
    if kind == "text":
        return column.cast(pl.String).str.replace_all(_NO_XML, "\ufffd").str.head(MOST_CHARS)
    return column


def _width(column: pl.Series) -> int:
    longest = column.head(_SAMPLE).cast(pl.String).str.len_chars().max()
    return min(_WIDEST, max(len(column.name), longest if isinstance(longest, int) else 0) + 3)
