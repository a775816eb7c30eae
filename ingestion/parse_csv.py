"""Delimited text: a vectorised path for plain lines and the csv module for lines with quotes or a wrong field count.

Line numbers are those of the file. A line without a quote is a record; from a line with a quote on, the csv module
reads until the record ends, so quoted line breaks and delimiters are taken as RFC 4180 has them.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from ingestion.errors import TooManyRows
from ingestion.limits import Deadline, Limits
from ingestion.table import (
    HEADER_SEARCH_ROWS,
    MALFORMED_SCHEMA,
    RAW_CHARS,
    WHITE_SPACE,
    Parsed,
    ParseOptions,
    no_header,
    no_rows,
    refuse_too_many,
    refuse_too_wide,
    score_header,
    trimmed,
)

DELIMITERS = (",", ";", "\t", "|")
_MAX_RECORD_LINES = 200  # a quoted field with more line breaks is an opening quote that was never closed
_RECORDS_BETWEEN_CHECKS = 10_000
_WINDOW_LINES = 10_000


@dataclass(slots=True)
class _Record:
    """Fields of the record starting at line index `start` (from 0) and the index after its last line.

    `fault` says why it is malformed; then `after` is start + 1.
    """

    fields: list[str]
    start: int
    after: int
    fault: str = ""


def parse_csv(text: str, limits: Limits, options: ParseOptions, deadline: Deadline) -> Parsed:
    """Reads delimited text. The encoding is for the caller to add. See `parse`."""
    lines = _split(text, limits)
    del text
    deadline.check("the lines")
    delimiter, header = _find_header(lines, options)
    columns = trimmed(header.fields)
    refuse_too_wide(len(columns), limits, header.start + 1)
    frame, malformed = _body(lines, header.after, delimiter, len(columns), limits, deadline)
    rows = frame.height + malformed.height
    if rows == 0:
        raise no_rows("the file", header.start + 1)
    refuse_too_many(rows, len(columns), limits)
    return Parsed(frame, columns, malformed, "csv", "utf-8", delimiter, header_line=header.start + 1)


def _split(text: str, limits: Limits) -> pl.Series:
    """The physical lines, without their ends (LF, CR LF, or CR alone in a file that has no LF)."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        if "\n" not in text:
            text = text.replace("\r", "\n")
    # Blank lines and quoted line breaks are no rows, hence the room; the rows proper are counted afterwards.
    if text.count("\n") > 4 * limits.max_rows + HEADER_SEARCH_ROWS:
        raise TooManyRows(
            f"more than {4 * limits.max_rows:,} lines",
            expected=f"at most {limits.max_rows:,} rows: split the file, for instance by month",
        )
    lines = pl.Series("text", [text]).str.split("\n").explode()
    return lines.str.strip_suffix("\r") if "\r" in text else lines


# -- header ----------------------------------------------------------------------------------------------------------


def _find_header(lines: pl.Series, options: ParseOptions) -> tuple[str, _Record]:
    """The delimiter and the record among the first rows that together name the most wanted columns."""
    candidates = DELIMITERS if options.delimiter == "auto" else (options.delimiter,)
    best: tuple[tuple[int, int, int], str, _Record] | None = None
    first: list[str] = []
    for delimiter in candidates:
        for place, record in enumerate(_first_records(lines, delimiter)):
            if len(record.fields) > len(first) and place == 0:
                first = record.fields
            score = score_header(record.fields, options)
            # Without wanted names, ties go to the earlier row: data may have as many texts as the header above it.
            rank = (score, len(record.fields), -place) if options.fields else (score, -place, len(record.fields))
            if score > 0 and (best is None or rank > best[0]):
                best = rank, delimiter, record
    if best is None:
        raise no_header(first, options)
    return best[1], best[2]


def _first_records(lines: pl.Series, delimiter: str) -> Iterator[_Record]:
    """The first non-blank records that are well-formed."""
    head = lines.head(HEADER_SEARCH_ROWS + _MAX_RECORD_LINES).to_list()
    reader = _LineReader(head, delimiter)
    place, found = 0, 0
    while place < len(head) and found < HEADER_SEARCH_ROWS:
        record = reader.record_at(place)
        place = record.after
        if not record.fault and any(cell.strip(WHITE_SPACE) for cell in record.fields):
            found += 1
            yield record


# -- body ------------------------------------------------------------------------------------------------------------


def _body(
    lines: pl.Series, start: int, delimiter: str, width: int, limits: Limits, deadline: Deadline
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All records after the header: those that fit (line, c0..) and those that do not, both in file order."""
    quoted = lines.str.contains('"', literal=True).any()
    table = (
        pl.DataFrame({"text": lines})
        .with_row_index("at")
        .slice(start)
        .with_columns(_unquoted(pl.col("text"), delimiter) if quoted else pl.col("text"))
        .filter(pl.col("text").str.strip_chars(WHITE_SPACE + delimiter) != "")
        .with_columns(
            careful=pl.col("text").str.contains('"', literal=True)
            | (pl.col("text").str.count_matches(delimiter, literal=True) != width - 1)
            | (pl.col("text").str.len_bytes() > limits.max_cell_chars)
        )
    )
    names = [f"c{place}" for place in range(width)]
    starts = table.filter("careful")["at"].to_list()
    all_lines = _Lines(lines)
    records = list(_careful_records(all_lines, starts, delimiter, deadline))
    swallowed = [place for record in records for place in range(record.start + 1, record.after)]
    plain = table.filter(~pl.col("careful"))
    if swallowed:
        plain = plain.join(pl.DataFrame({"at": pl.Series(swallowed, dtype=plain["at"].dtype)}), on="at", how="anti")
    fits, faults = _sorted_out(records, width, limits, all_lines)
    frame = pl.concat([_plain_frame(plain, delimiter, names), _careful_frame(fits, names)])
    # A blank field is an empty one, whether quoted or not.
    frame = frame.with_columns(pl.when(pl.col(n).str.strip_chars() != "").then(pl.col(n)).alias(n) for n in names)
    malformed = pl.DataFrame(faults, schema=MALFORMED_SCHEMA, orient="row")
    return frame.sort("line"), malformed.sort("line")


def _unquoted(text: pl.Expr, delimiter: str) -> pl.Expr:
    """Lines whose quotes enclose whole fields without a delimiter or quote inside, without those quotes."""
    cell = f'(?:"[^"{delimiter}]*"|[^"{delimiter}]*)'
    simple = text.str.contains('"', literal=True) & text.str.contains(f"^{cell}(?:[{delimiter}]{cell})*$")
    return pl.when(simple).then(text.str.replace_all('"', "", literal=True)).otherwise(text)


def _plain_frame(plain: pl.DataFrame, delimiter: str, names: list[str]) -> pl.DataFrame:
    line = (pl.col("at").cast(pl.Int64) + 1).alias("line")
    if len(names) == 1:
        return plain.select(line, pl.col("text").alias(names[0]))
    cells = pl.col("text").str.split_exact(delimiter, len(names) - 1).struct.rename_fields(names)
    return plain.select(line, cells.alias("cells")).unnest("cells")


def _careful_frame(fits: list[_Record], names: list[str]) -> pl.DataFrame:
    columns: dict[str, pl.Series] = {"line": pl.Series([record.start + 1 for record in fits], dtype=pl.Int64)}
    for place, name in enumerate(names):
        columns[name] = pl.Series([record.fields[place] for record in fits], dtype=pl.String)
    return pl.DataFrame(columns)


class _Lines:
    """Lines by their index, a window of them at a time: a few odd rows of a million are read without the others."""

    def __init__(self, lines: pl.Series) -> None:
        self._lines = lines
        self._first = 0
        self._window: list[str] = []

    def __len__(self) -> int:
        return self._lines.len()

    def __getitem__(self, at: int) -> str:
        if not 0 <= at - self._first < len(self._window):
            self._first, self._window = at, self._lines.slice(at, _WINDOW_LINES).to_list()
        return self._window[at - self._first]


def _careful_records(lines: _Lines, starts: list[int], delimiter: str, deadline: Deadline) -> Iterator[_Record]:
    """Records starting at the given line indices, read by the csv module; starts inside an earlier one are skipped.

    Time is linear: a quote left open is read on from only as far as the next quote, or _MAX_RECORD_LINES.
    """
    reader = _LineReader(lines, delimiter)
    end = 0
    for place, start in enumerate(starts):
        if place % _RECORDS_BETWEEN_CHECKS == 0:
            deadline.check(f"line {start + 1:,} of {len(lines):,}")
        if start >= end:
            record = reader.record_at(start)
            end = record.after
            yield record


class _LineReader:
    """The csv module, made to read one record from any line."""

    def __init__(self, lines: list[str] | _Lines, delimiter: str) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._at = self._stop = 0
        self._renew()

    def _renew(self) -> None:
        self._reader = csv.reader(iter(self._next_line, None), delimiter=self._delimiter, strict=True)

    def _next_line(self) -> str | None:
        """The line at the cursor; None ends the reading where a record has grown too long, and at the end."""
        if self._at >= self._stop:
            return None
        self._at += 1
        return self._lines[self._at - 1] + "\n"

    def record_at(self, start: int) -> _Record:
        """The record beginning at line index `start`."""
        self._at, self._stop = start, min(start + _MAX_RECORD_LINES, len(self._lines))
        try:
            fields = next(self._reader, [])
        except csv.Error as error:
            self._renew()
            return _Record([], start, start + 1, self._fault(str(error)))
        return _Record(fields, start, self._at)

    def _fault(self, told: str) -> str:
        if "unexpected end of data" in told:
            return "an opening quote is never closed"
        if "expected after" in told:
            return f"text follows a closing quote, where the delimiter {self._delimiter!r} was expected"
        return f"malformed: {told}"


def _sorted_out(
    records: list[_Record], width: int, limits: Limits, lines: _Lines
) -> tuple[list[_Record], list[tuple[int, str, str, str]]]:
    """Records that fit the header (cut or checked to `width`), and the others as rejected rows."""
    fits: list[_Record] = []
    faults: list[tuple[int, str, str, str]] = []
    for record in records:
        fields, fault = record.fields, record.fault
        if len(fields) == width and any(fields) and max(map(len, fields)) <= limits.max_cell_chars:
            fits.append(record)  # the usual case, first because it is a million times
            continue
        if not fault and not any(cell.strip(WHITE_SPACE) for cell in fields):
            continue
        while len(fields) > width and not fields[-1].strip(WHITE_SPACE):
            fields.pop()
        if not fault and len(fields) != width:
            fault = f"has {len(fields)} fields, the header has {width}"
        elif not fault and any(len(cell) > limits.max_cell_chars for cell in fields):
            fault = f"a field has more than {limits.max_cell_chars:,} characters"
        if fault:
            text = "\n".join(lines[at] for at in range(record.start, record.after))
            raw = json.dumps({"text": text[:RAW_CHARS]}, ensure_ascii=False)
            faults.append((record.start + 1, "", fault, raw))
        else:
            fits.append(record)
    return fits, faults
