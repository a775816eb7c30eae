"""A mapping suggested for a file and tried out on it through the API; nothing of it is stored."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from litestar import Litestar
from serve_world import API, add_plant, assert_problem

from serve.routes import mapping_trials

MAPPINGS = f"{API}/mappings"
CSV = b"Article;Text;Cost\nA-1;Pump;1,50\nA-2;Valve;eighty\nTEST-1;Dummy;1\nA-3;Seal;0,10\n"
GERMAN = (
    "Bestand zum Monatsende;;;;;\nArt.-Nr.;Bezeichnung;Lagerort;Bestand;ME;MHD\n"
    "A-100;Pumpe für Öl;01;1.234,5;pcs;01.12.2026\nA-200;Gehäuse;01;2,0;box;24.12.2026\nX-9;Neu;01;1,0;pcs;\n"
).encode("cp1252")
OWN: dict[str, Any] = {
    "target": "items",
    "columns": {
        "code": {"names": ["Article"]},
        "name": {"names": ["Text"]},
        "kind": {"constant": "component"},
        "cost": {"names": ["Cost"]},
    },
    "filters": [{"reason": "a test item", "when": [{"field": "code", "matches": "^TEST"}]}],
    "delimiter": ";",
    "decimal": ",",
}


@pytest.fixture
async def plant(app: Litestar, by_role: dict[str, httpx.AsyncClient]) -> None:
    """Six items, and boxes of twelve."""
    async with app.state.connections.sessions.begin() as session:
        await add_plant(session)
    manager = by_role["manager"]
    await manager.post(f"{API}/units/bulk", json={"rows": [{"code": "box", "name": "Box"}]})
    made = await manager.post(f"{API}/unit-conversions", json={"item": "A-200", "unit": "box", "factor": 12})
    assert made.status_code == 201, made.text


@pytest.fixture
def operator(by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    return by_role["operator"]


async def tried(client: httpx.AsyncClient, content: bytes, name: str = "items.csv", **form: str) -> httpx.Response:
    return await client.post(f"{MAPPINGS}/preview", files={"file": (name, content)}, data=form)


async def suggested(client: httpx.AsyncClient, content: bytes, name: str, **form: str) -> dict[str, Any]:
    answer = await client.post(f"{MAPPINGS}/suggest", files={"file": (name, content)}, data=form)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def fields(problem: dict[str, Any]) -> set[str]:
    return {each["field"] for each in problem["errors"]}


@pytest.mark.usefixtures("plant")
async def test_what_is_suggested_can_be_tried_saved_and_tried_again(by_role: dict[str, httpx.AsyncClient]) -> None:
    operator, manager = by_role["operator"], by_role["manager"]
    found = await suggested(operator, GERMAN, "Lagerbestand 2026-11-29.csv")
    mapping = found["mapping"]
    assert (mapping["name"], mapping["target"], mapping["encoding"]) == ("lagerbestand", "stock", "cp1252")
    assert (mapping["decimal"], mapping["thousands"], mapping["date_formats"]) == (",", ".", ["%d.%m.%Y"])
    assert {each["field"]: each["column"] for each in found["fields"]} == {
        "item": "Art.-Nr.", "warehouse": "Lagerort", "on_hand": "Bestand", "expires_on": "MHD"
    }  # fmt: skip
    assert all(0.8 < each["score"] <= 1 and each["reasons"] for each in found["fields"])
    assert found["targets"][0]["target"] == "stock"
    assert found["reading"] == {
        "file_format": "csv", "encoding": "cp1252", "delimiter": ";", "sheet": "", "header_line": 2
    }  # fmt: skip
    assert found["unused"] == ["Bezeichnung", "ME"]  # two of three rows have a unit on record: not enough to rely on
    assert any("'X-9'" in each for each in found["warnings"])

    unsaved = (await tried(operator, GERMAN, definition=json.dumps(mapping))).json()
    assert (unsaved["read"], unsaved["taken"], unsaved["rejected"], unsaved["parked"]) == (3, 2, 1, 1)
    assert [(row["item"], row["on_hand"], row["expires_on"]) for row in unsaved["rows"]] == [
        ("A-100", 1234.5, "2026-12-01"), ("A-200", 2.0, "2026-12-24")
    ]  # fmt: skip
    assert unsaved["lines"] == [3, 4]
    assert unsaved["rejected_rows"][0] | {"raw": ""} == {
        "line": 5, "field": "item", "reason": "unknown item 'X-9'", "raw": "", "parked": True
    }  # fmt: skip
    assert unsaved["unused"] == ["Bezeichnung", "ME"]

    assert (await manager.post(MAPPINGS, json=mapping)).status_code == 201
    assert (await tried(operator, GERMAN, mapping="lagerbestand")).json() == unsaved
    assert (await suggested(operator, GERMAN, "Lagerbestand.csv"))["mapping"]["name"] == "lagerbestand_2"
    assert (await operator.get(f"{API}/stock")).json()["total"] == 2  # the plant's own


@pytest.mark.usefixtures("plant")
async def test_a_unit_column_is_used_where_the_conversions_cover_it(operator: httpx.AsyncClient) -> None:
    content = GERMAN.replace("X-9;Neu;01;1,0;pcs;\n".encode("cp1252"), b"")
    mapping = (await suggested(operator, content, "Lagerbestand.csv"))["mapping"]
    assert mapping["columns"]["on_hand"]["unit_from"] == "unit_of_measure"
    seen = (await tried(operator, content, definition=json.dumps(mapping, indent=2))).json()
    assert [(row["item"], row["on_hand"]) for row in seen["rows"]] == [("A-100", 1234.5), ("A-200", 24.0)]


@pytest.mark.usefixtures("plant")
async def test_a_suppliers_own_codes_are_told_and_looked_up(
    by_role: dict[str, httpx.AsyncClient], operator: httpx.AsyncClient
) -> None:
    rows = [{"item": "B-110", "supplier": "S-1", "supplier_item_code": "SH-40"}]
    await by_role["manager"].post(f"{API}/supplier-terms/bulk", json={"rows": rows})
    content = (
        b"PO number,Type,Item,Vendor,Open qty,Due date\nP1,PO,SH-40,S-1,5,2026-12-01\nP2,PO,SH-40,S-1,5,2026-12-02\n"
    )
    mapping = (await suggested(operator, content, "bestellungen.csv"))["mapping"]
    assert mapping["columns"]["item"]["lookup"] == "supplier_item"
    seen = (await tried(operator, content, definition=json.dumps(mapping))).json()
    assert [row["item"] for row in seen["rows"]] == ["B-110", "B-110"]


async def test_new_items_are_shown_before_they_are_made(operator: httpx.AsyncClient) -> None:
    content = b"Invoice,Item,Description,Date,Quantity,Price\n1,N-1,Nut,2026-01-13,2,1.5\n2,N-1,Nut,2026-01-14,1,2.5\n"
    mapping = (await suggested(operator, content, "invoices.csv"))["mapping"]
    assert mapping["unknown_items"] == "create"
    seen = (await tried(operator, content, definition=json.dumps(mapping))).json()
    assert seen["new_items"] == 1
    item = seen["first_new_items"][0]
    assert (item["code"], item["name"], item["price"]) == ("N-1", "Nut", 2.0)
    assert "1 items would be created" in seen["warnings"]
    assert (await operator.get(f"{API}/items")).json()["total"] == 0


async def test_the_table_can_be_said(operator: httpx.AsyncClient) -> None:
    content = b"code,name\nx,y\n"
    for target in ("units", "warehouses", "suppliers", "item_categories"):
        assert (await suggested(operator, content, "a.csv", target=target))["mapping"]["target"] == target
    answer = await operator.post(f"{MAPPINGS}/suggest", files={"file": ("a.csv", content)}, data={"target": "moon"})
    assert_problem(answer, 400)


async def test_a_preview_shows_what_would_become_of_a_file(by_role: dict[str, httpx.AsyncClient]) -> None:
    assert (await by_role["manager"].post(MAPPINGS, json={"name": "our_items", **OWN})).status_code == 201
    for form in ({"mapping": "our_items"}, {"definition": json.dumps(OWN)}):
        answer = await tried(by_role["operator"], CSV, **form)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["read"], found["taken"], found["rejected"], found["parked"]) == (4, 2, 2, 0)
        assert [(row["code"], row["cost"]) for row in found["rows"]] == [("A-1", 1.5), ("A-3", 0.1)]
        assert [(row["line"], row["field"]) for row in found["rejected_rows"]] == [(3, "cost"), (4, "code")]
    assert (await by_role["viewer"].get(f"{API}/items")).json()["total"] == 0
    assert_problem(await tried(by_role["viewer"], CSV, mapping="our_items"), 403)


async def test_a_preview_is_of_the_first_rows(operator: httpx.AsyncClient) -> None:
    rows = "".join(f"A-{number};Pump;{'1' if number % 2 else 'x'}\n" for number in range(300))
    found = (await tried(operator, f"Article;Text;Cost\n{rows}".encode(), definition=json.dumps(OWN))).json()
    assert (found["read"], len(found["rows"]), len(found["lines"]), len(found["rejected_rows"])) == (300, 50, 50, 50)


async def test_what_is_no_table_is_told(operator: httpx.AsyncClient) -> None:
    for content in (b"", b"\x00\xff\x00", b"nothing like it", b"PK\x03\x04"):
        for form in ({"mapping": "erp_items"}, {"definition": json.dumps(OWN)}):
            assert fields(assert_problem(await tried(operator, content, **form), 409)) == {"file"}
        answer = await operator.post(f"{MAPPINGS}/suggest", files={"file": ("items.csv", content)})
        assert fields(assert_problem(answer, 409)) == {"file"}


FORMS: tuple[tuple[dict[str, str], str], ...] = (
    ({}, "mapping"),
    ({"mapping": "erp_items", "definition": json.dumps(OWN)}, "mapping"),
    ({"mapping": "nowhere"}, "mapping"),
    ({"definition": "{{"}, "definition"),
    ({"definition": "[]"}, "definition"),
    ({"definition": json.dumps({**OWN, "target": "moon"})}, "definition.target"),
    ({"definition": json.dumps({**OWN, "colour": 1})}, "definition.colour"),
    ({"definition": json.dumps({**OWN, "thousands": ","})}, "thousands"),
    ({"definition": json.dumps({**OWN, "columns": {**OWN["columns"], "cost": {}}})}, "columns.cost"),
)


async def test_a_preview_without_a_mapping_to_read_it_with(operator: httpx.AsyncClient) -> None:
    for form, at in FORMS:
        assert fields(assert_problem(await tried(operator, CSV, **form), 409)) == {at}


async def test_names_of_routes_are_no_names_of_mappings(by_role: dict[str, httpx.AsyncClient]) -> None:
    for name in ("preview", "suggest"):
        problem = assert_problem(await by_role["manager"].post(MAPPINGS, json={"name": name, **OWN}), 409)
        assert fields(problem) == {"name"}


async def test_a_file_that_takes_too_long_is_given_up_on(
    app: Litestar, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping_trials, "LONGEST_S", 0.001)
    content = b"Article;Text;Cost\n" + b"A-1;Pump;1,50\n" * 50_000
    assert fields(assert_problem(await tried(operator, content, definition=json.dumps(OWN)), 409)) == {"file"}
    # It still has its turn: whoever comes while all turns are taken is asked to come back.
    for _ in range(2):
        await app.state.transfers.acquire()
    try:
        answer = await tried(operator, CSV, definition=json.dumps(OWN))
        assert_problem(answer, 503)
        assert answer.headers["retry-after"] == "10"
    finally:
        for _ in range(2):
            app.state.transfers.release()
