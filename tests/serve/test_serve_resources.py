"""Every table people keep: listed, read, created, changed, deleted, by whom it may be and as it was promised."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from serve_world import API, assert_problem

from serve.resources.catalogue import RESOURCES

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


NEW: dict[str, dict[str, Any]] = {
    "units": {"code": "box", "name": "Boxes", "dimension": "count"},
    "item-categories": {"code": "valves", "name": "Valves"},
    "items": {"code": "N/1 ?#", "name": "New one", "kind": "component", "lot_sizing": "fixed_quantity", "lot_size": 50},
    "unit-conversions": {"item": "A-100", "unit": "kg", "factor": 0.5},
    "suppliers": {"code": "S-2", "name": "Jones", "country": "GB", "currency": "GBP", "reliability": 0.9},
    "supplier-terms": {"item": "B-1_0", "supplier": "S-1", "price": 3.25, "valid_from": "2026-01-01"},
    "bom-lines": {"parent": "A-200", "component": "C%50", "quantity_per": 1.5, "version": "2"},
    "warehouses": {"code": "north", "name": "North", "capacity_m3": 1200.5},
    "stock": {"item": "A-200", "warehouse": "main", "lot": "L-1", "on_hand": 4, "expires_on": "2027-06-30"},
    "work-centres": {"code": "W-2", "name": "Saws", "hours_per_day": 16},
    "routings": {"item": "A-100", "sequence": 10, "work_centre": "W-1", "unit_hours": 0.25},
    "shifts": {"work_centre": "W-1", "weekday": 1, "starts_at": "22:00", "ends_at": "06:00"},
    "planned-stops": {"work_centre": "W-1", "name": "Cleaning", "starts_on": "2026-12-01", "hours": 2},
    "capacity-events": {
        **{"work_centre": "W-1", "kind": "breakdown", "starts_on": "2026-12-01", "ends_on": "2026-12-02"},
        "hours_per_day": -8,
    },
    "calendar-days": {"day": "2026-12-25", "name": "Christmas Day"},
    "open-orders": {"number": "PO-1", "kind": "purchase", "item": "B-110", "quantity": 5, "due_date": "2026-12-01"},
    "firm-orders": {"number": "SO-1", "item": "A-100", "quantity": 5, "due_date": "2026-12-01"},
}
CHANGE: dict[str, dict[str, Any]] = {
    "unit-conversions": {"factor": 0.75},
    "supplier-terms": {"price": None},
    "bom-lines": {"scrap_share": 0.1},
    "stock": {"reserved": 2.5},
    "shifts": {"break_minutes": 30},
    "capacity-events": {"note": "Spindle"},
    "open-orders": {"status": "firm"},
    "firm-orders": {"customer": "Hydro"},
}


def test_every_resource_is_tried() -> None:
    assert NEW.keys() == {resource.path for resource in RESOURCES}


@pytest.mark.parametrize("path", NEW)
async def test_a_row_lives_from_post_to_delete(by_role: dict[str, httpx.AsyncClient], path: str) -> None:
    writer, reader = by_role["manager"], by_role["viewer"]
    before = (await reader.get(f"{API}/{path}")).json()["total"]
    made = await writer.post(f"{API}/{path}", json=NEW[path])
    assert made.status_code == 201, made.text
    assert made.json().items() >= NEW[path].items()
    where = made.headers["location"]
    assert (await reader.get(where)).json() == made.json()
    assert (await reader.get(where, headers={"If-None-Match": made.headers["etag"]})).status_code == 304
    assert (await reader.get(f"{API}/{path}")).json()["total"] == before + 1
    again = assert_problem(await writer.post(f"{API}/{path}", json=NEW[path]), 409)
    assert again["errors"]
    change = CHANGE.get(path, {"name": "Another name"})
    changed = await writer.patch(where, json=change)
    assert changed.status_code == 200, changed.text
    assert changed.json() == {
        **made.json(), **change, "revision": 2, "updated_at": changed.json()["updated_at"],
    }  # fmt: skip
    assert (await writer.delete(where)).status_code == 204
    assert_problem(await reader.get(where), 404)
    assert_problem(await writer.patch(where, json=change), 404)
    assert (await reader.get(f"{API}/{path}")).json()["total"] == before


async def test_of_two_writers_at_once_one_wins_and_one_gets_412(by_role: dict[str, httpx.AsyncClient]) -> None:
    where, old = f"{API}/items/A-100", {"If-Match": '"1"'}
    answers = await asyncio.gather(
        *(
            by_role[role].patch(where, json={"price": price}, headers=old)
            for role, price in (("manager", 1), ("admin", 2))
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    winner = next(answer for answer in answers if answer.status_code == 200)
    stored = (await by_role["viewer"].get(where)).json()
    assert stored == winner.json()
    assert stored["revision"] == 2


async def test_what_is_deleted_is_hidden_keeps_its_code_and_comes_back(by_role: dict[str, httpx.AsyncClient]) -> None:
    manager = by_role["manager"]
    where = f"{API}/items/C%2550"
    assert (await manager.delete(where)).status_code == 204
    assert_problem(await manager.get(where), 404)
    listed = (await manager.get(f"{API}/items", params={"deleted": "true"})).json()
    assert [row["code"] for row in listed["items"]] == ["C%50"]
    assert_problem(await manager.post(f"{API}/items", json={"code": "C%50", "name": "x", "kind": "component"}), 409)
    line = {"parent": "A-200", "component": "C%50", "quantity_per": 1}
    problem = assert_problem(await manager.post(f"{API}/bom-lines", json=line), 409)
    assert problem["errors"][0]["field"] == "component"
    assert_problem(await manager.post(f"{API}/items/A-100/restore"), 404)
    assert (await manager.post(f"{where}/restore")).json()["deleted_at"] is None
    assert (await manager.get(where)).status_code == 200


async def test_a_row_that_others_refer_to_stays(by_role: dict[str, httpx.AsyncClient]) -> None:
    assert_problem(await by_role["manager"].delete(f"{API}/units/pcs"), 409)
    assert (await by_role["viewer"].get(f"{API}/units/pcs")).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("items", {"code": "X", "name": "x", "kind": "gadget"}, 400, "kind"),
        ("items", {"code": " X", "name": "x", "kind": "component"}, 400, "code"),
        ("items", {"code": "X", "name": "x", "kind": "component", "cost": -1}, 400, "cost"),
        ("items", {"code": "X", "name": "x", "kind": "component", "colour": "red"}, 400, "colour"),
        ("items", {"code": "X", "name": "x", "kind": "component", "unit": "furlong"}, 409, "unit"),
        (
            "items",
            {"code": "X", "name": "x", "kind": "component", "min_order_qty": 9, "max_order_qty": 3},
            409,
            "max_order_qty",
        ),
        ("supplier-terms", {"item": "nowhere", "supplier": "S-1"}, 409, "item"),
        ("shifts", {"work_centre": "W-1", "weekday": 8, "starts_at": "06:00", "ends_at": "14:00"}, 400, "weekday"),
        ("shifts", {"work_centre": "W-1", "weekday": 1, "starts_at": "6:00", "ends_at": "14:00"}, 400, "starts_at"),
        ("calendar-days", {"day": "1889-12-25"}, 409, "day"),
        ("bom-lines", {"parent": "A-100", "component": "A-100", "quantity_per": 1}, 409, "component"),
    ],
)
async def test_what_cannot_be_is_refused_by_field_and_nothing_is_stored(
    by_role: dict[str, httpx.AsyncClient], path: str, body: dict[str, Any], status: int, field: str
) -> None:
    before = (await by_role["viewer"].get(f"{API}/{path}")).json()["total"]
    problem = assert_problem(await by_role["manager"].post(f"{API}/{path}", json=body), status)
    assert field in " ".join(f"{each['field']} {each['message']}" for each in problem["errors"])
    assert (await by_role["viewer"].get(f"{API}/{path}")).json()["total"] == before


async def test_a_patch_is_held_against_what_is_stored(by_role: dict[str, httpx.AsyncClient]) -> None:
    manager = by_role["manager"]
    assert (await manager.patch(f"{API}/items/A-100", json={"min_order_qty": 9})).status_code == 200
    assert_problem(await manager.patch(f"{API}/items/A-100", json={"max_order_qty": 3}), 409)
    assert (await manager.get(f"{API}/items/A-100")).json()["max_order_qty"] is None


async def test_lists_are_filtered_sorted_and_paged_to_the_end(viewer: httpx.AsyncClient) -> None:
    async def codes(**query: Any) -> list[str]:
        answer = await viewer.get(f"{API}/items", params=query)
        assert answer.status_code == 200, answer.text
        return [row["code"] for row in answer.json()["items"]]

    assert await codes(kind=["component", "raw_material"], sort="-code") == ["C%50", "B-1_0", "B-110", "=1+1"]
    assert await codes(cost_from=50, cost_to=79) == ["A-100"]
    assert await codes(category="pumps", search="LARGE") == ["A-200"]
    assert await codes(search="c%") == ["C%50"], "a wildcard is a character like any other"
    assert await codes(active="false") == []
    cursor, found = None, []
    while True:
        page = (
            await viewer.get(
                f"{API}/items", params={"limit": 4, "sort": "cost", **({"cursor": cursor} if cursor else {})}
            )
        ).json()
        assert page["total"] == 6
        found += [row["code"] for row in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found[0] == "=1+1"
    assert found[-1] == "C%50", "no cost sorts last"
    assert len(found) == len(set(found)) == 6


async def test_only_those_who_may_write_do(by_role: dict[str, httpx.AsyncClient]) -> None:
    for role, path, status in (
        ("viewer", "stock", 403),
        ("operator", "stock", 201),
        ("operator", "units", 403),
        ("manager", "units", 201),
    ):
        answer = await by_role[role].post(f"{API}/{path}", json=NEW[path])
        assert answer.status_code == status, f"{role} {path}: {answer.text}"
