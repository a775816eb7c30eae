"""Numbers in other units, lookups, suppliers' codes, and rows that wait for what they name."""

from typing import Any

import polars as pl
import pytest
from hostile import demand_mapping
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ingestion.errors import EmptyFile
from ingestion.ingest import Ingested, ingest
from ingestion.known import KnownCodes
from ingestion.mapping import Mapping
from ingestion.targets import TARGETS, Kind

KNOWN = KnownCodes(items=["A", "B"], suppliers=["S1", "S2"], units=["pcs", "box", "kg"]).beside(
    item_units=pl.DataFrame(
        [("A", "pcs", 1.0), ("B", "kg", 1.0), ("A", "box", 12.0), ("B", "box", 2.5)],
        schema=["item", "unit", "factor"],
        orient="row",
    ),
    supplier_items=pl.DataFrame(
        [("S1", "4711", "A"), ("S2", "4711", "B"), ("S1", "SH-40", "B"), ("S2", "SH-40", "B")],
        schema=["supplier", "code", "item"],
        orient="row",
    ),
)
NAMED = {name: {"names": [name]} for name in ("item", "day", "quantity", "revenue")}
UOM = {"names": ["uom"], "type": "code"}


def sales(columns: dict[str, Any] | None = None, **changes: Any) -> Mapping:
    return demand_mapping(columns={**NAMED, **(columns or {})}, **{"unknown_items": "refuse", **changes})


def take(mapping: Mapping, text: str) -> Ingested:
    result = ingest(text.encode(), "a.csv", mapping, KNOWN)
    assert result.read == result.taken + result.merged + result.rejected_count
    assert result.parked_count == result.rejected["parked"].sum()
    assert dict(result.rows.schema) == TARGETS[result.target].schema()
    return result


def quantities(result: Ingested) -> list[float]:
    return result.rows["quantity"].to_list()


def faults(result: Ingested) -> list[tuple[int, str, str, bool]]:
    return result.rejected.select("line", "field", "reason", "parked").rows()


# -- units -----------------------------------------------------------------------------------------------------------


def test_a_factor_of_the_mapping() -> None:
    text = "item,day,quantity,revenue\nA,2026-01-01,2,100\nA,2026-01-02,0.5,\n"
    dozens = take(sales({"quantity": {"names": ["quantity"], "unit": "dozen", "factor": 12}}), text)
    assert quantities(dozens) == [24.0, 6.0]
    cents = take(sales({"revenue": {"names": ["revenue"], "factor": 0.01}}), text)
    assert cents.rows["revenue"].to_list() == [1.0, None]


def test_a_unit_for_all_rows_is_converted_item_by_item() -> None:
    mapping = sales({"quantity": {"names": ["quantity"], "unit": "box"}})
    assert quantities(take(mapping, "item,day,quantity\nA,2026-01-01,2\nB,2026-01-01,2\n")) == [24.0, 5.0]


def test_a_column_says_the_unit() -> None:
    mapping = sales({"quantity": {"names": ["quantity"], "unit_from": "uom"}, "uom": {**UOM, "values": {"ST": "pcs"}}})
    result = take(
        mapping,
        "item,day,quantity,uom\nA,2026-01-01,2,box\nA,2026-01-02,2,st\nB,2026-01-01,2,box\nA,2026-01-03,1,kg\n"
        "A,2026-01-04,1,\nX,2026-01-04,1,box\nA,2026-01-05,-1,box\nA,2026-01-06,two,box\n",
    )
    assert quantities(result) == [24.0, 2.0, 5.0]
    assert faults(result) == [
        (5, "quantity", "unit 'kg' has no conversion for 'A'", False),
        (6, "uom", "missing: the unit of quantity", False),
        (7, "item", "unknown item 'X'", False),
        (8, "quantity", "must be at least 0, is: '-1'", False),
        (9, "quantity", "not a number: 'two'", False),
    ]


def test_an_amount_a_unit_is_divided() -> None:
    mapping = Mapping.model_validate(
        {
            "name": "lines",
            "target": "sales_lines",
            "grain": "line",
            "columns": {
                **{name: {"names": [name]} for name in ("document", "item", "day")},
                "quantity": {"names": ["quantity"], "unit_from": "uom"},
                "price": {"names": ["price"], "unit_from": "uom"},
                "uom": UOM,
            },
        }
    )
    result = take(mapping, "document,item,day,quantity,price,uom\n1,A,2026-01-01,2,30,box\n2,A,2026-01-01,2,30,pcs\n")
    assert result.rows.select("quantity", "price").rows() == [(24.0, 2.5), (2.0, 30.0)]


def test_of_an_item_to_be_created_only_its_unit_is_known() -> None:
    mapping = sales(
        {"quantity": {"names": ["quantity"], "unit_from": "uom"}, "uom": UOM},
        unknown_items="create",
        created_item={"unit": "kg"},
    )
    result = take(mapping, "item,day,quantity,uom\nN,2026-01-01,2,kg\nM,2026-01-01,2,box\nA,2026-01-01,2,box\n")
    assert quantities(result) == [2.0, 24.0]
    assert faults(result) == [(3, "quantity", "unit 'box' has no conversion for 'M'", False)]
    assert result.new_items["code"].to_list() == ["N"]


def test_what_stands_in_for_an_empty_number_is_in_the_items_own_unit() -> None:
    mapping = sales({"quantity": {"names": ["quantity"], "unit": "box", "default": 7}})
    assert quantities(take(mapping, "item,day,quantity\nA,2026-01-01,\nA,2026-01-02,1\n")) == [7.0, 12.0]


def test_fields_counted_in_a_unit_name_the_item_it_is_of() -> None:
    for target in TARGETS.values():
        for spec in target.fields.values():
            if spec.unit_of:
                assert spec.kind is Kind.NUMBER
                assert target.fields[spec.unit_of].refers_to == "items"


# -- lookups ---------------------------------------------------------------------------------------------------------


def test_a_lookup_is_shared_and_knows_no_other_text() -> None:
    mapping = Mapping.model_validate(
        {
            "name": "orders",
            "target": "open_orders",
            "columns": {
                **{name: {"names": [name]} for name in ("number", "quantity", "due_date")},
                "item": {"names": ["item"], "lookup": "places"},
                "kind": {"names": ["kind"], "lookup": "kinds"},
            },
            "lookups": {"kinds": {"B": "purchase", "F": "production"}, "places": {"one": "A", "two": "B"}},
        }
    )
    head = "number,item,kind,quantity,due_date\n"
    result = take(
        mapping, head + "1,ONE,b,1,2026-01-01\n2,two,f,1,2026-01-01\n3,three,B,1,2026-01-01\n4,A,,1,2026-01-01\n"
    )
    assert result.rows.select("item", "kind").rows() == [("A", "purchase"), ("B", "production")]
    assert faults(result) == [
        (4, "item", "not in lookup 'places': 'three'", False),
        (5, "kind", "missing", False),
    ]


def test_suppliers_codes_with_and_without_the_supplier() -> None:
    item = {"names": ["item"], "lookup": "supplier_item"}
    rows = ["4711,2026-01-01,1,S1", "4711,2026-01-02,2,S2", "SH-40,2026-01-03,3,S1", "A,2026-01-04,4,S1"]
    text = "\n".join(["item,day,quantity,supplier", *rows])
    told = "no supplier's code of just one item: "
    with_supplier = take(sales({"item": item, "supplier": {"names": ["supplier"], "type": "code"}}), text)
    assert with_supplier.rows["item"].to_list() == ["A", "B", "B"]
    assert faults(with_supplier) == [(5, "item", told + "'A'", False)]
    always_one = take(sales({"item": item, "supplier": {"constant": "S2", "type": "code"}}), text)
    assert always_one.rows["item"].to_list() == ["B", "B", "B"]
    without = take(sales({"item": item}, unknown_items="park"), text)
    assert without.rows["item"].to_list() == ["B"]
    assert faults(without) == [
        (2, "item", told + "'4711'", True),
        (3, "item", told + "'4711'", True),
        (5, "item", told + "'A'", True),
    ]


# -- rows that wait --------------------------------------------------------------------------------------------------

BOM = "parent,component,quantity_per\nA,B,1\nA,X,1\nX,X,1\nY,X,0\nA,Y,1\n"


def test_only_rows_without_another_fault_are_parked() -> None:
    mapping = Mapping.model_validate(
        {
            "name": "bom",
            "target": "bom_lines",
            "columns": {name: {"names": [name]} for name in ("parent", "component", "quantity_per")},
            "unknown_items": "park",
        }
    )
    result = take(mapping, BOM)
    assert faults(result) == [
        (3, "component", "unknown item 'X'", True),
        (4, "component", "the same as parent: 'X'", False),
        (5, "quantity_per", "must be above 0, is: '0'", False),
        (6, "component", "unknown item 'Y'", True),
    ]
    assert result.parked_count == 2


@pytest.mark.parametrize(
    ("items", "others", "parked"),
    [
        ("refuse", "refuse", [False, False, False]),
        ("park", "refuse", [True, False, False]),
        ("refuse", "park", [False, True, False]),
        ("park", "park", [True, True, True]),
        ("create", "park", [True, True]),
    ],
)
def test_items_and_other_references_have_policies_of_their_own(items: str, others: str, parked: list[bool]) -> None:
    mapping = Mapping.model_validate(
        {
            "name": "terms",
            "target": "supplier_terms",
            "columns": {name: {"names": [name]} for name in ("item", "supplier")},
            "unknown_items": items,
            "unknown_references": others,
        }
    )
    result = take(mapping, "item,supplier\nA,S1\nX,S1\nA,S9\nX,S9\n")
    assert result.rejected["parked"].to_list() == parked


def test_a_parked_row_is_taken_once_the_item_is_there() -> None:
    mapping = sales(
        {"quantity": {"names": ["quantity"], "unit": "box"}}, unknown_items="park", unknown_references="park"
    )
    text = "item,day,quantity\nC,2026-01-01,1\n"
    assert take(mapping, text).parked_count == 1
    with_item = KnownCodes(items=["C"])
    assert faults(ingest(text.encode(), "a.csv", mapping, with_item)) == [
        (2, "quantity", "unit 'box' has no conversion for 'C'", True)
    ]
    boxes = pl.DataFrame({"item": ["C"], "unit": ["box"], "factor": [6.0]})
    assert quantities(ingest(text.encode(), "a.csv", mapping, with_item.beside(item_units=boxes))) == [6.0]


# -- filters ---------------------------------------------------------------------------------------------------------


def test_filters_by_day_and_by_what_is_not_listed() -> None:
    filters = [
        {"reason": "before the change of system: {day}", "when": [{"field": "day", "before": "2026-01-02"}]},
        {"reason": "in the future", "when": [{"field": "day", "after": "2026-12-31"}]},
        {"reason": "not ours: {item}", "when": [{"field": "item", "not_one_of": ["A", "B"]}]},
    ]
    text = "item,day,quantity\nA,2026-01-01,1\nA,2026-01-02,1\nA,2027-01-01,1\nC,2026-01-02,1\n"
    result = take(sales(filters=filters), text)
    assert [reason for _, _, reason, _ in faults(result)] == [
        "before the change of system: 2026-01-01", "in the future", "not ours: C"
    ]  # fmt: skip


# -- contradictions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "changes", "told"),
    [
        ({"quantity": {"names": ["q"], "unit": "box", "unit_from": "uom"}, "uom": UOM}, {}, "give unit_from alone"),
        ({"quantity": {"names": ["q"], "unit_from": "uom"}}, {}, "unit_from 'uom' is no column of texts"),
        ({"quantity": {"names": ["q"], "unit_from": "revenue"}}, {}, "unit_from 'revenue' is no column of texts"),
        ({"revenue": {"names": ["r"], "unit": "box"}}, {}, "it is not counted in an item's unit"),
        ({"quantity": {"constant": 1, "factor": 2}}, {}, "only numbers from the file"),
        ({"item": {"names": ["i"], "factor": 2}}, {}, "only numbers from the file"),
        ({"quantity": {"names": ["q"], "factor": 0}}, {}, "greater than 0"),
        ({"item": {"names": ["i"], "lookup": "nowhere"}}, {}, "there is no lookup 'nowhere'"),
        ({"quantity": {"names": ["q"], "lookup": "supplier_item"}}, {}, "it names no item"),
        ({"item": {"names": ["i"], "lookup": "supplier_item"}}, {"unknown_items": "create"}, "cannot be created"),
        ({}, {"lookups": {"supplier_item": {"a": "b"}}}, "a lookup 'supplier_item' is there already"),
        ({}, {"lookups": {"empty": {}}}, "a lookup 'empty' lists nothing"),
        ({}, {"filters": [{"reason": "r", "when": [{"field": "item", "before": "2026-01-01"}]}]}, "with a day"),
    ],
)
def test_contradictions_are_refused(columns: dict[str, Any], changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        sales(columns, **changes)


# -- whatever comes in -----------------------------------------------------------------------------------------------

cells = st.sampled_from(
    ["A", "B", "X", "S1", "S9", "4711", "SH-40", "pcs", "box", "kg", "1", "-1", "x", "", "2026-01-02"]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(cells, min_size=4, max_size=4), min_size=1, max_size=12),
    st.sampled_from(["create", "park", "refuse"]),
    st.sampled_from(["park", "refuse"]),
    st.sampled_from([{}, {"lookup": "supplier_item"}]),
    st.sampled_from([{}, {"unit_from": "uom"}, {"unit": "box"}, {"unit": "box", "factor": 3}]),
)
def test_every_row_is_accounted_for(
    rows: list[list[str]], items: str, others: str, lookup: dict[str, str], unit: dict[str, Any]
) -> None:
    if lookup and items == "create":
        return
    mapping = Mapping.model_validate(
        {
            "name": "terms",
            "target": "supplier_terms",
            "columns": {
                "item": {"names": ["item"], **lookup},
                "supplier": {"names": ["supplier"]},
                "price": {"names": ["price"], **unit},
                "uom": UOM,
            },
            "unknown_items": items,
            "unknown_references": others,
        }
    )
    text = "item,supplier,price,uom\n" + "".join(",".join(row) + "\n" for row in rows)
    try:
        result = take(mapping, text)
    except EmptyFile:
        return
    assert result.rejected_count == result.rejected.height
    assert items == "park" or others == "park" or result.parked_count == 0
    # What is parked lacks nothing but what it names: with all of that there, it is taken.
    names = KnownCodes(items=["A", "B", "X", *(r[0] for r in rows)], suppliers=[r[1] for r in rows])
    units = pl.DataFrame(
        [(r[0], u, 2.0) for r in rows for u in (r[3], "box")], schema=["item", "unit", "factor"], orient="row"
    )
    if not lookup:
        parked = result.rejected.filter("parked")["line"].to_list()
        again = ingest(text.encode(), "a.csv", mapping, names.beside(item_units=units))
        assert not set(parked) & set(again.rejected["line"])
