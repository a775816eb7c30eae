"""Units, suppliers' codes and rows that wait: with what is stored, and with what files of the same round bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from queue_world import scalar
from test_ingestion_work import drop, ingest, put_source, runs, upload
from test_reruns import rejected

from actors.owner import Connections
from db.models import SavedMapping

ITEMS = "code,name,kind,unit\nB1,Bike,finished,pcs\nW1,Wheel,component,pcs\n"
CONVERSIONS = "item,unit,factor\nB1,box,12\nW1,box,40\n"
TERMS = "item,supplier,supplier_item_code\nW1,S-1,4711\n"
SUPPLIERS = "code,name\nS-1,Smith\n"
OURS: dict[str, dict[str, Any]] = {
    "boxes": {
        "target": "stock",
        "columns": {
            "item": {"names": ["item"]},
            "on_hand": {"names": ["on_hand"], "unit_from": "uom"},
            "uom": {"names": ["uom"], "type": "code"},
        },
        "unknown_items": "park",
        "unknown_references": "park",
    },
    "arrivals": {
        "target": "open_orders",
        "columns": {
            **{name: {"names": [name]} for name in ("number", "supplier", "quantity", "due_date")},
            "kind": {"constant": "purchase"},
            "item": {"names": ["article"], "lookup": "supplier_item"},
        },
        "unknown_items": "park",
    },
}
STOCK = "item,on_hand,uom\nB1,2,box\nW1,3,pcs\n"
ORDERS = "number,supplier,article,quantity,due_date\nPO-1,S-1,4711,5,2026-12-01\nPO-2,S-1,4712,5,2026-12-01\n"


async def save_ours(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        session.add_all(SavedMapping(name=name, definition=definition) for name, definition in OURS.items())


async def stored_stock(connections: Connections) -> str:
    shown = "string_agg(i.code || ' ' || s.on_hand::float, ', ' ORDER BY i.code)"
    return str(await scalar(connections, f"SELECT {shown} FROM stock s JOIN item i ON i.id = s.item_id"))


async def test_files_of_one_round_convert_by_each_other(connections: Connections, tmp_path: Path) -> None:
    await save_ours(connections)
    rules = [
        {"pattern": "items*", "mapping": "erp_items"},
        {"pattern": "conversions*", "mapping": "erp_unit_conversions"},
        {"pattern": "suppliers*", "mapping": "erp_suppliers"},
        {"pattern": "terms*", "mapping": "erp_supplier_terms"},
        {"pattern": "stock*", "mapping": "boxes"},
        {"pattern": "orders*", "mapping": "arrivals"},
    ]
    await upload(connections, "units.csv", "code,name\nbox,Box\n", "erp_units")
    await put_source(connections, "inbox", config={"path": str(tmp_path), "min_age_s": 0}, rules=rules)
    drop(
        tmp_path, items_csv=ITEMS, conversions_csv=CONVERSIONS, suppliers_csv=SUPPLIERS, terms_csv=TERMS,
        stock_csv=STOCK, orders_csv=ORDERS,
    )  # fmt: skip
    outcome, job = await ingest(connections)
    assert outcome.end == "done", outcome.error
    found = {run.file: (run.state, run.taken, run.rejected, run.parked) for run in await runs(connections, job)}
    assert found["stock.csv"] == ("done", 2, 0, 0)
    assert found["orders.csv"] == ("done", 1, 1, 1)
    assert await stored_stock(connections) == "B1 24, W1 3"
    query = "SELECT i.code FROM open_order o JOIN item i ON i.id = o.item_id"
    assert await scalar(connections, query) == "W1"


async def test_a_parked_row_is_taken_once_item_and_conversion_are_there(connections: Connections) -> None:
    await save_ours(connections)
    await upload(connections, "units.csv", "code,name\nbox,Box\n", "erp_units")
    _, job = await upload(connections, "stock.csv", STOCK, "boxes")
    (run,) = await runs(connections, job)
    assert (run.read, run.taken, run.rejected, run.parked) == (2, 0, 2, 2)
    await upload(connections, "items.csv", ITEMS)
    assert await stored_stock(connections) == "W1 3"
    assert [(row.state, row.reason) for row in await rejected(connections)] == [
        ("open", "unit 'box' has no conversion for 'B1'"), ("taken", "unknown item 'W1'")
    ]  # fmt: skip
    await upload(connections, "conversions.csv", CONVERSIONS, "erp_unit_conversions")
    assert await stored_stock(connections) == "B1 24, W1 3"
    assert {row.state for row in await rejected(connections)} == {"taken"}
