"""Tables as the outside sees them: their fields are the targets' fields, and rows are found by what people ask for."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Boolean, Date, Integer, Numeric, Text, text
from test_db_targets import ROWS, store_plant

from actors.owner import Connections
from db.paging import fetch_page
from db.record_writes import UnknownReference, add, change, remove, resolve, restore
from db.records import TABLES, Condition, codes, find
from db.repositories.targets import SERIES_TARGETS
from ingestion.targets import TARGETS, Kind

D = date
KINDS: dict[type[Any], set[Kind]] = {
    Text: {Kind.CODE, Kind.TEXT, Kind.CHOICE},
    Numeric: {Kind.NUMBER},
    Integer: {Kind.WHOLE},
    Date: {Kind.DATE},
    Boolean: {Kind.BOOLEAN},
}
CODED = [name for name, table in TABLES.items() if table.has_code]


def test_every_target_but_the_series_is_a_table() -> None:
    assert set(TABLES) == set(TARGETS) - set(SERIES_TARGETS)


@pytest.mark.parametrize("name", TABLES)
def test_a_tables_fields_key_and_references_are_its_targets(name: str) -> None:
    table, target = TABLES[name], TARGETS[name]
    assert sorted(table.fields) == sorted(target.fields)
    assert set(table.key) == set(target.key)
    refers = {field: TABLES[spec.refers_to].table.name for field, spec in target.fields.items() if spec.refers_to}
    held = {field: str(next(iter(table.column_of(field).foreign_keys)).column.table.name) for field in table.references}
    assert held == refers


@pytest.mark.parametrize("name", TABLES)
def test_a_fields_type_and_emptiness_are_its_columns(name: str) -> None:
    for field, spec in TARGETS[name].fields.items():
        column = TABLES[name].column_of(field)
        if field in TABLES[name].references:
            assert spec.kind is Kind.CODE, field
        else:
            kinds = next(kinds for type_, kinds in KINDS.items() if isinstance(column.type, type_))
            assert spec.kind in kinds, field
        # A row of a file may leave open exactly what the table may leave open, or fills by itself.
        assert bool(column.nullable) == (not spec.required), field
        assert (column.server_default is not None) == (spec.default is not None), field


async def test_choices_are_checked_by_the_database_too(connections: Connections) -> None:
    query = "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'"
    async with connections.sessions() as session:
        checks = (await session.execute(text(query))).all()
    for name, target in TARGETS.items():
        for field, spec in target.fields.items():
            if spec.kind is not Kind.CHOICE or name == "units":  # a unit of a dimension unknown to us harms nobody
                continue
            table = TABLES[name].table.name
            listed = next(check for of, check in checks if of == table and f"({field} = ANY" in check)
            assert sorted(re.findall(r"'(\w+)'::text", listed)) == sorted(spec.choices), (name, field)


async def test_the_natural_key_is_unique_in_the_database(connections: Connections) -> None:
    query = (
        "SELECT x.indrelid::regclass::text, array_agg(a.attname::text ORDER BY a.attname) FROM pg_index x"
        " JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)"
        " WHERE x.indisunique GROUP BY x.indrelid, x.indexrelid"
    )
    async with connections.sessions() as session:
        found = [tuple(row) for row in (await session.execute(text(query))).all()]
    for name, table in TABLES.items():
        columns = sorted(table.column_of(field).name for field in table.key)
        assert (table.table.name, columns) in found, name


async def test_rows_show_all_names_and_only_those_asked_for(connections: Connections) -> None:
    await store_plant(connections)
    for name, table in TABLES.items():
        async with connections.sessions() as session:
            whole = (await session.execute(table.rows())).mappings().all()
            some = (await session.execute(table.rows(table.key))).mappings().all()
        assert len(whole) == len(some) >= len(ROWS[name])
        assert all(tuple(row) == table.shown for row in whole)
        assert all(tuple(row) == table.key for row in some)
        assert not any(isinstance(value, Decimal) for row in whole for value in row.values())


async def matching(
    connections: Connections, name: str, *conditions: Condition, search: str | None = None, deleted: bool = False
) -> list[Any]:
    """First parts of the keys of the rows that match, in order."""
    table = TABLES[name]
    async with connections.sessions() as session:
        query = table.matching(table.rows((table.key[0],)), conditions, search, deleted=deleted)
        return sorted((await session.execute(query)).scalars())


async def test_filters_name_values_and_ranges(connections: Connections) -> None:
    await store_plant(connections)
    assert await matching(connections, "items", Condition("kind", "is", ("component",))) == ["W1"]
    assert await matching(connections, "items", Condition("kind", "is", ("component", "finished"))) == ["B1", "W1"]
    assert await matching(connections, "items", Condition("cost", "from", (210.5,))) == ["B1"]
    assert await matching(connections, "items", Condition("cost", "to", (210.4,))) == []
    both = (Condition("due_date", "from", (D(2026, 12, 1),)), Condition("due_date", "to", (D(2026, 12, 1),)))
    assert await matching(connections, "open_orders", *both) == ["P1"]
    assert await matching(connections, "bom_lines", Condition("component", "is", ("W2",))) == ["W1", "W1"]
    assert await matching(connections, "open_orders", Condition("supplier", "is", ("S1",))) == ["P1"]
    assert await matching(connections, "items", Condition("on_hand", "from", (7,))) == ["B1"]


async def test_search_takes_every_character_as_itself(connections: Connections) -> None:
    await store_plant(connections)
    assert await matching(connections, "items", search='"CITY"') == ["B1"]
    assert await matching(connections, "items", search="w") == ["W1", "W2"]
    for pattern in ("%", "_", "/", "\\", "W_", "%W", "'"):
        assert await matching(connections, "items", search=pattern) == [], pattern
    # Of text that is not ASCII at least what was written is found, whatever the database's locale.
    assert await matching(connections, "firm_orders", search="Ådahl") == ["C1"]
    # Rows without text of their own are found by the names of what they refer to.
    assert await matching(connections, "stock", search="wheel") == ["W1", "W1"]
    assert await matching(connections, "bom_lines", search="tyre") == ["W1", "W1"]
    assert await matching(connections, "open_orders", search="p1") == ["P1"]


def test_what_can_be_searched_says_so() -> None:
    assert [name for name, table in TABLES.items() if not table.is_searchable] == ["calendar_days"]


async def test_deleted_rows_are_out_of_sight_and_come_back(connections: Connections) -> None:
    await store_plant(connections)
    table = TABLES["items"]
    async with connections.sessions.begin() as session:
        found = await find(session, table, "W2")
        assert found is not None
        await remove(session, table, found.id)
    async with connections.sessions.begin() as session:
        assert await find(session, table, "W2") is None
        assert (await find(session, table, "W2", deleted=True)).code == "W2"
        assert await find(session, table, str(found.id)) is None
        assert sorted((await codes(session, ["items"]))["items"]) == ["B1", "W1"]
    assert await matching(connections, "items") == ["B1", "W1"]
    assert await matching(connections, "items", deleted=True) == ["W2"]
    async with connections.sessions.begin() as session:
        await restore(session, table, found.id)
    assert await matching(connections, "items") == ["B1", "W1", "W2"]


async def test_rows_nothing_hangs_on_are_deleted_for_good(connections: Connections) -> None:
    await store_plant(connections)
    table = TABLES["calendar_days"]
    async with connections.sessions.begin() as session:
        row_id = (await session.execute(text("SELECT id FROM calendar_day WHERE name IS NOT NULL"))).scalar_one()
        await remove(session, table, row_id)
    async with connections.sessions() as session:
        assert await find(session, table, str(row_id), deleted=True) is None
    assert await matching(connections, "calendar_days") == [D(2026, 12, 12)]


async def test_a_row_is_found_by_its_code_and_by_its_id(connections: Connections) -> None:
    await store_plant(connections)
    async with connections.sessions() as session:
        for name in CODED:
            by_code = await find(session, TABLES[name], ROWS[name][0]["code"])
            assert by_code is not None
            assert await find(session, TABLES[name], str(by_code.id)) == by_code
            assert await find(session, TABLES[name], "nothing") is None


async def test_each_name_can_be_ordered_by_and_pages_cover_all_rows(connections: Connections) -> None:
    await store_plant(connections)
    for name, table in TABLES.items():
        for field in (*table.order.columns, *(f"-{field}" for field in table.order.columns)):
            seen: list[Any] = []
            cursor: str | None = None
            async with connections.sessions() as session:
                query = table.matching(table.rows(), ())
                while True:
                    page = await fetch_page(session, query, table.order, sort=field, limit=2, cursor=cursor)
                    seen += [row.id for row in page.rows]
                    cursor = page.next_cursor
                    if cursor is None:
                        break
            assert len(seen) == len(set(seen)) == page.total, (name, field)


async def test_codes_are_resolved_and_unknown_or_deleted_ones_named(connections: Connections) -> None:
    await store_plant(connections)
    terms, items = TABLES["supplier_terms"], TABLES["items"]
    async with connections.sessions.begin() as session:
        stored = await resolve(session, terms, {"item": "B1", "supplier": "S1", "price": 3.0})
        assert set(stored) == {"item_id", "supplier_id", "price"}
        row_id = await add(session, terms, stored)
        row = await find(session, terms, str(row_id))
        assert row is not None
        assert (row.item, row.supplier, row.price, row.priority, row.revision) == ("B1", "S1", 3.0, 1, 1)
        await change(session, terms, row_id, await resolve(session, terms, {"supplier": "S2"}))
        row = await find(session, terms, str(row_id))
        assert row is not None
        assert (row.supplier, row.revision) == ("S2", 2)
        with pytest.raises(UnknownReference, match="item: there is no item 'NOPE'") as caught:
            await resolve(session, terms, {"item": "NOPE", "supplier": "S1"})
        assert caught.value.field == "item"
        bike = await find(session, items, "B1")
        assert bike is not None
        await remove(session, items, bike.id)
        with pytest.raises(UnknownReference, match="parent: there is no parent item 'B1'"):
            await resolve(session, TABLES["bom_lines"], {"parent": "B1"})
        with pytest.raises(UnknownReference, match="unit: there is no unit 'bale'"):
            await resolve(session, items, {"unit": "bale"})
        empty = await resolve(session, TABLES["open_orders"], {"supplier": None, "number": "P9"})
        assert empty == {"supplier_id": None, "number": "P9"}
