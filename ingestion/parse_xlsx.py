"""Workbooks of today's Excel (XLSX, XLSM), after the archive was unpacked once under limits and its cells were counted.

The check comes first because the reader lays out a sheet as a full grid: a few hundred bytes naming one cell in the
last row and column would ask for gigabytes, and be told of as a lack of memory.
"""

import re

from ingestion.archive import entries, refuse_claims, unpack
from ingestion.decode import refuse_bomb
from ingestion.errors import TooManyCells, TooManyRows, UnreadableFile
from ingestion.limits import Deadline, Limits
from ingestion.sheets import parse_sheets
from ingestion.table import HEADER_SEARCH_ROWS, Parsed, ParseOptions

_OVERLAP = 64
_REFERENCE = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]{0,3})([0-9]{1,7})[\"']")
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def parse_xlsx(content: bytes, limits: Limits, options: ParseOptions, deadline: Deadline) -> Parsed:
    """Reads an XLSX or XLSM file. See `parse_sheets`."""
    directory = entries(content)
    refuse_claims(directory, content, limits)
    total = 0
    for entry in directory:
        deadline.check(f"'{entry.filename}' in the workbook")
        is_sheet = _SHEET.fullmatch(entry.filename) is not None
        tail, extent = b"", (0, 0)
        for part in unpack(content, entry):
            total += len(part)
            refuse_bomb(total, len(content), limits)
            if is_sheet:
                if not tail and part.startswith(_UTF_16):
                    raise UnreadableFile(f"'{entry.filename}' is not UTF-8", expected="a file saved by Excel")
                extent = _extended(extent, tail + part)
                _check_extent(extent, limits)
                tail = part[-_OVERLAP:]
    return parse_sheets(content, "xlsx", limits, options, deadline)


def _extended(extent: tuple[int, int], text: bytes) -> tuple[int, int]:
    """Largest row and column named by references in a piece of sheet XML, from 1."""
    rows, columns = extent
    found = _REFERENCE.findall(text)
    # A million cells share few letters and a tenth of the digits.
    rows = max(rows, max(map(int, {digits for _, digits in found}), default=0))
    for letters in {letters for letters, _ in found}:
        column = 0
        for letter in letters.upper():
            column = column * 26 + letter - 64
        columns = max(columns, column)
    return rows, columns


def _check_extent(extent: tuple[int, int], limits: Limits) -> None:
    """A wide sheet alone is no reason: it may be another one than that of the table, or formatted to its end."""
    rows, columns = extent
    advice = "delete the empty rows and columns around the table, or split it"
    if rows > limits.max_rows + HEADER_SEARCH_ROWS:
        raise TooManyRows(
            f"a sheet reaches down to row {rows:,}", expected=f"at most {limits.max_rows:,} rows: {advice}"
        )
    if rows * columns > limits.max_cells:
        raise TooManyCells(
            f"a sheet spans {rows:,} x {columns:,} cells", expected=f"at most {limits.max_cells:,}: {advice}"
        )
