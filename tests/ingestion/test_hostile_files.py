"""Files that must be refused as a whole, each with an error that says what is wrong, where, and what was expected."""

import gzip
import itertools
import pickle
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hostile import demand_mapping, hostile_files
from samples import CONTENT_TYPES, archive, lying_about_size, raw_workbook, sound_files, workbook

from ingestion import confined, errors
from ingestion.archive import Member, is_archive, members
from ingestion.errors import IngestionError
from ingestion.ingest import Ingested, ingest
from ingestion.limits import MIB, Limits
from ingestion.mapping import Mapping
from ingestion.own_format import own_mapping
from ingestion.validate import KnownCodes

GOOD = b"item,day,quantity\nA,2024-01-02,3\n"
SMALL = Limits(
    max_bytes=20_000,
    max_uncompressed=200_000,
    max_ratio=50,
    ratio_free_bytes=10_000,
    max_rows=50,
    max_columns=20,
    max_cells=600,
)


def refused(content: bytes, file_name: str, mapping: Mapping | None = None, limits: Limits = SMALL) -> IngestionError:
    with pytest.raises(IngestionError) as caught:
        ingest(content, file_name, mapping or demand_mapping(), limits=limits)
    error = caught.value
    assert str(error).startswith(file_name), str(error)
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), back.line, back.field) == (type(error), str(error), error.line, error.field)
    return error


def row(n: int) -> bytes:
    return b"A%d,2024-01-02,3\n" % n


CSV_CASES = {
    "empty": (b"", errors.EmptyFile, "0 bytes"),
    "blank": (b" \n\n\t\n", errors.EmptyFile, "nothing but blanks"),
    "header only": (
        b"item,day,quantity\n\n,,\n",
        errors.EmptyFile,
        "line 1: the file has a header but not one data row",
    ),
    "wrong columns": (
        b"foo,bar\n1,2\n",
        errors.WrongColumns,
        r"none of the wanted columns.*'foo', 'bar'.*Expected: .*item",
    ),
    "missing column": (
        b"title\nitem,quantity\nA,1\n",
        errors.WrongColumns,
        r"line 2: the header lacks 'day' \(as 'day'\); it names 'item', 'quantity'",
    ),
    "column twice": (b"item,day,quantity,Quantity\nA,2024-01-02,1,2\n", errors.WrongColumns, "'Quantity' 2 times"),
    "latin-1": (
        "item,day,quantity\nÄ1,2024-01-02,3\n".encode("cp1252"),
        errors.WrongEncoding,
        r"line 2: not utf-8: byte 18 \(0xc4\).*Expected: a file saved as utf-8",
    ),
    "utf-16 cut": ("item,day\n".encode("utf-16") + b"x", errors.WrongEncoding, "not utf-16"),
    "nul bytes": (
        b"item,day,quantity\nA\0,2024-01-02,3\n",
        errors.UnreadableFile,
        "line 2: a NUL character at position 19",
    ),
    "utf-16 no bom": ("item,day\n".encode("utf-16-le"), errors.UnreadableFile, "UTF-16 without a byte order mark"),
    "html": (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", errors.UnreadableFile, "web page"),
    "png": (b"\x89PNG\r\n\x1a\n0000", errors.UnreadableFile, "a PNG image"),
    "pdf": (b"%PDF-1.7 ...", errors.UnreadableFile, "the PDF is damaged.*Expected: .*or export it as CSV"),
    "archive": (b"7z\xbc\xaf\x27\x1c...", errors.UnreadableFile, "a 7-Zip archive. Expected: CSV, JSON, XLSX, .*PDF"),
    "program": (b"\x7fELF\x02\x01", errors.UnreadableFile, "a program"),
    "parquet": (b"PAR1....PAR1", errors.UnreadableFile, "the Parquet file is damaged"),
    "too large": (b"x" * 20_001, errors.TooLarge, "20,001 bytes. Expected: at most 20,000 bytes"),
    "too many rows": (b"item,day,quantity\n" + b"".join(row(n) for n in range(51)), errors.TooManyRows, "51 rows"),
    "too many lines": (b"item,day,quantity\n" + b"\n" * 300, errors.TooManyRows, "more than 200 lines"),
    "too many columns": (b"item," * 21 + b"day\n", errors.TooManyColumns, "22 columns"),
    "too many cells": (
        b"item,day,quantity" + b",x" * 12 + b"\n" + b"A,2024-01-02,3,,,,,,,,,,,,\n" * 41,
        errors.TooManyCells,
        "41 rows of 15 columns",
    ),
}


@pytest.mark.parametrize("case", CSV_CASES)
def test_csv(case: str) -> None:
    content, kind, told = CSV_CASES[case]
    error = refused(content, "sales.csv")
    assert type(error) is kind
    assert re.search(told, str(error)), str(error)


GZIP_CASES = {
    "bomb by size": (gzip.compress(b"a" * 5_000_000), errors.DecompressionBomb, "unpacks to more than 200,000 bytes"),
    "bomb by ratio": (gzip.compress(b"a" * 100_000), errors.DecompressionBomb, "more than 50 times"),
    "bomb in members": (gzip.compress(b"a" * 30_000) * 9, errors.DecompressionBomb, "unpacks to more than"),
    "cut off": (gzip.compress(GOOD * 20)[:-12], errors.UnreadableFile, "cut off"),
    "damaged": (gzip.compress(GOOD)[:10] + b"\xff\xff\xff" + b"1" * 30, errors.UnreadableFile, "damaged"),
    "gzip in gzip": (gzip.compress(gzip.compress(GOOD)), errors.UnreadableFile, "gzip within gzip"),
    "of nothing": (gzip.compress(b""), errors.EmptyFile, "holds nothing"),
    "trailing rubbish": (gzip.compress(GOOD) + b"rubbish", errors.UnreadableFile, "damaged"),
}


@pytest.mark.parametrize("case", GZIP_CASES)
def test_gzip(case: str) -> None:
    content, kind, told = GZIP_CASES[case]
    error = refused(content, "sales.csv.gz")
    assert type(error) is kind
    assert re.search(told, str(error)), str(error)


def sheet(reference: str) -> str:
    return f'<worksheet><sheetData><row r="1"><c r="{reference}"><v>1</v></c></row></sheetData></worksheet>'


HEADER = ["item", "day", "quantity"]
XLSX_CASES = {
    "zip bomb": (raw_workbook(b"0" * 5_000_000), errors.DecompressionBomb, "unpacks to more than 200,000 bytes"),
    "zip bomb that lies": (
        lying_about_size(raw_workbook(b"0" * 5_000_000), "xl/worksheets/sheet1.xml", 1_000),
        errors.DecompressionBomb,
        "unpacks to more than",
    ),
    "far column": (raw_workbook(sheet("XFD1")), errors.TooManyCells, "1 x 16,384 cells"),
    "far row": (raw_workbook(sheet("A1048576")), errors.TooManyRows, "down to row 1,048,576"),
    "wide and long": (raw_workbook(sheet("T50")), errors.TooManyCells, "50 x 20 cells"),
    "zip without workbook": (archive({"a.csv": GOOD}), errors.UnreadableFile, "a ZIP archive that holds no workbook"),
    "cut off": (workbook([HEADER, ["A", "2024-01-02", 1]])[:-40], errors.UnreadableFile, "archive is damaged"),
    "no sheets": (
        archive({"[Content_Types].xml": CONTENT_TYPES, "xl/workbook.xml": "<w/>"}),
        errors.UnreadableFile,
        "damaged",
    ),
    "text": (GOOD, errors.UnreadableFile, "named as a workbook, but the content is text"),
    "html": (b"<html><table>", errors.UnreadableFile, r"web page \(HTML\)"),
    "binary": (b"\1\2\0\3", errors.UnreadableFile, "binary data"),
    "old excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1....", errors.UnreadableFile, "workbook is damaged.*open it there"),
    "no cells": (workbook([]), errors.EmptyFile, "no visible cells"),
    "header only": (workbook([HEADER]), errors.EmptyFile, "sheet 'Data' has a header but not one data row"),
    "wrong columns": (workbook([["foo", "bar"], [1, 2]]), errors.WrongColumns, "'foo', 'bar'"),
    "missing column": (workbook([["item", "day"], ["A", "2024-01-02"]]), errors.WrongColumns, "lacks 'quantity'"),
    "too many rows": (workbook([HEADER, *[["A", "2024-01-02", 1]] * 75]), errors.TooManyRows, "the file has 75 rows"),
}


@pytest.mark.parametrize("case", XLSX_CASES)
def test_xlsx(case: str) -> None:
    content, kind, told = XLSX_CASES[case]
    error = refused(content, "sales.xlsx")
    assert type(error) is kind
    assert re.search(told, str(error)), str(error)


def test_password_flag_is_recognised() -> None:
    content = bytearray(workbook([HEADER, ["A", "2024-01-02", 1]]))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "protected by a password" in str(refused(bytes(content), "sales.xlsx"))


def test_sheet_that_is_not_there_names_those_that_are() -> None:
    content = workbook([HEADER, ["A", "2024-01-02", 1]], sheet="January")
    error = refused(content, "sales.xlsx", demand_mapping(sheet="Sales"))
    assert "there is no sheet 'Sales'. Expected: one of January; or change the sheet" in str(error)


def test_quotes_that_never_close_reject_their_own_row_each_and_take_linear_time() -> None:
    content = b"item,day,quantity\n" + b'"A,2024-01-02,3\n' * 20_000 + b"B,2024-01-02,3\n" * 1_000
    result = ingest(content, "sales.csv", demand_mapping(), limits=Limits())
    assert (result.read, result.taken, result.merged, result.rejected_count) == (21_000, 1, 999, 20_000)
    assert result.rejected["line"].to_list() == list(range(2, 20_002))
    assert result.rejected["reason"][19_999] == "an opening quote is never closed"


@pytest.mark.parametrize(
    "kind", [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, IngestionError)]
)
def test_every_error_survives_pickling_and_has_its_own_code(kind: type[IngestionError]) -> None:
    error = kind("wrong", file="a.csv", line=3, field="day", expected="a date")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == "a.csv, line 3, field day: wrong. Expected: a date."
    codes = [
        value.code for value in vars(errors).values() if isinstance(value, type) and issubclass(value, IngestionError)
    ]
    assert len(set(codes)) == len(codes)


def taken(content: bytes, name: str, mapping: Mapping, known: KnownCodes, limits: Limits) -> Iterator[Ingested]:
    """What comes of a file, and of each that is in it."""
    files = members(content, name, limits) if is_archive(content) else [Member(name, content)]
    for file in files:
        yield ingest(file.content, file.name, mapping, known, limits)


def largest_child() -> int:
    """Memory of the largest child that has ended, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def test_two_hundred_hostile_files_are_refused_or_accounted_for_row_by_row_in_time_and_memory() -> None:
    """Nothing but an IngestionError comes out, or every row read is taken, merged or rejected."""
    limits = Limits(max_seconds=1.0, max_memory=512 * MIB)
    mappings = itertools.cycle((demand_mapping(encoding="auto"), own_mapping("demand")))
    known = KnownCodes(items=["A", "B", *(f"I{n:03}" for n in range(40))])
    ends: Counter[str] = Counter()
    while confined._idle:  # children that have read for other tests, with other limits
        confined._idle.pop().end()
    before = largest_child()
    for (what, name, content), mapping in zip(hostile_files(), mappings, strict=False):
        began = time.monotonic()
        files = 1
        try:
            for files, result in enumerate(taken(content, name, mapping, known, limits), start=1):  # noqa: B007
                assert result.read == result.taken + result.merged + result.rejected_count > 0, what
                assert not result.rejected["line"].is_duplicated().any(), what
                assert result.taken == result.rows.height == result.lines.n_unique(), what
            ends["read"] += 1
        except IngestionError as error:
            told = error.file and str(error).startswith(error.file) and error.expected
            ends["refused" if told else f"{what}: '{error}' does not say which file, or what to do"] += 1
        # A child process may have to be started meanwhile, on a machine that has other things to do.
        assert time.monotonic() - began < files * limits.max_seconds + 20, what
    assert ends.keys() == {"refused", "read"}
    assert ends.total() >= 250
    assert min(ends["refused"], ends["read"]) > 60
    # Of all children that have ended by now: earlier tests may have had larger ones, and Linux counts to a child what
    # its parent held when it was begun.
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert largest_child() <= max(before, ours, limits.max_memory + 400 * MIB)


def test_the_same_rows_come_out_of_every_format() -> None:
    """What the hostile files are damaged copies of."""
    found = {name: ingest(content, name, demand_mapping(encoding="auto")) for name, content in sound_files(30).items()}
    first = found["a.csv"]
    assert (first.read, first.taken) == (30, 30)
    for name, result in found.items():
        assert result.rows.equals(first.rows), name
