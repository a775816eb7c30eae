"""Templates: the shipped ones load, and one that contradicts itself is refused with the place of the fault."""

from pathlib import Path
from typing import Any

import pytest
from hostile import demand_mapping
from pydantic import ValidationError

from ingestion.errors import BadMapping
from ingestion.mapping import Mapping, load_mapping, load_mappings
from ingestion.targets import TARGETS


def test_shipped_mappings_load_and_cover_every_table() -> None:
    shipped = load_mappings()
    assert set(shipped) == {*(f"erp_{target}" for target in TARGETS if target != "sales_lines"), "online_retail"}
    assert all(mapping.description for mapping in shipped.values())
    assert {mapping.target for mapping in shipped.values()} == set(TARGETS)


COLUMNS: dict[str, Any] = {"item": {"names": ["item"]}, "day": {"names": ["day"]}, "quantity": {"names": ["quantity"]}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target": "orders"}, "unknown target 'orders'"),
        ({"grain": "line"}, "grain 'line' does not fit target 'demand'"),
        ({"decimal": ",", "thousands": ","}, "same character"),
        ({"encoding": "utf-9"}, "unknown encoding"),
        ({"encoding": "hex"}, "no text encoding"),
        ({"date_formats": ["yyyy-mm-dd"]}, "no date format"),
        ({"surprise": 1}, "Extra inputs"),
        ({"columns": {"item": {"names": ["item"]}, "day": {"names": ["day"]}}}, "needs a column for 'quantity'"),
        ({"columns": {**COLUMNS, "revenue": {"names": ["QUANTITY"]}}}, "claimed by both 'quantity' and 'revenue'"),
        ({"columns": {**COLUMNS, "note": {"names": ["note"]}}}, "has no such field; give a type"),
        ({"columns": {**COLUMNS, "revenue": {}}}, "give names or a constant"),
        ({"columns": {**COLUMNS, "revenue": {"constant": "x"}}}, "'x' is no number"),
        ({"columns": {**COLUMNS, "revenue": {"names": ["r"], "type": "text"}}}, "its type is the table's"),
        ({"filters": [{"reason": "r", "when": [{"field": "nope", "empty": True}]}]}, "uses 'nope'"),
        ({"filters": [{"reason": "{nope}", "when": [{"field": "item", "empty": True}]}]}, "uses 'nope'"),
        ({"filters": [{"reason": "r", "when": [{"field": "item"}]}]}, "tests nothing"),
        ({"filters": [{"reason": "r", "when": [{"field": "item", "matches": "("}]}]}, "no regular expression"),
        ({"filters": [{"reason": "r", "when": [{"field": "item", "below": 1}]}]}, "which it is not"),
        ({"created_item": {"kind": "gadget"}}, "'gadget' is not one of"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told.replace("(", r"\(")):
        demand_mapping(**changes)


def test_load_mapping_names_file_and_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\ntarget = "demand"\ndelimiter = "#"\n[columns]\n')
    with pytest.raises(BadMapping, match=r"mine\.toml, field delimiter: Input should be"):
        load_mapping(path)
    path.write_text("name = ")
    with pytest.raises(BadMapping, match=r"mine\.toml: no valid TOML"):
        load_mapping(path)
    path.write_text(
        'name = "other"\ntarget = "work_centres"\n[columns]\ncode={names=["c"]}\nname={names=["n"]}\n'
        "hours_per_day={constant=8}\n"
    )
    with pytest.raises(BadMapping, match="is named 'other'"):
        load_mapping(path)


def test_mapping_is_a_value(tmp_path: Path) -> None:
    mapping = load_mappings()["online_retail"]
    assert Mapping.model_validate(mapping.model_dump()) == mapping
