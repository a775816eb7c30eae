"""JSON: a record a line, one array of records, or one object that holds them (as an API answers).

Numbers stay the text they are, so nothing is rounded. Objects in a record become columns such as `customer.code`.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from ingestion.errors import TooManyColumns, UnreadableFile
from ingestion.limits import Deadline, Limits
from ingestion.table import (
    MALFORMED_SCHEMA,
    RAW_CHARS,
    WHITE_SPACE,
    Parsed,
    ParseOptions,
    no_header,
    no_rows,
    refuse_too_many,
    score_header,
    without_blanks,
)

_START = re.compile(r'\s*(\{\s*["}]|\[\s*[\[{\]])')
_MOST_LEVELS = 5
_RECORDS_BETWEEN_CHECKS = 10_000
_LINES_LOOKED_AT = 20
_TOO_DEEP = "is nested far too deeply"

_Record = tuple[int, Any, str]
"""Line (or place in the list) from 1, the value, and why it is none."""


def looks_like_json(text: str) -> bool:
    """Whether text begins as records in JSON do. No header of a CSV file does."""
    return _START.match(text) is not None


def parse_json(content: bytes, limits: Limits, options: ParseOptions, deadline: Deadline) -> Parsed:
    """Reads records out of UTF-8 text. See `parse`.

    `line` is the line where each has its own, else the place in the list from 1. A line that is no record is a
    malformed row; an array or object with an error in it is refused as a whole, as what comes after the error is
    anybody's guess.
    """
    records, header_line = _records(content.decode())
    table = _Table(limits)
    for count, (line, value, fault) in enumerate(records, start=1):
        if count % _RECORDS_BETWEEN_CHECKS == 0:
            deadline.check(f"record {count:,}")
        table.add(line, value, fault)
    if not table.rows:
        raise no_rows("the file") if not table.malformed else _no_record(table)
    columns = tuple(table.columns)
    if score_header(columns, options) == 0:
        raise no_header(columns, options, "in the records")
    frame, malformed = table.frames()
    if frame.is_empty() and malformed.is_empty():
        raise no_rows("the file")
    file_format = "jsonl" if header_line else "json"
    return Parsed(frame, columns, malformed, file_format, "utf-8", "", header_line, numbers_are_plain=True)


def _no_record(table: "_Table") -> UnreadableFile:
    line, _, reason, _ = table.malformed[0]
    return UnreadableFile(f"not one record is sound; the first {reason}", line=line, expected="a JSON object a line")


# -- records ---------------------------------------------------------------------------------------------------------


def _records(text: str) -> tuple[Iterator[_Record], int]:
    """All records, and the line of the first (0 where records have no lines of their own)."""
    lines = text.split("\n")
    first = next(place for place, line in enumerate(lines) if line.strip(WHITE_SPACE))
    if _is_record(lines[first]) and any(line.strip(WHITE_SPACE) for line in lines[first + 1 :]):
        return _by_line(lines), first + 1
    try:
        value = _loads(text)
    except ValueError as error:
        if text.lstrip(WHITE_SPACE).startswith("{") and any(map(_is_record, lines[:_LINES_LOOKED_AT])):
            return _by_line(lines), first + 1
        raise _broken(error) from error
    except RecursionError as error:
        raise UnreadableFile("nested far too deeply", expected="records of plain values") from error
    return _by_place(_held(value)), 0


def _broken(error: ValueError) -> UnreadableFile:
    line = error.lineno if isinstance(error, json.JSONDecodeError) else None
    told = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
    return UnreadableFile(
        f"the JSON is broken ({told[:200]})", line=line, expected="complete JSON: export it again, or a record a line"
    )


def _is_record(line: str) -> bool:
    try:
        return isinstance(_loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lists(value: dict[str, Any]) -> list[str]:
    """Names under which an object holds a list of records."""
    return [
        name for name, held in value.items() if isinstance(held, list) and any(isinstance(one, dict) for one in held)
    ]


def _held(value: Any) -> list[Any]:
    """The list of records that a document is, or holds in one place; a document that is one record is that."""
    if isinstance(value, list):
        return value
    names = _lists(value)
    if len(names) > 1:
        raise UnreadableFile(
            f"holds several lists of records: {', '.join(repr(name[:40]) for name in names[:10])}",
            expected="one list of records: send each as a file of its own",
        )
    if names:
        held: list[Any] = value[names[0]]
        return held
    if any(isinstance(held, list) and not held for held in value.values()):
        raise no_rows("the file")
    return [value]


def _by_line(lines: list[str]) -> Iterator[_Record]:
    for place, line in enumerate(lines, start=1):
        if not line.strip(WHITE_SPACE):
            continue
        try:
            yield place, _loads(line), ""
        except json.JSONDecodeError as error:
            yield place, line, f"is no JSON: {error.msg}, column {error.colno}"
        except (ValueError, RecursionError) as error:
            yield place, line, str(error) if isinstance(error, ValueError) else _TOO_DEEP


def _by_place(values: list[Any]) -> Iterator[_Record]:
    for place, value in enumerate(values, start=1):
        yield place, value, ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"names {twice[:100]!r} twice")
    return made


# The literal stays as it is: 1.10 and 12345678901234567890 are what they say.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=str)
_loads: Callable[[str], Any] = _DECODER.decode


# -- table -----------------------------------------------------------------------------------------------------------


class _Table:
    """Records as rows of texts under the columns that any of them names."""

    def __init__(self, limits: Limits) -> None:
        self.columns: dict[str, int] = {}
        self.rows: list[list[str | None]] = []
        self.malformed: list[tuple[int, str, str, str]] = []
        self._lines: list[int] = []
        self._limits = limits

    def add(self, line: int, value: Any, fault: str) -> None:
        """Takes one record, or notes why it is none."""
        refuse_too_many(len(self.rows) + len(self.malformed) + 1, max(1, len(self.columns)), self._limits)
        if not fault and not isinstance(value, dict):
            fault = f"is no record (a JSON object), but {_kind(value)}"
        if not fault:
            try:
                cells = _flat(value)
            except ValueError as error:
                fault = str(error)
            except RecursionError:
                fault = _TOO_DEEP
            else:
                fault = self._fault(cells)
        if fault:
            raw = json.dumps({"text": _shown(value)}, ensure_ascii=False)
            self.malformed.append((line, "", fault, raw))
            return
        if len(self.columns) + len(cells) > self._limits.max_columns:
            self._refuse_columns(cells)
        places = [self.columns.setdefault(name, len(self.columns)) for name in cells]
        row: list[str | None] = [None] * len(self.columns)
        for place, cell in zip(places, cells.values(), strict=True):
            row[place] = cell
        self.rows.append(row)
        self._lines.append(line)

    def _fault(self, cells: dict[str, str | None]) -> str:
        """Why a cell cannot be kept, for the first that cannot."""
        most = self._limits.max_cell_chars
        for name, cell in cells.items():
            if len(name) > most or (cell is not None and len(cell) > most):
                return f"'{name[:40]}' has more than {most:,} characters"
            if not _is_text(name) or (cell is not None and not _is_text(cell)):
                return f"{_printable(name)[:40]!r} holds half a character (a lone surrogate)"
        return ""

    def _refuse_columns(self, cells: dict[str, str | None]) -> None:
        count = len(self.columns.keys() | cells.keys())
        if count > self._limits.max_columns:
            raise TooManyColumns(
                f"the records name more than {self._limits.max_columns:,} different columns",
                expected=f"at most {self._limits.max_columns:,}: leave out those that are not needed",
            )

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows as `line`, c0.. and the malformed ones. Blank records are left out."""
        width = len(self.columns)
        refuse_too_many(len(self.rows) + len(self.malformed), width, self._limits)
        columns: dict[str, pl.Series] = {"line": pl.Series(self._lines, dtype=pl.Int64)}
        for at in range(width):
            cells = [row[at] if at < len(row) else None for row in self.rows]
            columns[f"c{at}"] = pl.Series(cells, dtype=pl.String)
        malformed = pl.DataFrame(self.malformed, schema=MALFORMED_SCHEMA, orient="row")
        return without_blanks(pl.DataFrame(columns)), malformed


def _flat(record: dict[str, Any], prefix: str = "", level: int = 1) -> dict[str, str | None]:
    """A record's values by dotted name. ValueError: too deep, or two of the same name."""
    cells: dict[str, str | None] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            if level == _MOST_LEVELS:
                raise ValueError(f"{name[:40]!r} is nested more than {_MOST_LEVELS} deep")
            inner = _flat(value, f"{prefix}{name}.", level + 1)
            if not cells.keys().isdisjoint(inner):
                raise ValueError(f"names {min(cells.keys() & inner.keys())[:100]!r} twice")
            cells |= inner
        elif prefix + name in cells:
            raise ValueError(f"names {(prefix + name)[:100]!r} twice")
        else:
            cells[prefix + name] = _cell(value)
    return cells


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)  # a list


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "a truth value"
    return "a list" if isinstance(value, list) else "a plain value"


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _shown(value: Any) -> str:
    """The start of a record as it stood, for a person to see."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        text = _TOO_DEEP
    return _printable(text[:RAW_CHARS])
