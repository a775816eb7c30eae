"""Every table people keep: listed, read, created, changed, deleted, by whom it may be and as it was promised."""

from __future__ import annotations

import httpx
import pytest
from serve_world import API, assert_problem

pytestmark = pytest.mark.usefixtures("plant")


async def test_items_are_listed(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.get(f"{API}/items", params={"search": "pump", "kind": ["finished"], "sort": "-price"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [row["code"] for row in body["items"]] == ["A-200", "A-100"]
    assert body["total"] == 2
    assert body["items"][1]["on_hand"] == 10.0


async def test_only_the_fields_asked_for(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.get(f"{API}/bom-lines", params={"fields": ["component", "quantity_per"], "parent": "A-100"})
    assert [each.keys() for each in answer.json()["items"]] == [{"id", "revision", "component", "quantity_per"}] * 2


async def test_a_row_is_made_read_changed_and_deleted(by_role: dict[str, httpx.AsyncClient]) -> None:
    manager = by_role["manager"]
    made = await manager.post(f"{API}/supplier-terms", json={"item": "B-1_0", "supplier": "S-1", "price": 3.25})
    assert made.status_code == 201, made.text
    where = made.headers["location"]
    assert made.headers["etag"] == '"1"'
    read = await manager.get(where)
    assert read.json() == made.json()
    changed = await manager.patch(where, json={"price": None, "priority": 3}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["price"], changed.json()["priority"], changed.json()["revision"]) == (None, 3, 2)
    late = await manager.patch(where, json={"priority": 1}, headers={"If-Match": '"1"'})
    assert_problem(late, 412)
    assert (await manager.delete(where)).status_code == 204
    assert_problem(await manager.get(where), 404)
