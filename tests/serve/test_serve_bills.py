"""Bills of material over the API: trees, explosions, where an item is used, units, and no cycles ever."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from litestar import Litestar
from serve_world import API, assert_problem
from sqlalchemy import text

pytestmark = pytest.mark.usefixtures("plant")


@pytest.fixture
def manager(by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    return by_role["manager"]


async def run(app: Litestar, *statements: str) -> None:
    async with app.state.connections.sessions.begin() as session:
        for statement in statements:
            await session.execute(text(statement))


async def made(client: httpx.AsyncClient, path: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post(f"{API}/{path}", json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def read(client: httpx.AsyncClient, path: str, **parameters: Any) -> dict[str, Any]:
    answer = await client.get(f"{API}/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def deepen(client: httpx.AsyncClient) -> None:
    """A-100 of 1 B-1_0 and 2.5 B-110 (2 % scrap); each B-1_0 of 2 C%50 and 1 B-110."""
    await made(client, "bom-lines", parent="B-1_0", component="C%50", quantity_per=2)
    await made(client, "bom-lines", parent="B-1_0", component="B-110", quantity_per=1)


async def test_the_tree_holds_every_place_of_an_item(manager: httpx.AsyncClient) -> None:
    await deepen(manager)
    top = await read(manager, "items/A-100/bill-of-material", quantity=10)
    assert (top["item"], top["level"], top["quantity"]) == ("A-100", 0, 10)
    seal, shaft = top["children"]
    assert (shaft["item"], shaft["quantity"], shaft["quantity_per"]) == ("B-1_0", 10, 1)
    assert (seal["quantity_per"], seal["scrap_share"]) == (2.5, 0.02)
    assert seal["quantity"] == pytest.approx(25 / 0.98)
    assert [(each["item"], each["level"], each["quantity"]) for each in shaft["children"]] == [
        ("B-110", 2, 10),
        ("C%50", 2, 20),
    ]
    flat = await read(manager, "items/A-100/bill-of-material", quantity=10, depth=1)
    assert [each["children"] for each in flat["children"]] == [[], []]


async def test_the_explosion_sums_by_component_and_rolls_costs_up(app: Litestar, manager: httpx.AsyncClient) -> None:
    await deepen(manager)
    await run(app, "UPDATE item SET cost = 3 WHERE code = 'C%50'", "UPDATE work_centre SET cost_per_hour = 60")
    await made(
        manager, "routings", item="A-100", sequence=10, work_centre="W-1", name="Fit", setup_hours=0.5, unit_hours=0.25
    )
    body = await read(manager, "items/A-100/explosion", quantity=10)
    by_item = {row["item"]: row for row in body["items"]}
    assert [row["item"] for row in body["items"]] == ["A-100", "B-1_0", "B-110", "C%50"]
    assert {item: row["level"] for item, row in by_item.items()} == {"A-100": 0, "B-1_0": 1, "B-110": 2, "C%50": 2}
    assert by_item["B-110"]["quantity"] == pytest.approx(25 / 0.98 + 10)
    assert by_item["B-1_0"]["unit_cost"] == pytest.approx(2 * 3 + 5)
    expected = 11 + 2.5 / 0.98 * 5 + 0.25 * 60 + 0.5 * 60 / 10
    assert body["unit_cost"] == pytest.approx(expected)
    assert body["total_cost"] == pytest.approx(10 * expected)
    assert body["unpriced"] == []
    assert body["is_complete"]
    assert body["cost_deviates"], "the standard cost of 50 is not what it adds up to"
    assert not by_item["B-110"]["cost_deviates"], "what is bought has nothing to differ from"


async def test_what_has_no_price_is_named(app: Litestar, manager: httpx.AsyncClient) -> None:
    await deepen(manager)
    await made(manager, "routings", item="B-1_0", sequence=1, work_centre="W-1", unit_hours=1)
    await run(app, "UPDATE item SET cost = NULL WHERE code = 'B-110'")
    body = await read(manager, "items/A-100/explosion")
    assert body["unpriced"] == [
        {"item": "B-1_0", "reason": "no cost an hour of work centre W-1"},
        {"item": "C%50", "reason": "no standard cost, and no price of an active supplier"},
    ]
    assert not body["is_complete"]
    by_item = {row["item"]: row for row in body["items"]}
    assert by_item["B-110"]["unit_cost"] == 4.5, "without a standard cost the supplier's price counts"
    assert by_item["B-110"]["supplier"] == "S-1"
    await run(app, "UPDATE supplier SET active = false")
    body = await read(manager, "items/A-100/explosion")
    assert "B-110" in [each["item"] for each in body["unpriced"]]


async def test_versions_and_dates_choose_the_lines(manager: httpx.AsyncClient) -> None:
    await made(manager, "bom-lines", parent="A-200", component="B-110", quantity_per=1, valid_to="2026-06-30")
    await made(manager, "bom-lines", parent="A-200", component="C%50", quantity_per=1, valid_from="2026-07-01")
    await made(manager, "bom-lines", parent="A-200", component="B-1_0", quantity_per=1, version="2")

    async def components(**parameters: Any) -> list[str]:
        return [
            each["item"] for each in (await read(manager, "items/A-200/bill-of-material", **parameters))["children"]
        ]

    assert await components(on="2026-06-30") == ["B-110"]
    assert await components(on="2026-07-01") == ["C%50"]
    assert await components(version="2") == ["B-1_0"]
    answer = await manager.get(f"{API}/items/A-200/bill-of-material", params={"version": "9"})
    assert assert_problem(answer, 409)["errors"][0]["field"] == "version"
    item = (await manager.patch(f"{API}/items/A-200", json={"bom_version": "2"})).json()
    assert await components(on="2026-07-01") == ["B-1_0"]
    assert (await read(manager, f"items/{item['id']}/explosion"))["item"] == "A-200"


async def test_where_used_goes_up_to_the_top(manager: httpx.AsyncClient) -> None:
    await deepen(manager)
    body = await read(manager, "items/B-110/where-used")
    found = [(each["item"], each["level"], each["is_top"]) for each in body["uses"]]
    assert found == [("B-1_0", 1, False), ("A-100", 2, True)]
    assert [each["quantity"] for each in body["uses"]] == [1, pytest.approx(2.5 / 0.98 + 1)]
    direct = await read(manager, "items/B-110/where-used", levels="direct")
    assert {each["item"]: each["quantity"] for each in direct["uses"]} == {
        "A-100": pytest.approx(2.5 / 0.98),
        "B-1_0": 1,
    }


async def test_a_line_that_closes_a_cycle_is_refused_in_any_version(manager: httpx.AsyncClient) -> None:
    await deepen(manager)
    for version in ("1", "7"):
        answer = await manager.post(
            f"{API}/bom-lines", json={"parent": "B-110", "component": "A-100", "quantity_per": 1, "version": version}
        )
        problem = assert_problem(answer, 409)
        assert problem["errors"] == [{"field": "component", "message": "closes the cycle B-110 -> A-100 -> B-110"}]
    line = await made(manager, "bom-lines", parent="B-110", component="=1+1", quantity_per=1)
    answer = await manager.patch(f"{API}/bom-lines/{line['id']}", json={"component": "B-1_0"})
    assert "B-110 -> B-1_0 -> B-110" in assert_problem(answer, 409)["detail"]
    kept = await read(manager, f"bom-lines/{line['id']}")
    assert (kept["component"], kept["revision"]) == ("=1+1", 1)


async def test_of_two_lines_that_close_a_cycle_together_one_is_refused(manager: httpx.AsyncClient) -> None:
    for _ in range(5):
        answers = await asyncio.gather(
            *(
                manager.post(f"{API}/bom-lines", json={"parent": parent, "component": component, "quantity_per": 1})
                for parent, component in (("A-200", "=1+1"), ("=1+1", "A-200"))
            )
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        made_line = next(answer for answer in answers if answer.status_code == 201)
        assert (await manager.delete(made_line.headers["location"])).status_code == 204


async def test_a_cycle_that_a_file_brought_is_told_and_ends_no_query(app: Litestar, viewer: httpx.AsyncClient) -> None:
    await run(
        app,
        "INSERT INTO bom_line (id, parent_item_id, component_item_id, quantity_per)"
        " SELECT gen_random_uuid(), p.id, c.id, 1 FROM item p, item c WHERE p.code = 'B-110' AND c.code = 'A-100'",
    )
    for path in ("explosion", "bill-of-material", "where-used"):
        answer = await viewer.get(f"{API}/items/A-100/{path}")
        assert "A-100 > B-110 > A-100" in assert_problem(answer, 409)["detail"]


async def test_a_tree_with_too_many_places_is_refused(app: Litestar, viewer: httpx.AsyncClient) -> None:
    levels = range(9)
    await run(
        app,
        "INSERT INTO item (id, code, name, kind) SELECT gen_random_uuid(), 'L' || l || '-' || n, 'x', 'component'"
        " FROM generate_series(0, 8) l, generate_series(1, 4) n",
        *(
            "INSERT INTO bom_line (id, parent_item_id, component_item_id, quantity_per)"
            f" SELECT gen_random_uuid(), p.id, c.id, 1 FROM item p, item c WHERE p.code LIKE 'L{level}-%'"
            f" AND c.code LIKE 'L{level + 1}-%'"
            for level in levels[:-1]
        ),
    )
    answer = await viewer.get(f"{API}/items/L0-1/bill-of-material")
    assert "20,000 places" in assert_problem(answer, 409)["detail"]
    exploded = await read(viewer, "items/L0-1/explosion")
    assert exploded["items"][-1]["quantity"] == 4**7
    assert len(exploded["items"]) == 1 + 4 * 8


async def test_quantities_are_converted_by_the_items_own_units(manager: httpx.AsyncClient) -> None:
    await made(manager, "units", code="box", name="Box", dimension="count")
    await made(manager, "units", code="pal", name="Pallet", dimension="count")
    await made(manager, "unit-conversions", item="B-110", unit="box", factor=12)
    await made(manager, "unit-conversions", item="B-110", unit="pal", factor=480)

    async def converted(source: str, target: str) -> Any:
        body = await read(manager, "items/B-110/convert", quantity=3, from_unit=source, to_unit=target)
        return body["converted"]

    assert await converted("box", "pcs") == 36
    assert await converted("pcs", "box") == 0.25
    assert await converted("pal", "box") == 120
    answer = await manager.get(
        f"{API}/items/A-100/convert", params={"quantity": 3, "from_unit": "box", "to_unit": "pcs"}
    )
    assert assert_problem(answer, 409)["errors"] == [
        {"field": "from_unit", "message": "item 'A-100' has no conversion from 'box' to 'pcs'"}
    ]


async def test_categories_form_a_tree_without_cycles(manager: httpx.AsyncClient) -> None:
    await made(manager, "item-categories", code="all", name="All")
    assert (await manager.patch(f"{API}/item-categories/pumps", json={"parent": "all"})).status_code == 200
    await made(manager, "item-categories", code="large", name="Large pumps", parent="pumps")
    body = await read(manager, "item-categories/tree")
    (top,) = body["categories"]
    assert (top["code"], top["items"]) == ("all", 0)
    assert [(each["code"], each["items"]) for each in top["children"]] == [("pumps", 2)]
    assert [each["code"] for each in top["children"][0]["children"]] == ["large"]
    answer = await manager.patch(f"{API}/item-categories/all", json={"parent": "large"})
    problem = assert_problem(answer, 409)
    assert problem["errors"] == [{"field": "parent", "message": "closes the cycle all -> large -> pumps -> all"}]


async def test_items_of_a_category_and_all_below_it(manager: httpx.AsyncClient) -> None:
    await made(manager, "item-categories", code="large", name="Large pumps", parent="pumps")
    assert (await manager.patch(f"{API}/items/A-200", json={"category": "large"})).status_code == 200
    exact = await read(manager, "items", category="pumps")
    assert [row["code"] for row in exact["items"]] == ["A-100"]
    below = await read(manager, "items", category_tree="pumps")
    assert [row["code"] for row in below["items"]] == ["A-100", "A-200"]
    assert below["total"] == 2


async def test_unknown_items_are_not_there(viewer: httpx.AsyncClient) -> None:
    for path in ("explosion", "bill-of-material", "where-used", "convert?quantity=1&from_unit=a&to_unit=b"):
        assert_problem(await viewer.get(f"{API}/items/nothing/{path}"), 404)
    assert_problem(await viewer.get(f"{API}/items/A-100/explosion", params={"quantity": 0}), 400)
    assert_problem(await viewer.get(f"{API}/items/A-100/bill-of-material", params={"depth": 101}), 400)
