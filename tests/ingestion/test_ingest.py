"""The one door: types, ranges, references, duplicates, filters; every row is taken, merged or rejected."""

import csv
import io
import json
import random
from datetime import date
from typing import Any

import polars as pl
import pytest
from hostile import demand_mapping, workbook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.convert import number
from ingestion.errors import IngestionError
from ingestion.ingest import Ingested, ingest
from ingestion.limits import Limits
from ingestion.mapping import Mapping, load_mappings
from ingestion.targets import TARGETS
from ingestion.validate import KnownCodes

SHIPPED = load_mappings()
KNOWN = KnownCodes(items=frozenset({"A", "B", "C"}), suppliers=["S1"], work_centres=pl.Series(["W1"]))


def take(mapping: str, text: str, known: KnownCodes = KNOWN) -> Ingested:
    result = ingest(text.encode(), f"{mapping}.csv", SHIPPED[mapping], known)
    assert result.read == result.taken + result.merged + result.rejected_count
    assert dict(result.rows.schema) == TARGETS[result.target].schema()
    assert result.rejected["line"].is_unique().all()
    return result


def rows_of(result: Ingested) -> list[dict[str, Any]]:
    """The rows taken, without what is empty."""
    return [{name: value for name, value in row.items() if value is not None} for row in result.rows.to_dicts()]


def faults(result: Ingested) -> list[tuple[int, str, str]]:
    return result.rejected.select("line", "field", "reason").rows()


def test_items_with_defaults_and_each_rule() -> None:
    result = take(
        "erp_items",
        "code,name,kind,cost,lead_time_days,order_multiple,service_level,active\n"
        "A,Axle,FG,1.5,10,0,0.95,yes\n"
        "B,,finished,1,1,1,,\n"
        "C,Cap,gadget,,,,,\n"
        "D,Dowel,raw_material,-1,,,,\n"
        "E,Edge,RM,1e400,,,,\n"
        "F,Foot,RM,,1.5,,,\n"
        "G,Gear,RM,,-1,,,\n"
        "H,Hub,RM,,,-2,,\n"
        "I,Iron,RM,,,,1.5,\n"
        "J,Jack,RM,,,,,perhaps\n"
        ",Key,RM,,,,,\n"
        f"{'L' * 65},Long,RM,,,,,\n"
        "M,Mat,Trading Good,,,,,0\n",
    )
    assert result.rows.select("code", "kind", "unit", "cost", "lead_time_days", "order_multiple", "active").rows() == [
        ("A", "finished", None, 1.5, 10, None, True),
        ("M", "trading_good", None, None, None, None, False),
    ]
    kinds = ", ".join(TARGETS["items"].fields["kind"].choices)
    assert faults(result) == [
        (3, "name", "missing"),
        (4, "kind", f"not one of {kinds}: 'gadget'"),
        (5, "cost", "must be at least 0, is: '-1'"),
        (6, "cost", "not a number: '1e400'"),
        (7, "lead_time_days", "not a whole number: '1.5'"),
        (8, "lead_time_days", "must be at least 0, is: '-1'"),
        (9, "order_multiple", "must be above 0, is: '-2'"),
        (10, "service_level", "must be below 1, is: '1.5'"),
        (11, "active", "neither yes nor no: 'perhaps'"),
        (12, "code", "missing"),
        (13, "code", f"longer than 64 characters: '{'L' * 60}'"),
    ]
    assert json.loads(result.rejected["raw"][0])["kind"] == "finished"


def test_bill_of_material_rules_and_later_row_wins() -> None:
    result = take(
        "erp_bom_lines",
        "parent,component,quantity_per,scrap_share,valid_from,valid_to\n"
        "A,B,1,,,\n"
        "A,A,1,0,,\n"
        "A,C,0,0,,\n"
        "A,C,1,1,,\n"
        "A,C,1,0.5,2024-02-01,2024-01-01\n"
        "A,X,1,0,,\n"
        "A,C,1,0,1889-01-01,\n"
        "A,C,1,0,2024-02-30,\n"
        "A,B,2,0.1,2024-01-01,\n",
    )
    line = {"parent": "A", "component": "B", "version": "1", "quantity_per": 2.0, "scrap_share": 0.1}
    assert rows_of(result) == [{**line, "valid_from": date(2024, 1, 1)}]
    assert result.merged == 1
    assert faults(result) == [
        (3, "component", "the same as parent: 'A'"),
        (4, "quantity_per", "must be above 0, is: '0'"),
        (5, "scrap_share", "must be below 1, is: '1'"),
        (6, "valid_to", "before valid_from: '2024-01-01'"),
        (7, "component", "unknown item 'X'"),
        (8, "valid_from", "not between 1990 and 2100: '1889-01-01'"),
        (9, "valid_from", "not a date of the expected form: '2024-02-30'"),
    ]


def test_stock_export_with_semicolons_and_decimal_commas() -> None:
    result = take(
        "erp_stock",
        "Item No.;Warehouse;Qty on Hand;Qty Reserved;Qty Blocked\nA;main;1234,5;0;1,25\nB;;-3;;\nC;x;1.5;0;0\n",
    )
    place = {"warehouse": "main", "lot": "-"}
    assert rows_of(result) == [
        {"item": "A", **place, "on_hand": 1234.5, "reserved": 0.0, "quarantined": 1.25},
        {"item": "B", **place, "on_hand": -3.0, "reserved": 0.0, "quarantined": 0.0},
    ]
    assert faults(result) == [(4, "on_hand", "not a number: '1.5'")]


def test_open_orders_workbook_of_the_erp_system() -> None:
    content = workbook(
        [
            ["Order No", "Order Type", "Item No.", "Vendor No.", "Open Qty", "Due Date"],
            ["PO-1", "PO", "A", "S1", 12.5, date(2024, 3, 1)],
            ["WO-1", "wo", "B", None, 3, "2024-03-02"],
            ["PO-2", "PO", "A", "S9", 1, date(2024, 3, 1)],
            [4711, "XX", "A", "S1", 1, date(2024, 3, 1)],
        ]
    )
    result = ingest(content, "open_orders.xlsx", SHIPPED["erp_open_orders"], KNOWN)
    assert result.rows.select("number", "kind", "item", "supplier", "quantity", "due_date", "status").rows() == [
        ("PO-1", "purchase", "A", "S1", 12.5, date(2024, 3, 1), None),
        ("WO-1", "production", "B", None, 3.0, date(2024, 3, 2), None),
    ]
    assert faults(result) == [
        (4, "supplier", "unknown supplier 'S9'"),
        (5, "kind", "not one of purchase, production: 'XX'"),
    ]


CONTRACT: dict[str, tuple[str, dict[str, Any]]] = {
    "erp_suppliers": (
        "code,name,email,lead_time_days,active\nS1,Steel,a@b.c,5,true\n",
        {"code": "S1", "name": "Steel", "email": "a@b.c", "lead_time_days": 5, "active": True},
    ),
    "erp_supplier_terms": (
        "item,supplier,price,min_order_qty,order_multiple,lead_time_days,priority\nA,S1,1.5,10,5,7,\n",
        {
            **{"item": "A", "supplier": "S1", "price": 1.5, "min_order_qty": 10.0, "order_multiple": 5.0},
            **{"lead_time_days": 7, "priority": 1},
        },
    ),
    "erp_firm_orders": (
        "number,line,item,customer,quantity,due_date\nSO1,2,A,ACME,3,2024-01-02\n",
        {
            **{"number": "SO1", "line": 2, "item": "A", "customer": "ACME", "quantity": 3.0},
            "due_date": date(2024, 1, 2),
        },
    ),
    "erp_work_centres": (
        "code,name,hours_per_day,efficiency\nW1,Lathe,16,\n",
        {"code": "W1", "name": "Lathe", "hours_per_day": 16.0, "efficiency": 1.0},
    ),
    "erp_routings": (
        "item,sequence,work_centre,setup_hours,unit_hours\nA,10,W1,0.5,0.01\n",
        {"item": "A", "sequence": 10, "work_centre": "W1", "setup_hours": 0.5, "unit_hours": 0.01},
    ),
    "erp_demand": (
        "day,item,quantity,revenue\n2024-01-02,A,3,4.5\n",
        {"item": "A", "day": date(2024, 1, 2), "quantity": 3.0, "revenue": 4.5},
    ),
}


@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"sales_lines"}))
def test_every_table_has_a_mapping_that_takes_its_own_field_names(target: str) -> None:
    mapping = SHIPPED[f"erp_{target}"]
    fields = {
        name: spec.example
        for name, spec in TARGETS[target].fields.items()
        if name in mapping.columns and spec.example is not None
    }
    known = KnownCodes(**{name: ["A-100", "B-110", "S-1", "W-1", "box"] for name in TARGETS[target].references()})
    cells = [
        str(value).replace(".", mapping.decimal) if isinstance(value, float) else value for value in fields.values()
    ]
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerows([list(fields), cells])
    result = take(f"erp_{target}", out.getvalue(), known)
    assert not faults(result)
    assert {name: str(value) for name, value in rows_of(result)[0].items() if name in fields} == {
        name: str(value) for name, value in fields.items()
    }


@pytest.mark.parametrize("mapping", CONTRACT)
def test_contract_names_are_understood(mapping: str) -> None:
    text, row = CONTRACT[mapping]
    assert rows_of(take(mapping, text)) == [row]


def test_a_column_the_file_lacks_is_left_open_and_a_blank_cell_takes_the_default() -> None:
    """What is stored of a field that a file does not speak of stays; the table fills it in new rows."""
    without = take("erp_items", "code,name,kind\nA,Axle,FG\n")
    assert rows_of(without) == [{"code": "A", "name": "Axle", "kind": "finished"}]
    with_blanks = take("erp_items", "code,name,kind,unit,active\nA,Axle,FG,,\n")
    assert rows_of(with_blanks) == [
        {"code": "A", "name": "Axle", "kind": "finished", "unit": "pcs", "active": True},
    ]


def test_the_key_is_whole_even_where_the_file_lacks_a_part_of_it() -> None:
    assert rows_of(take("erp_stock", "Item No.;Qty on Hand\nA;1\n")) == [
        {"item": "A", "warehouse": "main", "lot": "-", "on_hand": 1.0},
    ]


def test_units_categories_and_warehouses_need_not_be_known() -> None:
    """They are made as rows name them (`test_units_categories_and_warehouses_are_made_as_rows_name_them`)."""
    items = take("erp_items", "code,name,kind,unit,category\nA,Axle,FG,box,new\n", KnownCodes(units=["pcs"]))
    assert items.rows.select("unit", "category").rows() == [("box", "new")]
    stock = take("erp_stock", "item;warehouse;on_hand\nA;shed;1\n", KnownCodes(items=["A"], warehouses=["main"]))
    assert stock.rows["warehouse"].to_list() == ["shed"]
    assert not faults(items)
    assert not faults(stock)


def test_daily_sales_keep_the_last_total_of_a_day() -> None:
    result = take("erp_demand", "day,item,quantity,revenue\n2024-01-02,A,3,\n2024-01-03,A,1,\n2024-01-02,A,5,\n")
    assert result.rows.sort("day")["quantity"].to_list() == [5.0, 1.0]
    assert (result.read, result.taken, result.merged, result.grain) == (3, 2, 1, "daily")


def test_malformed_and_broken_rows_are_listed_together_by_line() -> None:
    result = take("erp_demand", 'day,item,quantity\n2024-01-02,A\n2024-01-02,Z,1\n"2024-01-02"x,A,1\n2024-01-02,A,2\n')
    assert [(line, field) for line, field, _ in faults(result)] == [(2, ""), (3, "item"), (4, "")]
    assert result.taken == 1


def test_header_names_in_the_raw_row_are_made_unique() -> None:
    result = take("erp_demand", "day,item,quantity,,note,note\n2024-01-02,Z,1,x,y,z\n")
    raw = {"day": "2024-01-02", "item": "Z", "quantity": "1", "column 4": "x", "note": "y", "note (2)": "z"}
    assert json.loads(result.rejected["raw"][0]) == raw


def invoice_lines(*names: str) -> Mapping:
    columns = {name: {"names": [name]} for name in ("document", "item", "day", "quantity", *names)}
    return Mapping.model_validate({"name": "lines", "target": "sales_lines", "grain": "line", "columns": columns})


def test_invoice_lines_are_counted_unless_they_are_numbered() -> None:
    rows = ("R,10,A,2024-01-01,1", "R,20,A,2024-01-01,1", "R,10,A,2024-01-01,3", "R,,B,2024-01-01,1")
    text = "\n".join(("document,line,item,day,quantity", *rows, "")).encode()
    counted = ingest(text, "a.csv", invoice_lines(), KNOWN)
    assert counted.rows.select("item", "line", "quantity").rows() == [
        ("A", 1, 1),
        ("A", 2, 1),
        ("A", 3, 3),
        ("B", 1, 1),
    ]
    numbered = ingest(text, "a.csv", invoice_lines("line"), KNOWN)
    assert numbered.rows.sort("line").select("item", "line", "quantity").rows() == [("A", 10, 3), ("A", 20, 1)]
    assert (numbered.merged, faults(numbered)) == (1, [(5, "line", "missing")])


def test_unknown_items_are_created_where_the_mapping_says_so() -> None:
    mapping = demand_mapping(
        created_item={"kind": "trading_good", "unit": "kg", "name_from": "title", "price_from": "revenue"},
        columns={
            **{name: {"names": [name]} for name in ("item", "day", "quantity", "revenue")},
            "title": {"names": ["title"], "type": "text"},
        },
    )
    text = b"item,day,quantity,revenue,title\nA,2024-01-01,1,1,Old\nN,2024-01-01,1,2,Nut\nN,2024-01-02,1,4,Nut\n"
    text += b"N,2024-01-03,1,0,Nit\nM,2024-01-03,1,,\nQ,2024-01-03,no,,\n"
    result = ingest(text, "a.csv", mapping, KNOWN)
    assert dict(result.new_items.schema) == TARGETS["items"].schema()
    assert result.new_items.select("code", "name", "kind", "unit", "price", "active").rows() == [
        ("M", "M", "trading_good", "kg", None, True),
        ("N", "Nut", "trading_good", "kg", 3.0, True),
    ]


def test_progress_rises_to_one() -> None:
    told: list[tuple[float, str]] = []
    ingest(
        b"item,day,quantity\nA,2024-01-02,1\n", "a.csv", demand_mapping(), on_progress=lambda s, t: told.append((s, t))
    )
    assert [step for _, step in told] == ["parse", "map", "validate", "clean", "done"]
    assert told[-1][0] == 1.0
    assert sorted(share for share, _ in told) == [share for share, _ in told]


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "value"),
    [
        ("1,234.5", ".", ",", 1234.5),
        ("1.234,5", ",", ".", 1234.5),
        ("1 234,5", ",", " ", 1234.5),
        ("1\u00a0234", ",", " ", 1234.0),
        ("1'000'000", ".", "'", 1e6),
        ("1,5", ".", ",", None),
        ("12,34,567", ".", ",", None),
        ("1.5", ",", "", None),
        ("-.5", ".", "", -0.5),
        ("1e3", ".", "", 1000.0),
        ("nan", ".", "", None),
        ("inf", ".", "", None),
        ("1_000", ".", "", None),
        ("٣", ".", "", None),
        ("", ".", "", None),
    ],
)
def test_numbers(text: str, decimal: str, thousands: str, value: float | None) -> None:
    frame = pl.DataFrame({"t": [text]})
    assert frame.select(number(pl.col("t"), decimal, thousands, plain=False)).item() == value


# -- whatever comes in -----------------------------------------------------------------------------------------------

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FUZZ_LIMITS = Limits(max_bytes=1 << 20, max_uncompressed=1 << 22, max_rows=1_000)
values = st.one_of(
    st.sampled_from(
        ["A", "B", "Z", "2024-01-02", "1", "-1", "1.5", "x", "", '"', "\n", "1e999", "NaN", "C536", "84029G"]
    ),
    st.text(max_size=5),
)


def accounted(content: bytes, name: str, mapping: str) -> None:
    try:
        result = ingest(content, name, SHIPPED[mapping], KNOWN, FUZZ_LIMITS)
    except IngestionError:
        return
    assert result.read == result.taken + result.merged + result.rejected_count
    assert result.taken == result.rows.height
    assert result.rejected_count == result.rejected.height
    assert result.rejected["line"].n_unique() == result.rejected_count
    key = list(TARGETS[result.target].key)
    assert not result.rows.select(key).is_duplicated().any()
    for raw in result.rejected["raw"]:
        json.loads(raw)


@FUZZ
@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.csv.gz", "a.xlsx"]), st.sampled_from(sorted(SHIPPED)))
def test_any_bytes(content: bytes, name: str, mapping: str) -> None:
    accounted(content, name, mapping)


@FUZZ
@given(st.data(), st.sampled_from(sorted(SHIPPED)))
def test_any_table_under_a_right_header(data: st.DataObject, mapping: str) -> None:
    header = [column.names[0] for column in SHIPPED[mapping].columns.values()]
    width = st.integers(0, len(header) + 1)
    rows = data.draw(st.lists(width.flatmap(lambda n: st.lists(values, min_size=n, max_size=n)), max_size=12))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows(rows)
    accounted(out.getvalue().encode("utf-8", "replace"), "a.csv", mapping)


@FUZZ
@given(st.text(max_size=200), st.sampled_from(sorted(SHIPPED)))
def test_any_text_under_a_right_header(text: str, mapping: str) -> None:
    header = ",".join(column.names[0] for column in SHIPPED[mapping].columns.values())
    accounted(f"{header}\n{text}".encode("utf-8", "replace"), "a.csv", mapping)


def test_damaged_workbooks() -> None:
    sound = workbook([["day", "item", "quantity"], *[["2024-01-02", "A", n] for n in range(20)]])
    chance = random.Random(7)
    for _ in range(150):
        content = bytearray(sound)
        for _ in range(chance.randint(1, 6)):
            content[chance.randrange(4, len(content))] = chance.randrange(256)
        accounted(bytes(content), "a.xlsx", "erp_demand")
        accounted(sound[: chance.randrange(len(sound))], "a.xlsx", "erp_demand")
