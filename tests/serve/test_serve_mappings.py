"""Mappings of the plant's own: saved, tried out on a file, used by uploads and sources as the shipped ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from serve_world import API, assert_problem

from ingestion.mapping import load_mappings

MAPPINGS = f"{API}/mappings"
CSV = b"Article;Text;Cost\nA-1;Pump;1,50\nA-2;Valve;eighty\nTEST-1;Dummy;1\nA-3;Seal;0,10\n"


def own(**given: Any) -> dict[str, Any]:
    """A mapping with German headers, numbers and a filter."""
    columns = {
        "code": {"names": ["Article"]},
        "name": {"names": ["Text"]},
        "kind": {"constant": "component"},
        "unit": {"constant": "pcs"},
        "cost": {"names": ["Cost"]},
    }
    filters = [{"reason": "a test item", "when": [{"field": "code", "matches": "^TEST"}]}]
    body = {"name": "our_items", "description": "Our items", "target": "items", "columns": columns, "filters": filters}
    return {**body, "delimiter": ";", "decimal": ",", **given}


@pytest.fixture
def manager(by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    return by_role["manager"]


def fields(problem: dict[str, Any]) -> set[str]:
    return {each["field"] for each in problem["errors"]}


async def test_a_mapping_is_saved_found_changed_and_deleted(manager: httpx.AsyncClient) -> None:
    made = await manager.post(MAPPINGS, json=own())
    assert made.status_code == 201, made.text
    where = made.headers["location"]
    assert where == f"{MAPPINGS}/our_items"
    found = (await manager.get(where)).json()
    assert (found["own"], found["revision"]) == (True, 1)
    assert found["definition"]["columns"]["code"]["names"] == ["Article"]

    changed = await manager.patch(where, json={"description": "Ours", "filters": None})
    assert changed.json()["revision"] == 2
    assert changed.json()["definition"]["description"] == "Ours"
    assert "filters" not in changed.json()["definition"]

    assert (await manager.delete(where)).status_code == 204
    assert_problem(await manager.get(where), 404)
    assert_problem(await manager.patch(where, json={}), 404)
    assert (await manager.post(MAPPINGS, json=own())).status_code == 201  # the name is free again
    assert_problem(await manager.post(MAPPINGS, json=own()), 409)


async def test_shipped_and_own_ones_are_listed_together(manager: httpx.AsyncClient) -> None:
    await manager.post(MAPPINGS, json=own())
    for path in (MAPPINGS, f"{API}/sources/mappings"):
        rows = (await manager.get(path)).json()["items"]
        assert {row["name"] for row in rows} == {*load_mappings(), "our_items"}
        assert [row["name"] for row in rows if row["own"]] == ["our_items"]
    ours = (await manager.get(MAPPINGS, params={"own": True, "target": "items"})).json()
    assert ours["total"] == 1
    assert (await manager.get(MAPPINGS, params={"own": True, "target": "stock"})).json()["total"] == 0


@pytest.mark.parametrize("name", sorted(load_mappings()))
async def test_shipped_ones_can_be_read_and_not_changed(manager: httpx.AsyncClient, name: str) -> None:
    found = (await manager.get(f"{MAPPINGS}/{name}")).json()
    assert found["own"] is False
    assert_problem(await manager.patch(f"{MAPPINGS}/{name}", json={"description": "x"}), 409)
    assert_problem(await manager.delete(f"{MAPPINGS}/{name}"), 409)
    # As a start for one's own: what is shown can be saved under another name, and means the same.
    assert_problem(await manager.post(MAPPINGS, json={**found["definition"], "name": name}), 409)
    copied = await manager.post(MAPPINGS, json={**found["definition"], "name": "copy"})
    assert copied.json()["definition"] == found["definition"]


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({"columns": {"code": {"names": ["Article"]}}}, "columns"),
        ({"columns": {**own()["columns"], "colour": {"names": ["Colour"]}}}, "columns.colour"),
        ({"columns": {**own()["columns"], "cost": {}}}, "columns.cost"),
        ({"thousands": ","}, "thousands"),
        ({"grain": "line"}, "grain"),
        ({"filters": [{"reason": "r", "when": [{"field": "code", "matches": "("}]}]}, "filters.0.when.0.matches"),
        ({"filters": [{"reason": "r", "when": [{"field": "colour", "empty": True}]}]}, "filters"),
    ],
)
async def test_one_that_contradicts_itself_is_refused_by_its_field(
    manager: httpx.AsyncClient, given: dict[str, Any], at: str
) -> None:
    assert fields(assert_problem(await manager.post(MAPPINGS, json=own(**given)), 409)) == {at}
    await manager.post(MAPPINGS, json=own())
    assert fields(assert_problem(await manager.patch(f"{MAPPINGS}/our_items", json=given), 409)) == {at}
    assert (await manager.get(f"{MAPPINGS}/our_items")).json()["revision"] == 1


@pytest.mark.parametrize(
    "given", [{"target": "moon"}, {"encoding": "rot13"}, {"date_formats": ["%Q"]}, {"name": "A b"}]
)
async def test_what_no_mapping_has_is_not_a_request(manager: httpx.AsyncClient, given: dict[str, Any]) -> None:
    assert_problem(await manager.post(MAPPINGS, json=own(**given)), 400)


async def test_of_two_who_change_a_mapping_one_wins(manager: httpx.AsyncClient) -> None:
    seen = {"If-Match": (await manager.post(MAPPINGS, json=own())).headers["etag"]}
    where = f"{MAPPINGS}/our_items"
    assert (await manager.patch(where, json={"description": "first"}, headers=seen)).status_code == 200
    assert_problem(await manager.patch(where, json={"description": "second"}, headers=seen), 412)
    assert_problem(await manager.delete(where, headers=seen), 412)


async def test_a_mapping_in_use_cannot_be_deleted(
    by_role: dict[str, httpx.AsyncClient], manager: httpx.AsyncClient, tmp_path: Path
) -> None:
    await manager.post(MAPPINGS, json=own())
    rules = [{"pattern": "*", "mapping": "our_items"}]
    source = {"code": "box", "name": "Box", "connector": "folder", "config": {"path": str(tmp_path)}, "rules": rules}
    assert (await by_role["admin"].post(f"{API}/sources", json=source)).status_code == 201
    assert "box" in assert_problem(await manager.delete(f"{MAPPINGS}/our_items"), 409)["detail"]
    assert (await by_role["admin"].delete(f"{API}/sources/box")).status_code == 204
    assert (await manager.delete(f"{MAPPINGS}/our_items")).status_code == 204
    assert_problem(await by_role["admin"].post(f"{API}/sources/box/restore"), 409)


async def test_an_upload_names_a_mapping_there_is(app: Litestar, manager: httpx.AsyncClient) -> None:
    files = {"file": ("items.csv", CSV)}
    assert_problem(await manager.post(f"{API}/sources/uploads", files=files, data={"mapping": "our_items"}), 409)
    await manager.post(MAPPINGS, json=own())
    answer = await manager.post(f"{API}/sources/uploads", files=files, data={"mapping": "our_items"})
    assert answer.status_code == 202
    assert answer.json()["parameters"]["mapping"] == "our_items"
