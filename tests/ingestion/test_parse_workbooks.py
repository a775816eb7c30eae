"""Workbooks of every kind: line numbers as the program shows them, and values exactly as they are stored."""

import datetime as dt
import io

import pytest
import xlsxwriter
from samples import ods, raw_ods, workbook, xls, xlsb

from ingestion.errors import TooManyColumns, UnreadableFile
from ingestion.limits import Limits
from ingestion.parse import parse
from ingestion.table import Parsed, ParseOptions

FIELDS = (frozenset({"item"}), frozenset({"qty"}))
ROWS = [["Stock"], [], ["Item", "Qty", "When"], ["A", 0.1 + 0.2, dt.date(2024, 1, 2)], [], [123, 3, None]]


def read(content: bytes, name: str = "a.bin", **options: object) -> Parsed:
    return parse(content, name, Limits(), ParseOptions(fields=FIELDS, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(("file_format", "made"), [("xlsx", workbook), ("xls", xls), ("ods", ods), ("xlsb", xlsb)])
def test_every_kind_by_its_content(file_format: str, made: object) -> None:
    parsed = read(made(ROWS))  # type: ignore[operator]
    third = "0.3" if file_format == "xlsx" else "0.30000000000000004"  # xlsxwriter keeps 16 digits
    day = "2024-01-02" if file_format == "ods" else "2024-01-02 00:00:00"
    assert parsed.columns == ("Item", "Qty", "When")
    assert parsed.frame.rows() == [(4, "A", third, day), (6, "123", "3", None)]
    assert (parsed.file_format, parsed.header_line, parsed.sheet) == (file_format, 3, "Data")
    assert parsed.numbers_are_plain


def test_numbers_are_not_rounded_and_texts_stay_what_they_are() -> None:
    numbers = [1e-10, 0.123456789012345, -1e-12, 123456.123456789, 2.5, 1e21, 7]
    texts = ["0.300", "0", "-0", "00123", "1e3", "1.0", "x"]
    parsed = read(workbook([["item", "qty"], *zip(texts, numbers, strict=True)]))
    assert parsed.frame["c0"].to_list() == texts
    assert [float(text) for text in parsed.frame["c1"]] == numbers


def test_times_and_truth_values() -> None:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out)
    page = book.add_worksheet()
    page.write_row(0, 0, ["item", "qty", "at", "on"])
    page.write_row(1, 0, ["A", 1])
    page.write_datetime(1, 2, dt.time(10, 11, 12), book.add_format({"num_format": "hh:mm:ss"}))
    page.write_boolean(1, 3, boolean=True)
    book.close()
    assert read(out.getvalue()).frame.rows() == [(2, "A", "1", "10:11:12", "true")]
    moment = dt.datetime(2024, 1, 2, 3, 4, 5)
    rows = [["item", "qty", "at"], ["A", True, dt.timedelta(hours=10, minutes=1)], ["B", 1, moment], ["C", 1, "x"]]
    assert read(ods(rows)).frame.rows() == [
        (2, "A", "true", "10:01:00"),
        (3, "B", "1", "2024-01-02 03:04:05"),
        (4, "C", "1", "x"),
    ]


def test_the_visible_sheet_that_names_the_most_columns_unless_the_mapping_names_one() -> None:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out)
    sheets = {"Notes": [["item"], ["none"]], "Hidden": [["item", "qty"], ["H", 1]], "May": [["Item", "QTY"], ["A", 2]]}
    for name, rows in sheets.items():
        page = book.add_worksheet(name)
        for at, row in enumerate(rows):
            page.write_row(at, 0, row)
    book.get_worksheet_by_name("Hidden").hide()
    book.close()
    assert read(out.getvalue()).frame.rows() == [(2, "A", "2")]
    assert read(out.getvalue(), sheet="Hidden").frame.rows() == [(2, "H", "1")]


def test_repeated_cells_of_an_ods_are_rows_and_empty_ones_to_the_end_are_none() -> None:
    cell = '<table:table-cell office:value-type="string"{}><text:p>{}</text:p></table:table-cell>'
    empty = '<table:table-cell table:number-columns-repeated="16382"/>'
    header = "".join(cell.format("", name) for name in ("item", "qty"))
    three = cell.format(' table:number-columns-repeated="2"', "7")
    content = raw_ods(
        f'<table:table table:name="A"><table:table-row>{header}{empty}</table:table-row>'
        f'<table:table-row table:number-rows-repeated="3">{three}{empty}</table:table-row>'
        f'<table:table-row table:number-rows-repeated="1048572">{empty}</table:table-row></table:table>'
    )
    assert read(content).frame.rows() == [(2, "7", "7"), (3, "7", "7"), (4, "7", "7")]


@pytest.mark.parametrize("made", [workbook, xls, ods])
def test_too_many_columns(made: object) -> None:
    with pytest.raises(TooManyColumns, match="at most 200"):
        read(made([[*"abc", *("item" for _ in range(240))], [1]]))  # type: ignore[operator]


def test_what_else_comes_in_a_workbooks_clothes_is_named() -> None:
    start = xls(ROWS)[:512]
    for stream, told in (("EncryptedPackage", "protected by a password"), ("WordDocument", "a Word document")):
        with pytest.raises(UnreadableFile, match=told):
            read(start + f"{stream}\0".encode("utf-16-le") + bytes(900), "a.xls")
