"""Builders of small files, sound and hostile, for the tests of this room."""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import xlsxwriter

from ingestion.mapping import Mapping

CONTENT_TYPES = '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'


def demand_mapping(**changes: Any) -> Mapping:
    """A mapping of daily sales that takes any item."""
    return Mapping.model_validate(
        {
            "name": "sales",
            "target": "demand",
            "unknown_items": "create",
            "columns": {
                "item": {"names": ["item"]},
                "day": {"names": ["day"]},
                "quantity": {"names": ["quantity"]},
                "revenue": {"names": ["revenue"]},
            },
            **changes,
        }
    )


def workbook(rows: Sequence[Sequence[Any]], sheet: str = "Data") -> bytes:
    """An XLSX file with one sheet; None leaves a cell out."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"default_date_format": "yyyy-mm-dd"})
    page = book.add_worksheet(sheet)
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            if value is not None:
                page.write(r, c, value)
    book.close()
    return out.getvalue()


def archive(members: dict[str, bytes | str]) -> bytes:
    """A deflated ZIP file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return out.getvalue()


def raw_workbook(sheet_xml: str | bytes) -> bytes:
    """A workbook whose one sheet is the given XML."""
    return archive(
        {"[Content_Types].xml": CONTENT_TYPES, "xl/workbook.xml": "<w/>", "xl/worksheets/sheet1.xml": sheet_xml}
    )


def lying_about_size(content: bytes, name: str, claimed: int) -> bytes:
    """The archive with another unpacked size in the directory entry of `name`."""
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        real = made.getinfo(name).file_size
    directory = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    at = directory + 24
    assert int.from_bytes(content[at : at + 4], "little") == real
    return content[:at] + claimed.to_bytes(4, "little") + content[at + 4 :]
