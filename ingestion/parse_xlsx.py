"""Workbooks (XLSX) through calamine, after the archive was unpacked once under limits and its cells were counted.

The check comes first because the reader lays out a sheet as a full grid: a few hundred bytes naming one cell in the
last row and column would ask for gigabytes.
"""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator

import fastexcel
import polars as pl

from ingestion.decode import refuse_bomb
from ingestion.errors import EmptyFile, IngestionError, TooManyCells, TooManyColumns, TooManyRows, UnreadableFile
from ingestion.limits import Limits
from ingestion.table import (
    HEADER_SEARCH_ROWS,
    MALFORMED_SCHEMA,
    WHITE_SPACE,
    Parsed,
    ParseOptions,
    no_header,
    score_header,
)

_CHUNK = 1 << 20
_OVERLAP = 64
_MAX_MEMBERS = 2_000
_MAX_SHEETS = 50
_REFERENCE = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]{0,3})([0-9]{1,7})[\"']")
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)


def parse_xlsx(content: bytes, file_name: str, limits: Limits, options: ParseOptions) -> Parsed:
    """Reads the sheet named by the mapping, else the visible sheet naming the most wanted columns. See `parse`."""
    _check_archive(content, limits)
    try:
        return _read(content, file_name, limits, options)
    except IngestionError:
        raise
    except MemoryError as error:
        raise TooManyCells("the workbook does not fit into memory") from error
    except BaseException as error:
        # calamine's panics derive from BaseException; anything else of that kind is not ours to catch.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise UnreadableFile(f"the workbook is damaged ({told})", expected="a file Excel opens") from error
        raise


# -- archive ---------------------------------------------------------------------------------------------------------


def _check_archive(content: bytes, limits: Limits) -> None:
    """Unpacks every member, counting real bytes and cell positions; raises before the reader would be at risk."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, struct.error, OSError, NotImplementedError) as error:
        raise UnreadableFile(f"the workbook's archive is damaged ({error})", expected="a complete XLSX file") from error
    # First of all: whatever else is wrong with it, a bomb is called a bomb.
    refuse_bomb(sum(member.file_size for member in members), len(content), limits)
    names = {member.filename.lower() for member in members}
    if "[content_types].xml" not in names or not any(name.startswith("xl/workbook.") for name in names):
        raise UnreadableFile("a ZIP archive that holds no workbook", expected="an XLSX file, or CSV")
    if len(members) > _MAX_MEMBERS:
        raise UnreadableFile(f"the archive has {len(members):,} members", expected=f"at most {_MAX_MEMBERS:,}")
    # What the directory claims is looked at first, as it costs nothing; what is really in there, after that.
    total = 0
    for member in members:
        if member.flag_bits & 0x1:
            raise UnreadableFile("the workbook is protected by a password", expected="a workbook without password")
        total = _check_member(content, member, total, limits)


def _check_member(content: bytes, member: zipfile.ZipInfo, total: int, limits: Limits) -> int:
    """Unpacks one member and returns the running total of bytes; sheets have their cell references checked."""
    packed = _packed_bytes(content, member)
    if member.compress_type == zipfile.ZIP_STORED:
        parts = iter([bytes(packed)])
    elif member.compress_type == zipfile.ZIP_DEFLATED:
        parts = _inflate(packed)
    else:
        raise UnreadableFile(f"'{member.filename}' is packed with an unusual method", expected="a file saved by Excel")
    is_sheet = _SHEET.fullmatch(member.filename) is not None
    tail, extent = b"", (0, 0)
    try:
        for part in parts:
            total += len(part)
            refuse_bomb(total, len(content), limits)
            if is_sheet:
                if not tail and part.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise UnreadableFile(f"'{member.filename}' is not UTF-8", expected="a file saved by Excel")
                extent = _extended(extent, tail + part)
                _check_extent(extent, limits)
                tail = part[-_OVERLAP:]
    except zlib.error as error:
        raise UnreadableFile(f"'{member.filename}' in the workbook is damaged ({error})") from error
    return total


def _packed_bytes(content: bytes, member: zipfile.ZipInfo) -> memoryview:
    """A member's packed bytes, found through its local header, whose name and extra fields may differ in length."""
    start = member.header_offset
    header = content[start : start + 30]
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise UnreadableFile(f"the archive's entry '{member.filename}' is damaged", expected="a complete XLSX file")
    name_size, extra_size = struct.unpack("<HH", header[26:30])
    data = start + 30 + name_size + extra_size
    return memoryview(content)[data : data + member.compress_size]


def _inflate(packed: memoryview) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=-15)
    rest: bytes | memoryview = packed
    while rest and not stream.eof:
        part = stream.decompress(rest, _CHUNK)
        rest = stream.unconsumed_tail
        yield part
    yield stream.flush()


def _extended(extent: tuple[int, int], text: bytes) -> tuple[int, int]:
    """Largest row and column named by references in a piece of sheet XML, from 1."""
    rows, columns = extent
    for letters, digits in _REFERENCE.findall(text):
        rows = max(rows, int(digits))
        column = 0
        for letter in letters.upper():
            column = column * 26 + letter - 64
        columns = max(columns, column)
    return rows, columns


def _check_extent(extent: tuple[int, int], limits: Limits) -> None:
    rows, columns = extent
    if rows > limits.max_rows + HEADER_SEARCH_ROWS:
        raise TooManyRows(f"a sheet reaches down to row {rows:,}", expected=f"at most {limits.max_rows:,} rows")
    if columns > limits.max_columns:
        raise TooManyColumns(f"a sheet reaches to column {columns:,}", expected=f"at most {limits.max_columns:,}")
    if rows * columns > limits.max_cells:
        raise TooManyCells(f"a sheet spans {rows:,} x {columns:,} cells", expected=f"at most {limits.max_cells:,}")


# -- sheets ----------------------------------------------------------------------------------------------------------


def _read(content: bytes, file_name: str, limits: Limits, options: ParseOptions) -> Parsed:
    reader = fastexcel.read_excel(content)
    sheet_name, header_at, header = _find_header(reader, file_name, options)
    raw = reader.load_sheet(sheet_name, header_row=None, skip_rows=0, dtypes="string").to_polars()
    while header and not header[-1].strip(WHITE_SPACE):
        header.pop()
    width = len(header)
    raw = raw.select(pl.col(raw.columns[place]).cast(pl.String).alias(f"c{place}") for place in range(width))
    names = raw.columns
    frame = (
        raw.with_columns(pl.when(pl.col(n).str.strip_chars() != "").then(pl.col(n)).alias(n) for n in names)
        .with_row_index("line", offset=1)
        .with_columns(pl.col("line").cast(pl.Int64))
        .slice(header_at + 1)
        .filter(pl.any_horizontal(pl.col(n).is_not_null() for n in names))
    )
    if frame.is_empty():
        raise EmptyFile(f"sheet '{sheet_name}' has a header but not one data row", line=header_at + 1)
    if frame.height > limits.max_rows:
        raise TooManyRows(f"sheet '{sheet_name}' has {frame.height:,} rows", expected=f"at most {limits.max_rows:,}")
    most = limits.max_cell_chars
    too_long = pl.any_horizontal(pl.col(n).str.len_chars() > most for n in names).fill_null(value=False)
    bad = frame.filter(too_long).select(
        "line",
        field=pl.lit(""),
        reason=pl.lit(f"a cell has more than {most:,} characters"),
        raw=pl.lit("{}"),
    )
    return Parsed(
        frame.filter(~too_long),
        tuple(name.strip(WHITE_SPACE) for name in header),
        bad.cast(MALFORMED_SCHEMA),  # type: ignore[arg-type]
        "xlsx",
        "utf-8",
        "",
        header_line=header_at + 1,
        sheet=sheet_name,
        numbers_are_plain=True,
    )


def _find_header(reader: fastexcel.ExcelReader, file_name: str, options: ParseOptions) -> tuple[str, int, list[str]]:
    """(sheet, row index from 0, cells) of the record among the first rows that names the most wanted columns."""
    names = reader.sheet_names
    if options.sheet:
        if options.sheet not in names:
            raise UnreadableFile(f"there is no sheet '{options.sheet}'", expected=f"one of {', '.join(names[:20])}")
        names = [options.sheet]
    best: tuple[int, str, int, list[str]] | None = None
    first: list[str] = []
    any_cell = False
    for name in names[:_MAX_SHEETS]:
        sheet = reader.load_sheet(name, header_row=None, skip_rows=0, n_rows=HEADER_SEARCH_ROWS, dtypes="string")
        if sheet.visible != "visible" and not options.sheet:
            continue
        for place, row in enumerate(sheet.to_polars().iter_rows()):
            cells = [str(cell) if cell is not None else "" for cell in row]
            any_cell = any_cell or any(cells)
            first = first or [cell for cell in cells if cell]
            score = score_header(cells, options)
            if score > 0 and (best is None or score > best[0]):
                best = score, name, place, cells
    if best is None:
        if not any_cell:
            raise EmptyFile("the workbook holds no visible cells")
        raise no_header(first, options, file_name)
    return best[1], best[2], best[3]
