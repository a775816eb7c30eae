"""Workbooks of every kind: line numbers as the program shows them, and values exactly as they are stored."""

import datetime as dt
import io

import pytest
import xlsxwriter
from hostile_binaries import hostile_ods, hostile_old_workbooks
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table as OdfTable
from odf.table import TableCell, TableRow
from odf.text import P
from samples import ods, raw_ods, workbook, xls, xlsb

from ingestion.errors import TooManyColumns, UnreadableFile
from ingestion.ingest import ingest
from ingestion.limits import Limits
from ingestion.mapping import Mapping
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


def test_a_table_may_begin_anywhere_on_its_sheet() -> None:
    rows = [
        [],
        [],
        [None, None, "Stock of May"],
        [],
        [None, None, "Item", "Qty", "Note"],
        [None, None, "A", 1e-11, "x"],
    ]
    for made in (workbook, xls, ods, xlsb):
        parsed = read(made(rows))
        line, item, quantity, note = parsed.frame.row(0)[0], *parsed.frame.row(0)[-3:]
        assert (line, item, float(quantity), note) == (6, "A", 1e-11, "x"), made
        assert parsed.columns[-3:] == ("Item", "Qty", "Note")


def test_a_wide_sheet_beside_the_table_is_no_reason_to_refuse_it() -> None:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out)
    book.add_worksheet("Plan").write_row(0, 0, [f"week {n}" for n in range(900)])
    page = book.add_worksheet("Stock")
    page.write_row(0, 0, ["item", "qty"])
    page.write_row(1, 0, ["A", 1])
    page.write_blank(0, 16_383, None, book.add_format({"bold": True}))
    book.close()
    assert read(out.getvalue()).frame.rows() == [(2, "A", "1")]


def test_error_cells_are_not_taken_for_empty_ones() -> None:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out)
    page = book.add_worksheet()
    page.write_row(3, 1, ["item", "qty", "name"])
    for row, (quantity, name) in enumerate([("#DIV/0!", "x"), ("#N/A", "#REF!"), (2.5, "#NAME?"), (1, "y")], start=4):
        page.write(row, 1, f"I{row}")
        for column, value in ((2, quantity), (3, name)):
            if str(value).startswith("#"):
                page.write_formula(row, column, "=1/0", None, value)
            else:
                page.write(row, column, value)
    book.close()
    assert read(out.getvalue()).frame.rows() == [
        (5, "I4", "#DIV/0!", "x"),
        (6, "I5", "#N/A", "#REF!"),
        (7, "I6", "2.5", "#NAME?"),
        (8, "I7", "1", "y"),
    ]
    names = {"code": "item", "name": "name", "safety_stock": "qty"}
    columns = {field: {"names": [name]} for field, name in names.items()} | {"kind": {"constant": "component"}}
    mapping = Mapping.model_validate({"name": "m", "target": "items", "columns": columns})
    result = ingest(out.getvalue(), "a.xlsx", mapping)
    assert (result.read, result.taken, result.rejected["line"].to_list()) == (4, 1, [5, 6, 7])
    assert set(result.rejected["reason"]) == {
        "not a number: '#DIV/0!'",
        "an error of the spreadsheet: '#REF!'",
        "an error of the spreadsheet: '#NAME?'",
    }


@pytest.mark.parametrize("since", [1900, 1904])
def test_days_are_those_that_excel_shows_in_both_of_its_calendars(since: int) -> None:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"date_1904": since == 1904})
    page, shown = book.add_worksheet(), book.add_format({"num_format": "dd.mm.yyyy hh:mm"})
    days = [dt.datetime(since, 3, 1), dt.datetime(2024, 2, 29), dt.datetime(2024, 12, 31, 23, 59, 59, 500_000)]
    page.write_row(0, 0, ["item", "qty"])
    for row, day in enumerate(days, start=1):
        page.write(row, 0, "A")
        page.write_datetime(row, 1, day, shown)
    book.close()
    texts = read(out.getvalue()).frame["c1"].to_list()
    assert [dt.datetime.fromisoformat(text) for text in texts] == days


def test_merged_cells_have_their_value_in_the_first_and_formulas_their_last_result() -> None:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out)
    page = book.add_worksheet()
    page.write_row(0, 0, ["item", "qty"])
    page.merge_range(1, 0, 2, 0, "A")
    page.write_formula(1, 1, "=1+1", None, 2)
    page.write_formula(2, 1, '=""', None, "")
    page.write_number(3, 1, 0.15, book.add_format({"num_format": "0%"}))
    page.set_row(3, None, None, {"hidden": True})
    book.close()
    assert read(out.getvalue()).frame.rows() == [(2, "A", "2"), (4, None, "0.15")]


def test_a_workbook_of_another_program() -> None:
    book = OpenDocumentSpreadsheet()
    page = OdfTable(name="Stock")
    for row in [["item", "qty", "when"], ["A", 2.5, dt.date(2024, 2, 29)], ["B", 3, None]]:
        line = TableRow()
        for value in row:
            cell = _odf_cell(value)
            if value is not None:
                cell.addElement(P(text=value if isinstance(value, str) else f"shown as {value}"))
            line.addElement(cell)
        page.addElement(line)
    book.spreadsheet.addElement(page)
    out = io.BytesIO()
    book.write(out)
    parsed = read(out.getvalue())
    assert parsed.frame.rows() == [(2, "A", "2.5", "2024-02-29"), (3, "B", "3", None)]
    assert parsed.file_format == "ods"


def _odf_cell(value: object) -> TableCell:
    if isinstance(value, dt.date):
        return TableCell(valuetype="date", datevalue=value.isoformat())
    if isinstance(value, str):
        return TableCell(valuetype="string")
    return TableCell() if value is None else TableCell(valuetype="float", value=value)


def test_workbooks_under_a_password_are_told_as_that() -> None:
    files = hostile_old_workbooks()
    for content in (files["password"], files["locked by a password"], hostile_ods()["password"]):
        with pytest.raises(UnreadableFile, match="protected by a password"):
            read(content)
