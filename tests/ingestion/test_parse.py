"""Sound files in all the forms exports come in, and rows that do not fit: the line numbers must be the file's."""

import csv
import gzip
import io
import json
from datetime import date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import workbook

from ingestion.decode import decode
from ingestion.errors import IngestionError
from ingestion.limits import Limits
from ingestion.parse import parse
from ingestion.table import WHITE_SPACE, ParseOptions, header_key

FIELDS = (frozenset({"item"}), frozenset({"qty", "quantity"}))


def rows_of(content: bytes, name: str = "a.csv", **options: object) -> list[tuple[object, ...]]:
    return parse(content, name, Limits(), ParseOptions(fields=FIELDS, **options)).frame.rows()  # type: ignore[arg-type]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_delimiters_line_endings_and_byte_order_marks(delimiter: str, ending: str, encoding: str) -> None:
    lines = [delimiter.join(row) for row in (("item", "qty"), ("Ä1", "2"), ('"B;,|\t1"', '"3"'))]
    content = ending.join(lines).encode(encoding)
    parsed = parse(content, "a.csv", Limits(), ParseOptions(fields=FIELDS))
    assert parsed.frame.rows() == [(2, "Ä1", "2"), (3, "B;,|\t1", "3")]
    assert (parsed.delimiter, parsed.columns) == (delimiter, ("item", "qty"))
    assert rows_of(gzip.compress(content), "a.csv.gz") == parsed.frame.rows()


def test_header_below_a_title_and_true_line_numbers_around_blanks_and_quoted_line_breaks() -> None:
    content = b'Stock report;2024\n\n;;\nItem;Qty;\nA;1;\n\n"B\nB";"2"\n;;\n"";"";""\nC;3\n'
    parsed = parse(content, "a.csv", Limits(), ParseOptions(fields=FIELDS))
    assert parsed.header_line == 4
    assert parsed.frame.rows() == [(5, "A", "1"), (7, "B\nB", "2"), (11, "C", "3")]
    assert parsed.malformed.is_empty()


def test_records_that_do_not_fit_are_kept_with_line_reason_and_text() -> None:
    content = b'item,qty\nA,1\nB\nC,2,3\n"D"x,4\nE,5,,\n"F,6\nG,7\n'
    parsed = parse(content, "a.csv", Limits(), ParseOptions(fields=FIELDS))
    assert parsed.frame.rows() == [(2, "A", "1"), (6, "E", "5"), (8, "G", "7")]
    assert [(line, reason) for line, _, reason, _ in parsed.malformed.rows()] == [
        (3, "has 1 fields, the header has 2"),
        (4, "has 3 fields, the header has 2"),
        (5, "text follows a closing quote, where the delimiter ',' was expected"),
        (7, "an opening quote is never closed"),
    ]
    assert [json.loads(raw)["text"] for raw in parsed.malformed["raw"]] == ["B", "C,2,3", '"D"x,4', '"F,6']
    assert parsed.read == 7


def test_a_quote_inside_an_unquoted_field_is_a_character() -> None:
    assert rows_of(b'item,qty\n5" pipe,1\nB,2\n') == [(2, '5" pipe', "1"), (3, "B", "2")]


def test_a_field_too_long_rejects_its_row_only() -> None:
    parsed = parse(b"item,qty\n" + b"x" * 40_000 + b",1\nB,2\n", "a.csv", Limits(), ParseOptions(fields=FIELDS))
    assert parsed.frame.rows() == [(3, "B", "2")]
    assert parsed.malformed.select("line", "reason").rows() == [(2, "a field has more than 32,767 characters")]


def test_encoding_is_the_mappings_unless_it_says_auto() -> None:
    text = "item,qty\nSchraube für Gehäuse,1\nÖse größer,2\n"
    with pytest.raises(IngestionError, match="line 2: not utf-8"):
        rows_of(text.encode("cp1252"))
    assert rows_of(text.encode("cp1252"), encoding="cp1252")[1] == (3, "Öse größer", "2")
    assert rows_of(text.encode("utf-8"), encoding="auto")[1] == (3, "Öse größer", "2")
    guessed, encoding = decode((text * 20).encode("cp1252"), "auto")
    assert guessed == text * 20
    assert encoding != "utf-8"


def test_workbook_rows_have_excels_line_numbers_and_plain_values() -> None:
    content = workbook(
        [
            ["Report"],
            [],
            ["Item", "Qty", "When", "Flag"],
            ["A", 3.0, date(2024, 1, 2), True],
            [],
            [12345, 2.25, datetime(2024, 1, 2, 3, 4, 5), None],
            ["C", "text", None, None],
        ]
    )
    parsed = parse(content, "a.xlsx", Limits(), ParseOptions(fields=FIELDS))
    assert parsed.columns == ("Item", "Qty", "When", "Flag")
    assert parsed.header_line == 3
    assert parsed.frame.rows() == [
        (4, "A", "3", "2024-01-02 00:00:00", "true"),
        (6, "12345", "2.25", "2024-01-02 03:04:05", None),
        (7, "C", "text", None, None),
    ]


def test_content_decides_not_the_name() -> None:
    content = workbook([["item", "qty"], ["A", 1]])
    assert rows_of(content, "a.csv") == [(2, "A", "1")]
    assert rows_of(b"item,qty\nA,1\n", "a.txt") == [(2, "A", "1")]


def test_header_names_compare_without_case_blanks_and_punctuation() -> None:
    assert header_key("Qty on Hand") == header_key("qty_on_hand") == header_key(" QTY. ON-HAND ")
    assert header_key("scrap %") != header_key("scrap")


def test_blank_is_what_unicode_calls_white_space() -> None:
    """One notion of it in Python and in Polars, so that no row is passed over by one and kept by the other."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    stripped = pl.Series(every).str.strip_chars()
    assert [char for char, rest in zip(every, stripped, strict=True) if not rest] == sorted(WHITE_SPACE)
    separators = b'item,qty\nA,1\n"\x1c","\x1f"\n"\x1f","",""\n'
    assert rows_of(separators) == [(2, "A", "1"), (3, "\x1c", "\x1f"), (4, "\x1f", None)]


cell = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=8), st.sampled_from([",", ";", "\t", "|"]))
def test_what_the_csv_module_writes_comes_back(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    rows = [tuple(field.replace("\r", " ") for field in row) for row in rows]  # type: ignore[misc]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(("item", "qty", "note"))
    writer.writerows(rows)
    wanted = [tuple(field if field.strip(WHITE_SPACE) else None for field in row) for row in rows]
    wanted = [row for row in wanted if any(row)]
    try:
        parsed = parse(out.getvalue().encode(), "a.csv", Limits(), ParseOptions(fields=FIELDS))
    except IngestionError:
        assert not wanted
        return
    assert parsed.frame.drop("line").rows() == wanted
    assert parsed.malformed.is_empty()
    lines = parsed.frame["line"]
    assert lines.is_sorted()
    assert lines.dtype == pl.Int64
