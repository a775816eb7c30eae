"""An empty file to fill in and import: the header, and in a workbook what each field may hold."""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from ingestion.targets import Field, Kind, Target
from ingestion.targets.fields import MAX_CODE_CHARS, MAX_TEXT_CHARS
from serve.resources.files import FileFormat, open_workbook, sheet_name, write_csv, write_sheet

_LAST_ROW = 1_048_575
_TYPES = {
    Kind.CODE: "code",
    Kind.TEXT: "text",
    Kind.NUMBER: "number",
    Kind.WHOLE: "whole number",
    Kind.DATE: "date",
    Kind.BOOLEAN: "TRUE or FALSE",
    Kind.CHOICE: "one of a list",
}


def template(target: Target, title: str, file_format: FileFormat) -> bytes:
    """The header of the target's fields; in a workbook with lists to choose from, and a sheet that explains."""
    empty = pl.DataFrame(schema={name: _cell(spec) for name, spec in target.fields.items()})
    if file_format == "csv":
        return write_csv(empty)
    buffer = io.BytesIO()
    with open_workbook(buffer) as book:
        sheet = book.add_worksheet(sheet_name(title))
        write_sheet(book, sheet, empty)
        for place, (name, spec) in enumerate(target.fields.items()):
            _offer_choices(sheet, place, name, spec)
        write_sheet(book, book.add_worksheet("Fields"), explanation(target))
    return buffer.getvalue()


def explanation(target: Target) -> pl.DataFrame:
    """A row for each field, in words."""
    rows = [
        {
            "field": name,
            "type": _TYPES[spec.kind],
            "required": _required(target, name, spec),
            "allowed": _allowed(spec),
            "meaning": spec.about,
            "example": _shown(spec.example),
            "refers to": spec.refers_to.replace("_", " "),
        }
        for name, spec in target.fields.items()
    ]
    return pl.DataFrame(rows)


def _cell(spec: Field) -> Any:
    """Columns of dates are shown as such; all else is written by people and may be anything."""
    return pl.Date if spec.kind is Kind.DATE else pl.String


def _offer_choices(sheet: Any, place: int, name: str, spec: Field) -> None:
    choices = list(spec.choices) or (["TRUE", "FALSE"] if spec.kind is Kind.BOOLEAN else [])
    if choices:
        told = f"one of {', '.join(choices)}"[:255]
        sheet.data_validation(
            *(1, place, _LAST_ROW, place),
            {"validate": "list", "source": choices, "error_title": name[:32], "error_message": told},
        )


def _required(target: Target, name: str, spec: Field) -> str:
    if spec.default is not None and spec.required:
        return f"no; {_shown(spec.default)} if left empty"
    if name in target.key:
        return "always: names the row"
    return "for a new row" if spec.required else "no"


def _allowed(spec: Field) -> str:
    if spec.choices:
        return ", ".join(spec.choices)
    bounds = [
        f"{words} {bound:g}"
        for words, bound in (
            ("at least", spec.at_least),
            ("above", spec.above),
            ("at most", spec.at_most),
            ("below", spec.below),
        )
        if bound is not None
    ]
    if spec.kind in (Kind.CODE, Kind.TEXT) and not spec.pattern:
        bounds.append(f"up to {MAX_CODE_CHARS if spec.kind is Kind.CODE else MAX_TEXT_CHARS} characters")
    return ", ".join(bounds)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)
