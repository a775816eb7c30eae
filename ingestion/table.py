"""A file as strings: what parsing takes and gives, how a header is recognised, and what every table must keep to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from ingestion.errors import EmptyFile, TooManyCells, TooManyColumns, TooManyRows, WrongColumns
from ingestion.limits import Limits

MALFORMED_SCHEMA = {"line": pl.Int64, "field": pl.String, "reason": pl.String, "raw": pl.String}
HEADER_SEARCH_ROWS = 50
RAW_CHARS = 2_000
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

    frame: `line` (Int64, from 1) and c0..cN (String, null = empty), one row per data record; blank records are left
    out. columns: the header's names for c0..cN, as written.
    line: as a text editor or Excel shows it; the place in the list of a JSON array or a Parquet file; in a PDF
    10,000 times the page plus the row on it, so that 30012 is page 3, row 12.
    malformed: records that do not fit the header, as rejected rows (MALFORMED_SCHEMA), lines disjoint from the frame's.
    header_line: 0 where names are no line of the file. numbers_are_plain: numbers and dates come typed from the file,
    so they have a decimal point and ISO form.
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


# -- header ----------------------------------------------------------------------------------------------------------


def header_key(name: str) -> str:
    """A header name for comparison: case, blanks, dots, dashes and underscores do not matter.

    'Qty on Hand', 'qty_on_hand' and 'QTY. ON HAND' are the same.
    """
    return "".join(char for char in name.casefold() if char.isalnum() or char in "%#")


def score_header(cells: Sequence[str], options: ParseOptions) -> int:
    """How many of the wanted fields a record names; without wanted fields, how many different names it has.

    A name has a letter. The data below a header has at most as many such cells, so that the first of the best rows is
    the header, and a title above it has fewer.
    """
    keys = {header_key(cell) for cell in cells}
    if not options.fields:
        return sum(any(char.isalpha() for char in key) for key in keys)
    return sum(not accepted.isdisjoint(keys) for accepted in options.fields)


def best_header(rows: Iterable[Sequence[str]], options: ParseOptions) -> tuple[int, int] | None:
    """(score, place from 0) of the best header among rows, the first of equals; None where none names anything."""
    best: tuple[int, int] | None = None
    for place, cells in enumerate(rows):
        score = score_header(cells, options)
        if score > 0 and (best is None or score > best[0]):
            best = score, place
    return best


def no_header(found: Sequence[str], options: ParseOptions, searched: str = "") -> WrongColumns:
    """The error for a file in whose first records no wanted column name occurs; `found` is what the first one has."""
    searched = searched or f"in the first {HEADER_SEARCH_ROWS} rows"
    shown = ", ".join(repr(cell[:40]) for cell in found[:12]) or "nothing"
    if not options.fields:
        return WrongColumns(
            f"no column has a name {searched}; the first row is {shown}", line=1, expected="a row of column names"
        )
    wanted = ", ".join(sorted(min(accepted, key=len) for accepted in options.fields)[:12])
    return WrongColumns(
        f"none of the wanted columns is named {searched}; the first row is {shown}",
        line=1,
        expected=f"a row naming columns such as {wanted}; a file with names of its own needs them in the mapping",
    )


def trimmed(header: Sequence[str]) -> tuple[str, ...]:
    """Header names without blanks around them and without empty ones at the end (a trailing delimiter)."""
    names = [name.strip(WHITE_SPACE).lstrip("\ufeff") for name in header]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


# -- bounds ----------------------------------------------------------------------------------------------------------


def refuse_too_wide(columns: int, limits: Limits, line: int | None = None) -> None:
    """Raises TooManyColumns."""
    if columns > limits.max_columns:
        raise TooManyColumns(
            f"the header names {columns:,} columns",
            line=line,
            expected=f"at most {limits.max_columns:,}: leave out those that are not needed",
        )


def refuse_too_many(rows: int, columns: int, limits: Limits) -> None:
    """Raises TooManyRows or TooManyCells."""
    if rows > limits.max_rows:
        raise TooManyRows(
            f"the file has {rows:,} rows", expected=f"at most {limits.max_rows:,}: split it, for instance by month"
        )
    if rows * columns > limits.max_cells:
        raise TooManyCells(
            f"{rows:,} rows of {columns:,} columns",
            expected=f"at most {limits.max_cells:,} cells: leave out columns, or split the file",
        )


def without_blanks(frame: pl.DataFrame) -> pl.DataFrame:
    """Blank cells of c0..cN made null and rows of nothing else left out; `line` stays."""
    names = [name for name in frame.columns if name != "line"]
    if not names:
        return frame.clear()
    return frame.with_columns(
        pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name)).alias(name) for name in names
    ).filter(pl.any_horizontal(pl.col(name).is_not_null() for name in names))


def without_long_cells(frame: pl.DataFrame, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows whose cells are all short enough, and the others as rejected rows."""
    most = limits.max_cell_chars
    names = [name for name in frame.columns if name != "line"]
    if not names:
        return frame, pl.DataFrame(schema=MALFORMED_SCHEMA)
    too_long = pl.any_horizontal(pl.col(name).str.len_chars() > most for name in names).fill_null(value=False)
    start = pl.concat_str([pl.col(name).str.slice(0, 100) for name in names], separator=" | ", ignore_nulls=True)
    raw = pl.struct(start.str.slice(0, RAW_CHARS).alias("text")).struct.json_encode()
    bad = frame.filter(too_long).select(
        "line", field=pl.lit(""), reason=pl.lit(f"a cell has more than {most:,} characters"), raw=raw
    )
    return frame.filter(~too_long), bad.cast(MALFORMED_SCHEMA)  # type: ignore[arg-type]


def no_rows(what: str, line: int | None = None) -> EmptyFile:
    """The error for a table without a data row; `what` names it ('the file', "sheet 'May'")."""
    return EmptyFile(
        f"{what} has a header but not one data row",
        line=line,
        expected="at least one row below the header: check the export's date range or filter",
    )


def looks_like_markup(start: str) -> bool:
    """Whether text begins as HTML or XML, as error pages saved in place of an export do."""
    begin = start.lstrip().lower()
    return begin.startswith(("<!doctype", "<html", "<?xml", "<head", "<body", "<table"))
