"""A file as strings: what parsing takes and gives, and how a header is recognised."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from ingestion.errors import WrongColumns

MALFORMED_SCHEMA = {"line": pl.Int64, "field": pl.String, "reason": pl.String, "raw": pl.String}
HEADER_SEARCH_ROWS = 20
# Unicode's white space, which is what Polars strips. Python's strip() takes the separators U+001C to U+001F as well:
# they are control characters, so a row of nothing else is a damaged one, to be reported and not passed over as blank.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"


@dataclass(frozen=True, slots=True)
class ParseOptions:
    """How to read a file: fixed by the mapping, not guessed per file, unless the mapping says "auto".

    `fields` are the accepted header names of each field, normalised (`header_key`); they decide which line is the
    header and which character separates the columns.
    """

    encoding: str = "utf-8"
    delimiter: str = "auto"
    sheet: str = ""
    fields: Sequence[frozenset[str]] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file as strings.

    frame: `line` (Int64, from 1 as a text editor or Excel shows it) and c0..cN (String, null = empty), one row per data
    record; blank records are left out. columns: the header's names for c0..cN, as written.
    malformed: records that do not fit the header, as rejected rows (MALFORMED_SCHEMA), lines disjoint from the frame's.
    numbers_are_plain: numbers and dates come typed from a workbook, so they have a decimal point and ISO form.
    """

    frame: pl.DataFrame
    columns: tuple[str, ...]
    malformed: pl.DataFrame
    file_format: str
    encoding: str
    delimiter: str
    header_line: int
    sheet: str = ""
    numbers_are_plain: bool = False

    @property
    def read(self) -> int:
        """Data records in the file."""
        return self.frame.height + self.malformed.height


def header_key(name: str) -> str:
    """A header name for comparison: case, blanks, dots, dashes and underscores do not matter.

    'Qty on Hand', 'qty_on_hand' and 'QTY. ON HAND' are the same.
    """
    return "".join(char for char in name.casefold() if char.isalnum() or char in "%#")


def score_header(cells: Sequence[str], options: ParseOptions) -> int:
    """How many of the wanted fields a record names; without wanted fields, 1 for any record with a value."""
    keys = {header_key(cell) for cell in cells}
    if not options.fields:
        return int(any(keys))
    return sum(not accepted.isdisjoint(keys) for accepted in options.fields)


def no_header(found: Sequence[str], options: ParseOptions, file_name: str) -> WrongColumns:
    """The error for a file in whose first records no wanted column name occurs."""
    from ingestion.errors import WrongColumns

    shown = ", ".join(repr(cell[:40]) for cell in found[:12]) or "nothing"
    wanted = ", ".join(sorted(min(accepted, key=len) for accepted in options.fields)[:12])
    return WrongColumns(
        f"none of the wanted columns is named in the first {HEADER_SEARCH_ROWS} rows; the first row is {shown}",
        file=file_name,
        line=1,
        expected=f"a row naming columns such as {wanted}",
    )


def looks_like_markup(start: str) -> bool:
    """Whether text begins as HTML or XML, as error pages saved in place of an export do."""
    begin = start.lstrip().lower()
    return begin.startswith(("<!doctype", "<html", "<?xml", "<head", "<body", "<table"))
