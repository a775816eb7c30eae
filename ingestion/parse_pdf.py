"""Tables of a PDF through pdfplumber, page by page: drawn with rules, or text that stands in columns below a header.

A PDF knows no rows: lines and words are put where they are seen. What cannot be placed is a malformed row, so that a
table read in part is noticed.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import pdfplumber
import polars as pl
from pdfminer.pdfdocument import PDFPasswordIncorrect
from pdfplumber.utils.exceptions import PdfminerException

from ingestion.errors import TooManyPages, TooManyRows, UnreadableFile
from ingestion.limits import Deadline, Limits
from ingestion.pdf_columns import TextLine, rows_below, text_lines
from ingestion.table import (
    HEADER_SEARCH_ROWS,
    MALFORMED_SCHEMA,
    RAW_CHARS,
    Parsed,
    ParseOptions,
    best_header,
    header_key,
    no_header,
    no_rows,
    refuse_too_many,
    refuse_too_wide,
    trimmed,
    without_blanks,
    without_long_cells,
)

ROWS_A_PAGE = 10_000
_Cells = list[str]


@dataclass(frozen=True, slots=True)
class Page:
    """What is on a page: the cells of its ruled tables, and all its text by lines."""

    number: int
    tables: list[list[_Cells]]
    lines: list[TextLine]


@dataclass(frozen=True, slots=True)
class Found:
    """A table across pages: its header, that header's score and place, and all rows below with their line."""

    score: int
    line: int
    header: _Cells
    rows: list[tuple[int, _Cells]]


def parse_pdf(content: bytes, limits: Limits, options: ParseOptions, deadline: Deadline) -> Parsed:
    """Reads the table whose header names the most wanted columns, over all pages it goes on. See `parse`."""
    pages = list(_pages(content, limits, deadline))
    if not any(page.lines for page in pages):
        raise UnreadableFile(
            "the PDF holds no text that can be read: it is a scan (pictures only), empty or damaged",
            expected="a PDF made by a program, or the table as CSV or XLSX: ask the sender for the export",
        )
    ruled, plain = ruled_table(pages, options), plain_table(pages, options)
    found = max((table for table in (ruled, plain) if table), key=lambda t: (bool(t.rows), t.score), default=None)
    if found is None:
        raise no_header([cell.text for cell in pages[0].lines[0].cells] if pages[0].lines else [], options, "on a page")
    return _parsed(found, limits)


def _pages(content: bytes, limits: Limits, deadline: Deadline) -> Iterator[Page]:
    try:
        document = pdfplumber.open(io.BytesIO(content))
    except PdfminerException as error:
        if any(isinstance(cause, PDFPasswordIncorrect) for cause in error.args):
            raise UnreadableFile("the PDF is protected by a password", expected="a PDF that opens without") from error
        raise
    with document:
        count = len(document.pages)
        if count > limits.max_pages:
            raise TooManyPages(f"the PDF has {count:,} pages", expected=f"at most {limits.max_pages:,}: split it")
        for page in document.pages:
            deadline.check(f"page {page.page_number} of {count}")
            tables = [[[_one_line(cell) for cell in row] for row in table] for table in page.extract_tables()]
            yield Page(page.page_number, tables, text_lines(page.extract_words()))
            page.close()


def _one_line(cell: str | None) -> str:
    return " ".join(cell.split()) if cell else ""


def _line(page: int, row: int) -> int:
    """Page and row in one number: 30012 is page 3, row 12."""
    if row >= ROWS_A_PAGE:
        raise TooManyRows(f"page {page} has more than {ROWS_A_PAGE - 1:,} rows", expected="a table of readable size")
    return page * ROWS_A_PAGE + row


# -- ruled -----------------------------------------------------------------------------------------------------------


def ruled_table(pages: list[Page], options: ParseOptions) -> Found | None:
    """The table whose header is best, with the rows of all ruled tables after it: what does not fit it is malformed."""
    best: tuple[int, int, int] | None = None
    tables = [(page, at) for page in pages for at in range(len(page.tables))]
    for place, (page, at) in enumerate(tables):
        found = best_header(page.tables[at][:HEADER_SEARCH_ROWS], options)
        if found is not None and (best is None or found[0] > best[0]):
            best = found[0], place, found[1]
    if best is None:
        return None
    score, first, header_at = best
    page, at = tables[first]
    header = page.tables[at][header_at]
    rows: list[tuple[int, _Cells]] = []
    for place, (page, at) in enumerate(tables[first:]):
        before = sum(len(table) for table in page.tables[:at])
        keys = [_keys(cells) for cells in page.tables[at]]
        # What stands above the header in its table is a title, on every page.
        start = keys.index(_keys(header)) + 1 if _keys(header) in keys else 0
        start = header_at + 1 if place == 0 else start
        rows += [
            (_line(page.number, before + row + 1), cells)
            for row, cells in enumerate(page.tables[at])
            if row >= start and keys[row] != _keys(header)
        ]
    page, at = tables[first]
    return Found(score, _line(page.number, sum(map(len, page.tables[:at])) + header_at + 1), header, rows)


def _keys(cells: _Cells) -> list[str]:
    return [header_key(cell) for cell in cells]


# -- without rules ---------------------------------------------------------------------------------------------------


def plain_table(pages: list[Page], options: ParseOptions) -> Found | None:
    """The line of text whose cells are the best header, and the lines below it in its columns."""
    best: tuple[int, int, int] | None = None
    for place, page in enumerate(pages):
        found = best_header([line.texts for line in page.lines], options)
        if found is not None and (best is None or found[0] > best[0]):
            best = found[0], place, found[1]
    if best is None:
        return None
    score, first, header_at = best
    header = pages[first].lines[header_at]
    columns = header.cells
    rows: list[tuple[int, _Cells]] = []
    for page in pages[first:]:
        keys = [_keys(line.texts) for line in page.lines]
        wanted = _keys(header.texts)
        start = keys.index(wanted) + 1 if wanted in keys else 0
        below = [(at + 1, line) for at, line in enumerate(page.lines) if at >= start and keys[at] != wanted]
        rows += [(_line(page.number, row), cells) for row, cells in rows_below(columns, below)]
    return Found(score, _line(pages[first].number, header_at + 1), header.texts, rows)


# -- result ----------------------------------------------------------------------------------------------------------


def _parsed(found: Found, limits: Limits) -> Parsed:
    columns = trimmed(found.header)
    width = len(columns)
    refuse_too_wide(width, limits, found.line)
    refuse_too_many(len(found.rows), width, limits)
    fits, faults = [], []
    for line, cells in found.rows:
        kept = cells[:width] if not any(cells[width:]) else cells
        if len(kept) == width:
            fits.append((line, *kept))
        elif any(kept):
            raw = pl.Series([{"text": " | ".join(kept)[:RAW_CHARS]}]).struct.json_encode()[0]
            faults.append((line, "", f"has {len(kept)} cells, the header has {width}", raw))
    schema = {"line": pl.Int64} | {f"c{at}": pl.String for at in range(width)}
    frame = without_blanks(pl.DataFrame(fits, schema=schema, orient="row"))
    malformed = pl.DataFrame(faults, schema=MALFORMED_SCHEMA, orient="row")
    if frame.is_empty() and malformed.is_empty():
        raise no_rows("the table", found.line)
    frame, long = without_long_cells(frame, limits)
    malformed = pl.concat([malformed, long]).sort("line")
    return Parsed(frame, columns, malformed, "pdf", "utf-8", "", header_line=found.line)
