"""Mappings suggested for files: by the shipped mappings' own headers, for real and made-up files, and for anything."""

import contextlib
import csv
import gzip
import io
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hostile import workbook
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.errors import IngestionError
from ingestion.ingest import ingest
from ingestion.known import KnownCodes
from ingestion.mapping import Mapping, load_mappings
from ingestion.suggest import Suggestion, suggest
from ingestion.table import header_key
from ingestion.targets import TARGETS, Field, Kind

SHIPPED = load_mappings()
DATA = Path(__file__).parents[3] / "shared" / "data"
FIRST_DAY = date(2026, 1, 11)
ROWS = 5


def suggested(text: str, name: str = "data.csv", known: KnownCodes | None = None, **more: Any) -> Suggestion:
    return suggest(text.encode(), name, known, **more)


def columns_of(mapping: Mapping) -> dict[str, str]:
    """Field -> header."""
    return {field: column.names[0] for field, column in mapping.columns.items() if column.names}


def told(found: Suggestion) -> str:
    return "\n".join(found.warnings)


# -- the headers of the shipped mappings -----------------------------------------------------------------------------


def cell(spec: Field, row: int, *, is_key: bool, mapping: Mapping) -> str:
    """A value a field may have, another one in each row where it is part of the key."""
    if spec.kind is Kind.DATE:
        return str(FIRST_DAY + timedelta(days=row))
    if spec.kind is Kind.CHOICE:
        return spec.choices[row % len(spec.choices)]
    if spec.kind is Kind.BOOLEAN:
        return ("yes", "no")[row % 2]
    if spec.kind is Kind.WHOLE:
        return str((spec.example or 1) + (row if is_key else 0))
    if spec.kind is Kind.NUMBER:
        return str(spec.example + row / 1000).replace(".", mapping.decimal)
    if is_key and not spec.pattern:
        return f"{spec.example}-{row}"
    return str(spec.example or "Text")


def exported(mapping: Mapping, headers: dict[str, str]) -> bytes:
    target = TARGETS[mapping.target]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";" if mapping.decimal == "," else ",")
    writer.writerow(headers.values())
    text = Field(Kind.TEXT)
    for row in range(ROWS):
        specs = {field: target.fields.get(field, text) for field in headers}
        writer.writerow(cell(spec, row, is_key=name in target.key, mapping=mapping) for name, spec in specs.items())
    return out.getvalue().encode()


def assert_equivalent(mapping: Mapping, headers: dict[str, str], file_name: str) -> None:
    content = exported(mapping, headers)
    found = suggest(content, file_name)
    assert found.mapping.target == mapping.target, found.tables
    assert columns_of(found.mapping) == headers
    assert not found.missing
    assert not found.unused
    target = TARGETS[mapping.target]
    examples = [spec.example for each in TARGETS.values() for spec in each.fields.values() if spec.kind is Kind.CODE]
    codes = [f"{example}{end}" for example in examples for end in ("", *(f"-{row}" for row in range(ROWS)))]
    known = KnownCodes(**dict.fromkeys(target.references(), codes))
    # How the shop writes its numbers and codes is its mapping's own business.
    bare = {
        field: column.model_copy(update={"upper": False, "whole": False}) for field, column in mapping.columns.items()
    }
    as_shipped = ingest(content, file_name, mapping.model_copy(update={"columns": bare, "filters": ()}), known)
    as_suggested = ingest(content, file_name, found.mapping, known)
    assert as_suggested.taken == ROWS
    assert as_suggested.rows.equals(as_shipped.rows)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_headers_of_a_shipped_mapping_suggest_it_again(name: str) -> None:
    """Whatever the file is called, when all columns are there."""
    mapping = SHIPPED[name]
    most = max(len(column.names) for column in mapping.columns.values())
    for place in range(most):
        headers = {field: column.names[min(place, len(column.names) - 1)] for field, column in mapping.columns.items()}
        assert_equivalent(mapping, headers, "data.csv")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_of_its_headers_in_any_order_do(data: st.DataObject) -> None:
    """A file called as its table, with the columns it needs and any of the others."""
    mapping = SHIPPED[data.draw(st.sampled_from(sorted(SHIPPED)))]
    fields = data.draw(st.permutations(sorted(mapping.columns)))
    kept = [field for field in fields if mapping.is_required(field) or data.draw(st.booleans())]
    headers = {field: data.draw(st.sampled_from(mapping.columns[field].names)) for field in kept}
    assert_equivalent(mapping, headers, f"{mapping.target}.csv")


# -- made-up files ---------------------------------------------------------------------------------------------------


def test_a_german_stock_list_with_a_title_above_it() -> None:
    text = (
        "Auswertung Lager;;;;\r\nStand 29.11.2026;;;;\r\nArt.-Nr.;Artikelbezeichnung;Lagerort;Bestand;MHD\r\n"
        "4711;Schraube für Gehäuse;01;1.234,500;01.12.2026\r\n4712;Größe;01;0,500;13.12.2026\r\n"
    )
    for content in (text.encode("cp1252"), gzip.compress(text.encode("cp1252"))):
        found = suggest(content, "Lagerbestand_2026-11-29.csv", KnownCodes(items=["4711", "4712"]))
        mapping = found.mapping
        assert (mapping.name, mapping.target, mapping.encoding, mapping.delimiter) == (
            "lagerbestand", "stock", "cp1252", ";"
        )  # fmt: skip
        assert (mapping.decimal, mapping.thousands, mapping.date_formats) == (",", ".", ("%d.%m.%Y",))
        assert columns_of(mapping) == {
            "item": "Art.-Nr.", "warehouse": "Lagerort", "on_hand": "Bestand", "expires_on": "MHD"
        }  # fmt: skip
        assert found.header_line == 3
        assert ingest(content, "a.csv", mapping, KnownCodes(items=["4711", "4712"])).rows["on_hand"].to_list() == [
            1234.5, 0.5
        ]  # fmt: skip


def test_words_for_choices_and_for_yes_and_no() -> None:
    text = (
        "Materialnummer;Materialkurztext;Materialart;BME;Standardpreis;WBZ;aktiv\n"
        "A;Pumpe;FERT;ST;12,5;10;ja\nB;Ring;ROH;ST;1,5;5;nein\nC;Etwas;ZZZ;ST;1,5;5;nein\n"
    )
    found = suggested(text, "Artikelstamm.csv")
    result = ingest(text.encode(), "a.csv", found.mapping)
    assert result.rows.select("kind", "active").rows() == [("finished", True), ("raw_material", False)]
    assert "'zzz'" in told(found)


def test_a_share_given_in_percent() -> None:
    text = "Baugruppe;Komponente;Menge je;Ausschuss\nA;B;2;5\nA;C;0,5;2,5\n"
    found = suggested(text, "St\u00fcckliste.csv", KnownCodes(items=["A", "B", "C"]))
    rows = ingest(text.encode(), "a.csv", found.mapping, KnownCodes(items=["A", "B", "C"])).rows
    assert rows["scrap_share"].to_list() == pytest.approx([0.05, 0.025])
    assert "percent" in told(found)


def test_columns_without_a_known_header_are_told_by_their_values() -> None:
    known = KnownCodes(items=["A", "B"], suppliers=["S1"])
    found = suggested("aaa,bbb,ccc,ddd\nS1,A,17,2026-01-02\nS1,B,4,2026-01-03\n", known=known, target="demand")
    assert columns_of(found.mapping) == {"item": "bbb", "day": "ddd", "quantity": "ccc"}
    assert all(each.score < 0.7 for each in found.fields)
    assert "no header is a word that is known" in told(found)


def test_values_that_contradict_the_header_give_way_to_better_ones() -> None:
    known = KnownCodes(items=["A", "B"])
    text = "Item,Material,Date,Quantity\nPump,A,2026-01-13,1\nRing,B,2026-01-14,2\n"
    assert columns_of(suggested(text, known=known).mapping)["item"] == "Material"


def test_what_the_table_needs_and_the_file_lacks_is_told() -> None:
    found = suggested("Item,Quantity\nA,1\n", target="demand")
    assert found.missing == ("day",)
    assert columns_of(found.mapping)["day"] == "day"
    kind = suggested("code,name\nA,Pump\n", target="items")
    assert kind.mapping.columns["kind"].constant == "finished"
    assert "every row is taken as 'finished'" in told(kind)


def test_columns_that_cannot_be_named_are_left_out() -> None:
    found = suggested("item,day,quantity,Quantity,\nA,2026-01-13,1,2,3\n", target="demand")
    assert found.missing == ("quantity",)
    assert "'quantity' cannot be named" in told(found)


@pytest.mark.parametrize(
    ("days", "picked", "doubt"),
    [
        (["13/02/2026", "01/02/2026"], "%d/%m/%Y", ""),
        (["02/13/2026", "01/02/2026"], "%m/%d/%Y", ""),
        (["01/02/2026", "02/01/2026"], "%d/%m/%Y", "as is usual outside the United States"),
        (["01/02/2026", "02/02/2026", "03/02/2026", "04/02/2026"], "%d/%m/%Y", "the days lie closer together"),
        (["02/01/2026", "02/02/2026", "02/03/2026", "02/04/2026"], "%m/%d/%Y", "the days lie closer together"),
        (["01.02.2026", "02.01.2026"], "%d.%m.%Y", ""),
        (["01/01/2026", "02/02/2026"], "%d/%m/%Y", ""),
        (["20260102", "20260103"], "%Y%m%d", ""),
        (["3.1.26", "14.1.26"], "%d.%m.%y", ""),
        (["2 Jan 2026", "14 Jan 2026"], "%d %b %Y", ""),
        (["2026-01-02 03:04:05", "2026-01-03 00:00:00"], "%Y-%m-%d %H:%M:%S", ""),
        (["02/13/2026 8:30", "01/02/2026 17:05"], "%m/%d/%Y %H:%M", ""),
    ],
)
def test_how_days_are_written(days: list[str], picked: str, doubt: str) -> None:
    text = "item,day,quantity\n" + "".join(f"A,{day},1\n" for day in days)
    found = suggested(text, target="demand", known=KnownCodes(items=["A"]))
    assert found.mapping.date_formats[0] == picked
    assert (doubt in told(found)) if doubt else not found.warnings
    if doubt:
        assert all(each in told(found) for each in ("%d/%m/%Y", "%m/%d/%Y", days[0]))
    assert ingest(text.encode(), "a.csv", found.mapping, KnownCodes(items=["A"])).taken == len(days)


def test_a_column_without_doubt_decides_for_the_others() -> None:
    text = "number,item,quantity,due_date,ordered_on\n1,A,1,02/01/2026,01/30/2026\n2,A,1,03/04/2026,01/31/2026\n"
    found = suggested(text, target="open_orders")
    assert found.mapping.date_formats == ("%m/%d/%Y",)
    assert "as in another column" in told(found)


@pytest.mark.parametrize(
    ("delimiter", "numbers", "style", "doubt"),
    [
        (";", ["1,5", "2,25"], (",", ""), ""),
        (";", ["1.234,5", "2,25"], (",", "."), ""),
        (",", ["1.5", "2"], (".", ""), ""),
        (";", ["1 234,5", "2,25"], (",", " "), ""),
        (",", ["1'234.5", "2"], (".", "'"), ""),
        (",", ['"1,234.50"', "2.00"], (".", ","), ""),
        (";", ["1", "2"], (".", ""), ""),
        (";", ["1,234", "2"], (",", ""), "';' between columns"),
        (",", ["1.234", "2"], (".", ""), "',' between columns"),
        (";", ["1.234", "2"], (",", "."), "three digits"),
        (";", ["0.234", "2.5"], (".", ""), ""),
        (";", ["0.234", "2.500"], (".", ""), "begins with 0"),
    ],
)
def test_how_numbers_are_written(delimiter: str, numbers: list[str], style: tuple[str, str], doubt: str) -> None:
    header = delimiter.join(("item", "on_hand"))
    text = header + "\n" + "".join(f"A{delimiter}{number}\n" for number in numbers)
    found = suggested(text, target="stock", known=KnownCodes(items=["A"]))
    assert (found.mapping.decimal, found.mapping.thousands) == style
    assert (doubt in told(found)) if doubt else not found.warnings


def test_a_workbook_needs_no_guess_of_formats() -> None:
    content = workbook(
        [["Open purchase orders"], ["PO number", "Material", "Open qty", "Due", "Vendor"],
         ["P1", "A", 1234.5, date(2026, 2, 1), "S1"], ["P2", "A", 2, date(2026, 3, 1), "S1"]]
    )  # fmt: skip
    known = KnownCodes(items=["A"], suppliers=["S1"])
    found = suggest(content, "orders.xlsx", known)
    assert (found.mapping.target, found.header_line, found.file_format) == ("open_orders", 2, "xlsx")
    rows = ingest(content, "orders.xlsx", found.mapping, known).rows
    assert rows.select("quantity", "due_date").rows() == [(1234.5, date(2026, 2, 1)), (2.0, date(2026, 3, 1))]
    assert "every row is taken as 'purchase'" in told(found)


def test_the_name_of_the_file_tells_tables_of_the_same_columns_apart() -> None:
    for name, target in (("units", "units"), ("Lieferanten", "suppliers"), ("Lagerorte", "warehouses")):
        assert suggested("code,name\nx,y\n", f"{name}.csv").mapping.target == target
    assert "may as well fill" in told(suggested("code,name\nx,y\n"))
    assert "no table fits well" in told(suggested("foo,bar\n1,2\n"))


# -- real files ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.exists(), reason="the shared data set is not beside this checkout")
def test_the_real_shop() -> None:
    sample = DATA / "online_retail_raw_sample.csv.gz"
    found = suggest(sample.read_bytes(), sample.name)
    shipped = SHIPPED["online_retail"]
    assert columns_of(found.mapping) == columns_of(shipped)
    assert found.mapping.date_formats == shipped.date_formats
    assert found.mapping.created_item.name_from == "description"
    assert found.unused == ("Country",)
    bare = shipped.model_copy(update={"filters": ()})
    result, ours = (ingest(sample.read_bytes(), sample.name, each) for each in (found.mapping, bare))
    assert (result.read, result.rejected_count) == (20_000, ours.rejected_count)


@pytest.mark.skipif(not DATA.exists(), reason="the shared data set is not beside this checkout")
def test_a_real_product_structure() -> None:
    sample = DATA / "bom_open_source_rover.csv"
    found = suggest(sample.read_bytes(), sample.name)
    assert found.mapping.target == "bom_lines"
    assert columns_of(found.mapping) == {"parent": "parent", "component": "child", "quantity_per": "qty_per_parent"}


# -- whatever comes in -----------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for each in (content, b"Item;Quantity;Date\n" + content):
        with contextlib.suppress(IngestionError):
            suggest(each, "a.csv")


headers = st.one_of(
    st.sampled_from(
        ["Item", "item", "Artikel", "Menge", "quantity", "Date", "Datum", "kind", "unit", "Name", "code", "S", "%"]
    ),
    st.text(max_size=8),
)
values = st.one_of(
    st.sampled_from(["A", "B", "1", "1,5", "1.234", "01/02/2026", "2026-01-02", "ja", "FG", "pcs", "", "x", "0"]),
    st.text(max_size=5),
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(headers, min_size=1, max_size=8),
    st.lists(st.lists(values, min_size=1, max_size=8), min_size=1, max_size=5),
    st.sampled_from([None, *TARGETS]),
    st.sampled_from(["data.csv", "items.csv", "...", "\x00\n.csv", "preview.csv", "erp_items.csv"]),
)
def test_a_suggested_mapping_is_always_valid(
    header: list[str], rows: list[list[str]], target: str | None, name: str
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerows([header, *rows])
    try:
        found = suggested(out.getvalue(), name, KnownCodes(items=["A"]), target=target)
    except (IngestionError, UnicodeEncodeError):
        return
    assert Mapping.model_validate(found.mapping.model_dump()) == found.mapping
    assert target in (None, found.mapping.target)
    assert found.mapping.name not in SHIPPED
    claimed = [header_key(name) for column in found.mapping.columns.values() for name in column.names]
    assert len(claimed) == len(set(claimed))
    assert len({each.place for each in found.fields}) == len({each.field for each in found.fields}) == len(found.fields)
    assert all(0 < each.score <= 1 and each.reasons for each in found.fields)
