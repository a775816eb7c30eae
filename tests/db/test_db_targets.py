"""Rows of every target are merged by their natural codes, and read back as the plant."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from actors.intake import store_rows
from actors.owner import Connections
from db.records import TABLES
from db.repositories import plant, targets
from ingestion.ingest import Ingested
from ingestion.targets import TARGETS

D = date
ITEM: dict[str, Any] = {"kind": "component", "unit": "pcs", "active": True}
# Target -> rows as the ingestion room hands them over. Later ones refer to earlier ones.
ROWS: dict[str, list[dict[str, Any]]] = {
    "units": [{"code": "box", "name": "Box", "dimension": "count"}, {"code": "roll", "name": "Roll"}],
    "item_categories": [{"code": "road", "name": "Road bikes", "parent": "bikes"}, {"code": "bikes", "name": "Bikes"}],
    "items": [
        {
            **{"code": "B1", "name": 'Bike, "city"', "kind": "finished", "unit": "pcs", "category": "bikes"},
            **{"cost": 210.5, "price": 399.99, "lead_time_days": 4, "min_order_qty": 5.0, "order_multiple": 2.0},
            **{"safety_stock": 3.0, "service_level": 0.95, "active": True},
        },
        {"code": "W1", "name": "Wheel", **ITEM},
        {"code": "W2", "name": "Tyre", **ITEM, "kind": "raw_material", "unit": "kg"},
    ],
    "unit_conversions": [{"item": "W1", "unit": "box", "factor": 12.0}],
    "suppliers": [
        {"code": "S1", "name": "Sparta", "email": "a@sparta.example", "lead_time_days": 12, "active": True},
        {"code": "S2", "name": "Tyros", "active": False},
    ],
    "supplier_terms": [
        {"item": "W1", "supplier": "S1", "price": 11.25, "min_order_qty": 10.0, "lead_time_days": 9, "priority": 2},
        {"item": "W1", "supplier": "S2", "order_multiple": 4.0, "priority": 1},
    ],
    "bom_lines": [
        {"parent": "B1", "component": "W1", "quantity_per": 2.0, "scrap_share": 0.05, "valid_from": D(2024, 1, 1)},
        {"parent": "W1", "component": "W2", "quantity_per": 0.75, "scrap_share": 0.0, "valid_to": D(2030, 12, 31)},
        {"parent": "W1", "component": "W2", "version": "2", "quantity_per": 0.5},
    ],
    "warehouses": [{"code": "north", "name": "North", "capacity_m3": 1200.5, "capacity_pallets": 800}],
    "stock": [
        {"item": "B1", "warehouse": "main", "on_hand": 7.0, "reserved": 2.0, "quarantined": 1.0},
        {"item": "W1", "warehouse": "shed", "on_hand": -3.5, "reserved": 0.0, "quarantined": 0.0},
        {"item": "W1", "warehouse": "shed", "lot": "L7", "on_hand": 2.0, "expires_on": D(2027, 6, 30)},
    ],
    "open_orders": [
        {
            "number": "P1",
            "kind": "purchase",
            "item": "W1",
            "supplier": "S1",
            "quantity": 40.0,
            "due_date": D(2026, 12, 1),
        },
        {"number": "F1", "kind": "production", "item": "B1", "quantity": 6.0, "due_date": D(2026, 12, 2)},
    ],
    "firm_orders": [
        {"number": "C1", "line": 1, "item": "B1", "customer": "Ådahl", "quantity": 3.0, "due_date": D(2026, 12, 3)},
        {"number": "C1", "line": 2, "item": "W1", "quantity": 1.0, "due_date": D(2026, 12, 3)},
    ],
    "work_centres": [{"code": "M1", "name": "Mill", "hours_per_day": 7.5, "efficiency": 0.9}],
    "routings": [{"item": "B1", "sequence": 10, "work_centre": "M1", "setup_hours": 0.5, "unit_hours": 0.25}],
    "shifts": [
        {"work_centre": "M1", "weekday": 1, "starts_at": "06:00", "ends_at": "14:00", "break_minutes": 30},
        {"work_centre": "M1", "weekday": 1, "starts_at": "22:00", "ends_at": "06:00", "valid_from": D(2026, 1, 1)},
    ],
    "planned_stops": [
        {
            **{"work_centre": "M1", "name": "Cleaning", "starts_on": D(2026, 1, 5), "recurrence": "weekly"},
            **{"until": D(2026, 12, 31), "hours": 2.0},
        },
        {"work_centre": "M1", "name": "Overhaul", "starts_on": D(2026, 8, 3), "hours": 40.0},
    ],
    "capacity_events": [
        {
            **{"work_centre": "M1", "kind": "breakdown", "starts_on": D(2026, 3, 2), "ends_on": D(2026, 3, 4)},
            **{"hours_per_day": -7.5, "note": "Spindle"},
        },
    ],
    "calendar_days": [
        {"day": D(2026, 12, 25), "name": "Christmas Day"},
        {"day": D(2026, 12, 12), "working": True},
    ],
}
SNAPSHOTS = {
    "stock": ["item", "warehouse", "on_hand"],
    "open_orders": ["number", "item", "kind", "quantity", "due_date"],
    "firm_orders": ["number", "line", "item", "quantity", "due_date"],
}


def frame_of(target: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows in the columns and types of their target; what is not named is empty."""
    return pl.DataFrame(rows, schema=TARGETS[target].schema())


async def store(connections: Connections, target: str, rows: list[dict[str, Any]], feed: str = "erp") -> None:
    """Store in a transaction of its own."""
    async with connections.sessions.begin() as session:
        await targets.store(session, target, frame_of(target, rows), feed=feed)


async def store_plant(connections: Connections) -> None:
    """Everything in ROWS."""
    for target, rows in ROWS.items():
        await store(connections, target, rows)


async def read(connections: Connections) -> dict[str, list[dict[str, Any]]]:
    """The plant as rows of dictionaries."""
    async with connections.sessions() as session:
        return {name: frame.to_dicts() for name, frame in (await plant.read_plant(session)).items()}


async def records(connections: Connections, target: str) -> list[dict[str, Any]]:
    """The rows of a table in the fields of its target, in the order of their keys."""
    names = list(TARGETS[target].schema())
    async with connections.sessions() as session:
        rows = (await session.execute(TABLES[target].rows(names))).mappings().all()
    return sorted(map(dict, rows), key=lambda row: tuple(row[name] for name in TARGETS[target].key))


async def versions(connections: Connections, target: str) -> list[dict[str, Any]]:
    """All that is kept of a table's rows: surrogate keys, revisions and times too."""
    async with connections.sessions() as session:
        rows = await session.execute(text(f"SELECT * FROM {TABLES[target].table.name} ORDER BY id"))
        return list(map(dict, rows.mappings()))


async def demand(connections: Connections, item: str | None = None) -> dict[date, float]:
    """Daily quantities, of one item or of all."""
    async with connections.sessions() as session:
        frame = await plant.read_demand(session)
    chosen = frame if item is None else frame.filter(pl.col("item") == item)
    return dict(chosen.select("day", "quantity").iter_rows())


def test_every_table_has_rows_here() -> None:
    assert set(ROWS) == set(TABLES)


@pytest.mark.parametrize("target", ROWS)
async def test_what_is_stored_is_read_back_value_by_value(connections: Connections, target: str) -> None:
    """What a row does not name is the field's default, as files and the API have it."""
    await store_plant(connections)
    fields = TARGETS[target].fields
    expected = [{name: row.get(name, field.default) for name, field in fields.items()} for row in ROWS[target]]
    keys = [tuple(row[name] for name in TARGETS[target].key) for row in expected]
    found = await records(connections, target)
    stored = [row for row in found if tuple(row[name] for name in TARGETS[target].key) in keys]
    assert stored == [row for _, row in sorted(zip(keys, expected, strict=True), key=lambda pair: pair[0])]


async def test_units_categories_and_warehouses_are_made_as_rows_name_them(connections: Connections) -> None:
    item = {"code": "B1", "name": "Bike", "kind": "finished"}
    await store(connections, "items", [{**item, "unit": "pair", "category": "bikes"}])
    await store(connections, "items", [{**item, "unit": "pair", "category": "bikes"}, {**item, "code": "B2"}])
    await store(connections, "stock", [{"item": "B1", "warehouse": "shed", "on_hand": 1.0}])
    await store(connections, "item_categories", [{"code": "road", "name": "Road", "parent": "two wheels"}])
    found = {name: await records(connections, name) for name in ("units", "item_categories", "warehouses")}
    assert {"code": "pair", "name": "pair", "dimension": "other"} in found["units"]
    assert [(row["code"], row["name"], row["parent"]) for row in found["item_categories"]] == [
        ("bikes", "bikes", None),
        ("road", "Road", "two wheels"),
        ("two wheels", "two wheels", None),
    ]
    assert [(row["code"], row["name"]) for row in found["warehouses"]] == [("main", "Main store"), ("shed", "shed")]
    # What people or another feed then say of them stays when rows name them again.
    await store(connections, "item_categories", [{"code": "bikes", "name": "Bicycles", "parent": "two wheels"}])
    await store(connections, "items", [{**item, "unit": "pair", "category": "bikes"}])
    assert (await records(connections, "item_categories"))[0]["name"] == "Bicycles"


async def test_a_category_may_move_below_one_of_the_same_file(connections: Connections) -> None:
    await store(connections, "item_categories", [{"code": "road", "name": "Road"}])
    rows = [{"code": "road", "name": "Road", "parent": "bikes"}, {"code": "bikes", "name": "Bikes", "parent": "all"}]
    await store(connections, "item_categories", [*rows, {"code": "all", "name": "All"}])
    found = await records(connections, "item_categories")
    assert [(row["code"], row["name"], row["parent"]) for row in found] == [
        ("all", "All", None),
        ("bikes", "Bikes", "all"),
        ("road", "Road", "bikes"),
    ]


async def test_storing_the_same_rows_twice_changes_nothing(connections: Connections) -> None:
    await store_plant(connections)
    before = {target: await versions(connections, target) for target in ROWS}
    await store_plant(connections)
    assert {target: await versions(connections, target) for target in ROWS} == before


async def test_an_empty_value_keeps_what_is_stored_and_a_value_replaces_it(connections: Connections) -> None:
    await store_plant(connections)
    await store(
        connections, "items", [{"code": "B1", "name": "Bike", "kind": "finished", "unit": "pcs", "active": True}]
    )
    await store(connections, "suppliers", [{"code": "S1", "name": "Sparta", "lead_time_days": 20, "active": True}])
    await store(connections, "supplier_terms", [{"item": "W1", "supplier": "S1", "price": 12.0, "priority": 2}])
    found = await read(connections)
    bike = next(row for row in found["items"] if row["code"] == "B1")
    assert bike == {**ROWS["items"][0], "name": "Bike"}
    assert found["suppliers"][0]["email"] == "a@sparta.example"
    assert found["suppliers"][0]["lead_time_days"] == 20
    term = next(row for row in found["supplier_terms"] if row["supplier"] == "S1")
    assert (term["price"], term["min_order_qty"], term["lead_time_days"]) == (12.0, 10.0, 9)


@pytest.mark.parametrize("target", SNAPSHOTS)
async def test_a_snapshot_forgets_what_its_newest_file_no_longer_holds(connections: Connections, target: str) -> None:
    for before in ("items", "suppliers"):
        await store(connections, before, ROWS[before])
    first, second = ROWS[target][:2]
    await store(connections, target, [first, second], feed="one")
    other = {**second, **({"number": "X9"} if "number" in second else {"warehouse": "elsewhere"})}
    await store(connections, target, [other], feed="two")
    await store(connections, target, [first], feed="one")
    found = [{name: row[name] for name in SNAPSHOTS[target]} for row in (await read(connections))[target]]
    expected = [{name: row[name] for name in SNAPSHOTS[target]} for row in (first, other)]
    assert sorted(found, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("target", SNAPSHOTS)
async def test_an_empty_snapshot_empties_its_feed_only(connections: Connections, target: str) -> None:
    for before in ("items", "suppliers"):
        await store(connections, before, ROWS[before])
    await store(connections, target, ROWS[target][:1], feed="one")
    await store(connections, target, ROWS[target][1:2], feed="two")
    await store(connections, target, [], feed="one")
    assert len((await read(connections))[target]) == 1


async def test_master_data_is_no_snapshot(connections: Connections) -> None:
    await store_plant(connections)
    await store(connections, "items", [ROWS["items"][1]])
    assert len((await read(connections))["items"]) == 3


async def test_demand_of_a_day_is_replaced_and_other_feeds_stand_beside_it(connections: Connections) -> None:
    await store(connections, "items", ROWS["items"])
    day = D(2026, 11, 2)
    await store(connections, "demand", [{"item": "B1", "day": day, "quantity": 5.0, "revenue": 50.0}])
    await store(connections, "demand", [{"item": "B1", "day": day, "quantity": 4.0, "revenue": None}])
    await store(connections, "demand", [{"item": "B1", "day": day, "quantity": 1.0, "revenue": 9.0}], feed="shop")
    async with connections.sessions() as session:
        rows = (await plant.read_demand(session)).sort("feed").rows()
    assert rows == [("B1", day, "erp", 4.0, None), ("B1", day, "shop", 1.0, 9.0)]


async def test_inactive_items_take_no_part(connections: Connections) -> None:
    await store(connections, "items", [{**ROWS["items"][0], "active": False}])
    await store(connections, "demand", [{"item": "B1", "day": D(2026, 11, 2), "quantity": 5.0}])
    assert (await read(connections))["items"] == []
    assert await demand(connections) == {}


async def test_the_lead_time_is_the_items_own_else_its_suppliers(connections: Connections) -> None:
    await store_plant(connections)
    async with connections.sessions() as session:
        found = dict((await plant.read_lead_times(session)).iter_rows())
    assert found == {"B1": 4, "W1": 9, "W2": None}


async def test_an_unknown_target_is_an_error(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        with pytest.raises(KeyError):
            await targets.store(session, "nonsense", pl.DataFrame({"code": ["x"]}), feed="erp")


def sales(rows: list[tuple[str, date, str | None, float]]) -> Ingested:
    """Lines of one file: document, day, customer, quantity; all of B1 at 2.5 each."""
    made = [
        {"document": d, "item": "B1", "line": 1, "day": day, "customer": c, "quantity": q, "price": 2.5}
        for d, day, c, q in rows
    ]
    frame = frame_of("sales_lines", made)
    empty = pl.DataFrame(schema=TARGETS["items"].schema())
    lines = pl.Series("line", range(2, 2 + len(made)), dtype=pl.Int64)
    return Ingested("sales_lines", "line", frame, empty, pl.DataFrame(), len(made), len(made), 0, 0, lines)


async def test_sales_lines_become_daily_demand(connections: Connections) -> None:
    await store(connections, "items", ROWS["items"])
    day = D(2010, 12, 1)
    for _ in range(2):  # reading the file again changes nothing
        async with connections.sessions.begin() as session:
            await store_rows(
                session, sales([("1", day, "A", 6.0), ("2", day, "B", 4.0), ("C3", day, "B", -4.0)]), "shop"
            )
        assert await demand(connections) == {day: 6.0}


async def test_a_cancellation_in_a_later_file_comes_off_the_day_of_the_order(connections: Connections) -> None:
    await store(connections, "items", ROWS["items"])
    ordered, cancelled = D(2010, 11, 29), D(2010, 12, 6)
    async with connections.sessions.begin() as session:
        await store_rows(session, sales([("1", ordered, "A", 10.0), ("2", ordered, "B", 3.0)]), "shop")
    assert await demand(connections) == {ordered: 13.0}
    async with connections.sessions.begin() as session:
        await store_rows(session, sales([("C3", cancelled, "A", -10.0)]), "shop")
    assert await demand(connections) == {ordered: 3.0}


async def test_replacing_demand_leaves_other_items_and_feeds_alone(connections: Connections) -> None:
    await store(connections, "items", ROWS["items"])
    day = D(2026, 11, 2)
    for item, feed in (("B1", "shop"), ("W1", "shop"), ("B1", "erp")):
        await store(connections, "demand", [{"item": item, "day": day, "quantity": 5.0}], feed=feed)
    async with connections.sessions.begin() as session:
        empty = frame_of("demand", [])
        await targets.replace_demand(session, pl.Series(["B1", "B1"]), empty, feed="shop")
    async with connections.sessions() as session:
        left = await plant.read_demand(session)
    assert sorted(left.select("item", "feed").iter_rows()) == [("B1", "erp"), ("W1", "shop")]


async def test_only_months_that_hold_rows_get_a_partition(connections: Connections) -> None:
    await store(connections, "items", ROWS["items"])
    days = [D(1990, 1, 1), D(2010, 2, 28), D(2024, 12, 31), D(2100, 12, 31)]
    await store(connections, "demand", [{"item": "B1", "day": day, "quantity": 1.0} for day in days])
    assert list(await demand(connections)) == days
    async with connections.sessions() as session:
        if (await session.execute(text("SELECT count(*) FROM capability WHERE name = 'hypertables'"))).scalar():
            return
        tables = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'demand'::regclass ORDER BY 1"
        partitions = (await session.execute(text(tables))).scalars().all()
    assert partitions == ["demand_1990_01", "demand_2010_02", "demand_2024_12", "demand_2100_12"]


async def test_two_writers_of_the_same_new_month_both_succeed(connections: Connections) -> None:
    await store(connections, "items", ROWS["items"])
    day = D(2031, 5, 5)
    holds, may_commit = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with connections.sessions.begin() as session:
            await targets.store(
                session, "demand", frame_of("demand", [{"item": "B1", "day": day, "quantity": 1.0}]), feed="a"
            )
            holds.set()
            await may_commit.wait()

    async def second() -> None:
        await holds.wait()
        await store(connections, "demand", [{"item": "B1", "day": day, "quantity": 2.0}], feed="b")

    writers = [asyncio.create_task(first()), asyncio.create_task(second())]
    await holds.wait()
    async with connections.sessions() as session:
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        deadline = asyncio.get_running_loop().time() + 10
        # The second writer really waits for the first one, inside the making of the partition.
        while not (await session.execute(text(blocked))).scalar_one():
            assert asyncio.get_running_loop().time() < deadline, "the second writer never met the first"
            await session.rollback()
    may_commit.set()
    await asyncio.gather(*writers)
    async with connections.sessions() as session:
        rows = (await plant.read_demand(session)).sort("feed")
    assert rows["quantity"].to_list() == [1.0, 2.0]
