"""Files as an ERP system exports them: CSV in two dialects and a workbook, the same bytes for the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from io import BytesIO
from pathlib import Path

import polars as pl
import xlsxwriter


@dataclass(frozen=True)
class Export:
    """One file: its name, the mapping that reads it, its rows as texts, and how many of them are spoilt, by cause.

    `numbers` and `dates` name the columns that a workbook holds as such.
    """

    file_name: str
    mapping: str
    frame: pl.DataFrame
    separator: str = ","
    numbers: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    defects: Mapping[str, int] = field(default_factory=dict)


Exports = list[Export]


def write(directory: Path, exports: Exports, today: date) -> None:
    """Write every file; a workbook says that it was made on `today`."""
    directory.mkdir(parents=True, exist_ok=True)
    for export in exports:
        path = directory / export.file_name
        if path.suffix == ".xlsx":
            path.write_bytes(_workbook(export, today))
        else:
            export.frame.write_csv(path, separator=export.separator, null_value="")


def _workbook(export: Export, made_on: date) -> bytes:
    """An XLSX file of one sheet with real numbers and dates."""
    content = BytesIO()
    book = xlsxwriter.Workbook(content, {"in_memory": True})
    book.set_properties({"created": datetime(made_on.year, made_on.month, made_on.day)})  # noqa: DTZ001 - no zone in XLSX
    sheet = book.add_worksheet("Open orders")
    bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
    sheet.write_row(0, 0, export.frame.columns, bold)
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, len(export.frame.columns) - 1, 14)
    for column, name in enumerate(export.frame.columns):
        for row, text in enumerate(export.frame[name], start=1):
            if text is None:
                continue
            if name in export.numbers:
                sheet.write_number(row, column, float(text))
            elif name in export.dates:
                sheet.write_datetime(row, column, datetime.fromisoformat(text), day)
            else:
                sheet.write_string(row, column, text)
    book.close()
    return content.getvalue()
