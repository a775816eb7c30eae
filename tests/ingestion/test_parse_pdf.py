"""Tables in PDF, ruled and not, over pages with and without repeated headers; lines are pages and rows."""

import pytest
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import cm
from reportlab.platypus import Paragraph, Table
from samples import csv_text, pdf, pdf_of, pdf_page

from ingestion.errors import EmptyFile, TooManyPages, TooManyRows, TooSlow, UnreadableFile, WrongColumns
from ingestion.limits import Limits
from ingestion.parse import parse
from ingestion.parse_pdf import Page, ruled_table
from ingestion.pdf_columns import Cell, TextLine, rows_below
from ingestion.table import Parsed, ParseOptions

FIELDS = (frozenset({"item"}), frozenset({"qty", "orderqty"}))
HEADER = ["Item", "Description", "Order qty", "Price"]
ROWS = [
    [f"I{n:03}", f"Pump housing no. {n}, steel" if n % 5 else None, f"{n},50", f"{n * 3}.00"] for n in range(1, 101)
]
GRID = [("GRID", (0, 0), (-1, -1), 0.5, "black")]


def read(content: bytes, limits: Limits | None = None) -> Parsed:
    return parse(content, "a.pdf", limits or Limits(), ParseOptions(fields=FIELDS))


@pytest.mark.parametrize("ruled", [True, False])
@pytest.mark.parametrize("repeat", [True, False])
def test_a_table_over_several_pages(ruled: bool, repeat: bool) -> None:
    parsed = read(pdf([HEADER, *ROWS], ruled=ruled, repeat=repeat))
    assert parsed.columns == tuple(HEADER)
    assert [list(row[1:]) for row in parsed.frame.rows()] == ROWS
    assert parsed.malformed.is_empty()
    lines = parsed.frame["line"]
    assert lines.is_sorted()
    assert not lines.is_duplicated().any()
    first = 1 if ruled else 3  # without rules, the title and a sentence are lines too
    assert parsed.header_line == 10_000 + first
    assert lines[0] == 10_001 + first
    assert set(lines // 10_000) == {1, 2, 3}
    assert (parsed.file_format, parsed.numbers_are_plain) == ("pdf", False)


def test_numbers_set_to_the_right_and_lines_that_wrap() -> None:
    style = [("ALIGN", (2, 0), (-1, -1), "RIGHT"), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    widths = [3 * cm, 6 * cm, 3 * cm, 3 * cm]
    rows = [HEADER, ["A", "Pump housing,\nsteel", "1", "10.00"], ["B", "Bolt", "12345", None], ["C", None, "3", "7.00"]]
    told = [("A", "Pump housing, steel", "1", "10.00"), ("B", "Bolt", "12345", None), ("C", None, "3", "7.00")]
    for ruled in (True, False):
        parsed = read(pdf(rows, ruled=ruled, style=style, colWidths=widths))
        assert [row[1:] for row in parsed.frame.rows()] == told


def test_rules_below_the_header_only() -> None:
    style = [("LINEBELOW", (0, 0), (-1, 0), 1, "black"), ("BOX", (0, 0), (-1, 0), 1, "black")]
    parsed = read(pdf([HEADER, *ROWS[:20]], ruled=False, style=style))
    assert [list(row[1:]) for row in parsed.frame.rows()] == ROWS[:20]


def test_other_tables_before_it_are_passed_over_and_rows_that_do_not_fit_are_told() -> None:
    address = Table([["Customer", "Mill Ltd."], ["Order", "4711"]], style=GRID)
    totals = Table([["Total", "5.00", "EUR"]], style=GRID)
    text = Paragraph("Please deliver by Friday.", getSampleStyleSheet()["Normal"])
    parsed = read(pdf_of([address, text, Table([HEADER, *ROWS[1:4]], style=GRID), text, totals]))
    assert [list(row[1:]) for row in parsed.frame.rows()] == ROWS[1:4]
    assert parsed.header_line == 10_003
    assert parsed.malformed.rows() == [(10_007, "", "has 3 cells, the header has 4", '{"text":"Total | 5.00 | EUR"}')]


def test_a_title_above_the_header_of_each_page_is_no_row() -> None:
    pages = [Page(n, [[["Sales", ""], ["item", "qty"], [f"I{n}", "1"]]], []) for n in (1, 2)]
    found = ruled_table(pages, ParseOptions(fields=FIELDS))
    assert found is not None
    assert found.rows == [(10_003, ["I1", "1"]), (20_003, ["I2", "1"])]


def test_cells_without_rules_belong_to_the_column_they_share_most_room_with() -> None:
    columns = [Cell("item", 0, 20), Cell("name", 50, 70), Cell("qty", 200, 220)]

    def line(at: float, *cells: Cell) -> TextLine:
        return TextLine(list(cells), at, 10)

    lines = [
        line(10, Cell("A", 0, 8), Cell("a long name of it", 50, 190), Cell("7", 215, 220)),
        line(22, Cell("in two lines", 50, 100)),
        line(60, Cell("B", 0, 8), Cell("12", 225, 240)),
        line(90, Cell("Page 1 of 2", 90, 120)),
        line(100, Cell("All of this is text across the page", 0, 220)),
    ]
    assert rows_below(columns, list(enumerate(lines))) == [
        (0, ["A", "a long name of it in two lines", "7"]),
        (2, ["B", "", "12"]),
    ]


def test_refused_with_what_to_do() -> None:
    with pytest.raises(WrongColumns, match="none of the wanted columns is named on a page; the first row is 'Weekly"):
        read(pdf([["foo", "bar"], [1, 2]]))
    with pytest.raises(EmptyFile, match="the table has a header but not one data row"):
        read(pdf([["item", "qty"]]))
    with pytest.raises(UnreadableFile, match=r"it is a scan .*ask the sender"):
        read(pdf_page(b"0 0 100 100 re f"))
    with pytest.raises(UnreadableFile, match=r"^a\.pdf: the PDF is damaged"):
        read(b"%PDF-1.4 and nothing else")


def test_pages_rows_and_time_are_bounded() -> None:
    content = pdf([HEADER, *ROWS])
    with pytest.raises(TooManyPages, match=r"3 pages.*at most 2: split it"):
        read(content, Limits(max_pages=2))
    with pytest.raises(TooManyRows, match="100 rows"):
        read(content, Limits(max_rows=99))
    with pytest.raises(TooSlow, match=r"took more than 0 s.*split it"):
        read(content, Limits(max_seconds=0.0))
    boxes = b"".join(b"%d %d 3 3 re S\n" % (n % 190 * 3, n // 190 * 3) for n in range(30_000))
    with pytest.raises(TooSlow, match=r"took more than 0.5 s"):
        read(pdf_page(boxes), Limits(max_seconds=0.5))


def test_what_is_before_the_mark_does_not_hide_it() -> None:
    assert read(b"\r\n\r\n" + pdf([HEADER, *ROWS[:3]])).read == 3
    assert parse(csv_text([["item", "note"], ["A", "a %PD F-1"]]).encode(), "a.csv", Limits()).read == 1
