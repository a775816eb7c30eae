"""Records as rows of text: JSON's types differ from page to page, its texts do not."""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from fmrp_erp_api.answer import clean_text
from fmrp_erp_api.cursor_values import mark_of
from fmrp_erp_api.json_path import described, find_one
from fmrp_erp_api.stream_config import MAX_COLUMNS, Stream
from fmrp_sdk import FatalError

Row = dict[str, str | None]

_LONGEST_NUMBER = 60


def to_rows(stream: Stream, records: Sequence[Any], where: str) -> list[Row]:
    """One row a record.

    FatalError: a record is no object and `fields` do not say how to read it; or not one has the key or the cursor. A
    single record without them is no reason to stop: it is rejected later on, by itself.
    """
    try:
        rows = [_row(stream, record, where, number) for number, record in enumerate(records, start=1)]
    except RecursionError:
        raise FatalError(f"{where}: a record is nested too deep to be read") from None
    cursor = stream.cursor
    for column in missing_columns([*stream.key, *([cursor.field] if cursor else [])], rows):
        if column in stream.fields:
            there = clean_text(described(records[0]), set())
            raise FatalError(
                f"{where}: no record has anything at {stream.fields[column]!r} for {column!r}; the first holds {there}"
            )
        names = clean_text(", ".join(sorted({name for row in rows[:10] for name in row})), set())
        raise FatalError(f"{where}: no record has the column {column!r}; there are {names}")
    if cursor and rows and all(mark_of(cursor, row.get(cursor.field)) is None for row in rows):
        example = next(text for row in rows if (text := row.get(cursor.field)) is not None)
        raise FatalError(
            f"{where}: {cursor.field} is {example[:50]!r}, which is no {cursor.type}; correct the cursor's type or "
            "format"
        )
    return rows


def missing_columns(columns: Iterable[str], rows: Sequence[Row]) -> list[str]:
    """Those in which no row has a value; none where there are no rows."""
    return [column for column in columns if rows and all(row.get(column) is None for row in rows)]


def merged_columns(known: Sequence[str], rows: Iterable[Row], where: str) -> tuple[str, ...]:
    """The columns known so far and those that came new, in the order they were met. FatalError: too many."""
    columns = dict.fromkeys(known)
    for row in rows:
        columns |= dict.fromkeys(row)
    if len(columns) > MAX_COLUMNS:
        raise FatalError(f"{where}: more than {MAX_COLUMNS} columns; choose those that are needed with fields")
    return tuple(columns)


def to_table(rows: Sequence[Row], columns: Sequence[str]) -> pa.Table:
    """Text columns; null where a record has no such value."""
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in columns})


def digest(values: Row | list[str | None], size: int) -> bytes:
    """A fingerprint of `size` bytes, the same for the same values whatever their order; nulls count for nothing."""
    told = {name: value for name, value in values.items() if value is not None} if isinstance(values, dict) else values
    return blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=size).digest()


def _row(stream: Stream, record: Any, where: str, number: int) -> Row:
    if stream.fields:
        return {column: _text(find_one(path, record)) for column, path in stream.fields.items()}
    if not isinstance(record, dict):
        kind = {list: "a list", str: "a text", type(None): "null", bool: "true or false"}.get(type(record), "a number")
        raise FatalError(f"{where}: record {number} is {kind}, expected an object; check records, or set fields")
    row: Row = {}
    _flatten(record, "", stream.flatten_depth, row)
    return row


def _flatten(value: dict[str, Any], prefix: str, depth: int, row: Row) -> None:
    for name, each in value.items():
        if depth and isinstance(each, dict) and each:
            _flatten(each, f"{prefix}{name}.", depth - 1, row)
        else:
            row[_clean(prefix + name)] = _text(each)


def _text(value: Any) -> str | None:
    """The value as JSON writes it, texts without quotes, numbers without an exponent."""
    if value is None:
        return None
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f") if abs(value.adjusted()) < _LONGEST_NUMBER else str(value)
    return _clean(_json(value))


def _json(value: Any) -> str:
    """JSON with numbers as exact as they came, which the standard encoder cannot write."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(name)}:{_json(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, str):
        return _quoted(value)
    return "null" if value is None else str(_text(value))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _clean(text: str) -> str:
    """A lone surrogate is allowed in JSON and is no text."""
    return text if text.isascii() else text.encode(errors="replace").decode()
