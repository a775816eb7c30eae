"""Many rows in one request: created or changed by their key, the good ones kept, the others told by their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar
from serve_world import API, assert_problem
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from transfer_world import checked, counts

from serve.problems import FieldError, RuleBroken
from serve.resources.catalogue import RESOURCES
from serve.resources.schemas import make_schemas
from serve.resources.transfer import TransferReport, list_reader, transfer

pytestmark = pytest.mark.usefixtures("plant")


@pytest.fixture
def manager(by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    return by_role["manager"]


async def bulk(client: httpx.AsyncClient, path: str, rows: list[dict[str, Any]], **asked: Any) -> dict[str, Any]:
    answer = await client.post(f"{API}/{path}/bulk", json={"rows": rows}, params=asked)
    assert answer.status_code == 200, answer.text
    return checked(answer.json())


async def test_rows_are_created_and_changed_by_their_key(app: Litestar, manager: httpx.AsyncClient) -> None:
    rows = [
        {"code": "N-1", "name": "New", "kind": "component", "price": 1.25, "lead_time_days": 4, "active": False},
        {"code": "A-100", "price": 120},
        {"code": "A-200"},
        {"code": "=1+1", "note": "'=kept as it is "},
    ]
    report = await bulk(manager, "items", rows)
    assert counts(report) == (1, 2, 1, 0, 0)
    assert (report["errors"], report["ignored_columns"], report["dry_run"]) == ([], [], False)
    made = (await manager.get(f"{API}/items/N-1")).json()
    assert rows[0].items() <= made.items()
    assert (made["unit"], made["lot_sizing"], made["bom_version"]) == ("pcs", "lot_for_lot", "1")
    assert (await manager.get(f"{API}/items/A-100")).json()["name"] == "Pump"
    assert (await manager.get(f"{API}/items/%3D1%2B1")).json()["note"] == "'=kept as it is "
    assert counts(await bulk(manager, "items", rows)) == (0, 0, 4, 0, 0)
    async with app.state.connections.sessions() as session:
        entries = (await session.execute(text("SELECT DISTINCT actor, action FROM audit_entry"))).all()
    assert {tuple(each) for each in entries} == {("manager@example.com", "insert"), ("manager@example.com", "update")}


async def test_wrong_rows_are_told_by_their_place(manager: httpx.AsyncClient) -> None:
    rows = [
        {"item": "A-100", "supplier": "S-1", "price": 2.5},
        {"item": "NOBODY", "supplier": "S-1", "price": 2.5},
        {"item": "A-200", "supplier": "S-1", "valid_from": "2026-12-01", "valid_to": "2026-11-01"},
        {"item": "A-100", "supplier": "S-1", "price": 3.5},
        {"item": "A-200", "supplier": "S-1", "valid_from": "0001-01-01"},
    ]
    report = await bulk(manager, "supplier-terms", rows)
    assert counts(report) == (1, 0, 0, 1, 3)
    assert [(each["line"], each["field"]) for each in report["errors"]] == [
        (2, "item"),
        (3, "valid_to"),
        (5, "valid_from"),
    ]
    assert report["errors"][0]["row"]["item"] == "NOBODY"
    terms = (await manager.get(f"{API}/supplier-terms", params={"item": "A-100"})).json()["items"]
    assert [row["price"] for row in terms] == [3.5]


async def test_a_new_row_needs_what_a_row_must_have(manager: httpx.AsyncClient) -> None:
    report = await bulk(manager, "open-orders", [{"number": "PO-1", "item": "A-100", "quantity": 5}])
    assert counts(report) == (0, 0, 0, 0, 1)
    assert "needed to create" in report["errors"][0]["message"]
    assert report["errors"][0]["field"] in ("kind", "due_date")


async def test_a_dry_run_writes_nothing(manager: httpx.AsyncClient) -> None:
    report = await bulk(manager, "items", [{"code": "N-1", "name": "New", "kind": "component"}], dry_run=True)
    assert counts(report) == (1, 0, 0, 0, 0)
    assert report["dry_run"] is True
    assert_problem(await manager.get(f"{API}/items/N-1"), 404)


async def test_only_so_many_errors_are_told(manager: httpx.AsyncClient) -> None:
    report = await bulk(manager, "items", [{"code": f"N-{number}"} for number in range(1200)])
    assert counts(report) == (0, 0, 0, 0, 1200)
    assert [each["line"] for each in report["errors"]] == list(range(1, 1001))


async def test_what_is_no_list_of_rows_is_refused(manager: httpx.AsyncClient) -> None:
    for body in (
        {"rows": []},
        {"rows": [{"code": "N"}] * 5001},
        {"rows": [{"name": "no key"}]},
        {"rows": [{"code": "N", "colour": "red"}]},
        {"rows": [{"code": "N", "price": -1}]},
        {"rows": [{"code": "N", "name": None}]},
        {},
    ):
        problem = assert_problem(await manager.post(f"{API}/items/bulk", json=body), 400)
        assert "rows" in str(problem)


async def test_more_than_other_routes_take_and_not_without_end(manager: httpx.AsyncClient) -> None:
    rows = [{"code": "A-100", "note": "n" * 500}] * 4000
    assert counts(await bulk(manager, "items", rows)) == (0, 1, 0, 3999, 0)
    assert_problem(await manager.post(f"{API}/items/bulk", content=b" " * (17 * 1024 * 1024)), 413)


async def test_rows_that_together_break_a_rule_of_the_table_are_refused_together(
    app: Litestar, manager: httpx.AsyncClient
) -> None:
    seen: list[dict[str, Any]] = []

    async def after_write(_session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> Sequence[FieldError]:
        seen.extend(dict(row) for row in rows)
        return [FieldError(f"rows[{row['line']}]", "closes a circle") for row in rows if row["component"] == "A-200"]

    guarded = replace(next(each for each in RESOURCES if each.path == "bom-lines"), after_write=after_write)
    connections = app.state.connections

    async def send(components: list[str]) -> TransferReport:
        rows = msgspec.convert(
            [{"parent": "A-100", "component": each, "version": "1", "quantity_per": 1} for each in components],
            list[make_schemas(guarded).upsert],  # type: ignore[misc]
        )
        return await transfer(connections, guarded, list_reader(guarded, rows), actor="test", dry_run=False)

    assert (await send(["C%50", "NOBODY"])).created == 1
    assert [(row["line"], row["component"]) for row in seen] == [(1, "C%50")]
    with pytest.raises(RuleBroken) as refused:
        await send(["=1+1", "A-200"])
    assert [each.field for each in refused.value.errors] == ["rows[2]"]
    assert (await manager.get(f"{API}/bom-lines?component=%3D1%2B1")).json()["total"] == 0


async def test_roles(by_role: dict[str, httpx.AsyncClient]) -> None:
    for role, status in (("viewer", 403), ("operator", 403), ("manager", 200)):
        answer = await by_role[role].post(f"{API}/items/bulk", json={"rows": [{"code": "A-100"}]})
        assert answer.status_code == status
    rows = [
        {"work_centre": "W-1", "kind": "other", "starts_on": "2026-12-01", "ends_on": "2026-12-01", "hours_per_day": 1}
    ]
    assert counts(await bulk(by_role["operator"], "capacity-events", rows)) == (1, 0, 0, 0, 0)
