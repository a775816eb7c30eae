"""Frames merged into tables: twice is once, what is empty keeps, a snapshot is its feed's truth, writers take turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from db.record_writes import LINE, Merge, Merged, UnknownReference
from db.records import TABLES
from ingestion.targets import TARGETS

Rows = list[dict[str, Any]]
Run = Callable[[Coroutine[Any, Any, Any]], Any]
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DAY = date(2026, 12, 1)
ITEMS = [f"I{number}" for number in range(6)]
FEEDS = ("one", "two")

number = st.one_of(st.none(), st.integers(0, 10**9).map(lambda micros: micros / 10**6))
item_rows = st.lists(
    st.fixed_dictionaries(
        {"code": st.sampled_from(ITEMS), "kind": st.sampled_from(["component", "finished"])},
        optional={
            "name": st.one_of(st.none(), st.sampled_from(["Axle", 'a "b", c', "Ä\nö", "%"])),
            "unit": st.one_of(st.none(), st.sampled_from(["pcs", "box"])),
            "category": st.one_of(st.none(), st.sampled_from(["x", "y"])),
            "cost": number,
            "lead_time_days": st.one_of(st.none(), st.integers(0, 400)),
            "active": st.one_of(st.none(), st.booleans()),
        },
    ),
    unique_by=lambda row: row["code"],
    max_size=6,
)
stock_rows = st.lists(
    st.fixed_dictionaries(
        {
            "item": st.sampled_from(ITEMS[:3]),
            "warehouse": st.sampled_from([None, "main", "shed"]),
            "lot": st.sampled_from([None, "L1"]),
            "on_hand": st.integers(-5, 5).map(float),
        }
    ),
    unique_by=lambda row: (row["item"], row["warehouse"] or "main", row["lot"]),
    max_size=6,
)


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Run:
    return loop.run_until_complete


@pytest.fixture
def plant(engine: AsyncEngine, run: Run) -> AsyncEngine:
    """An engine on a database with the items."""
    run(merge(engine, "items", [{"code": code, "kind": "component"} for code in ITEMS]))
    return engine


async def merge(engine: AsyncEngine, name: str, rows: Rows, feed: str | None = None, **how: bool) -> Merged:
    """Merge rows, in the types of their target, in a transaction of its own."""
    schema = TARGETS[name].schema()
    named = dict.fromkeys(field for row in rows for field in row) or TARGETS[name].key
    frame = pl.DataFrame(rows, schema={field: schema[field] for field in named})
    async with AsyncSession(engine) as session, session.begin():
        merging = Merge(session, TABLES[name], frame, feed)
        await merging.stage()
        return await merging.store(**how)


async def read(engine: AsyncEngine, name: str) -> dict[Any, dict[str, Any]]:
    """All rows by their key."""
    table = TABLES[name]
    async with AsyncSession(engine) as session:
        rows = (await session.execute(table.rows())).mappings().all()
    return {tuple(row[part] for part in table.key): dict(row) for row in rows}


async def clear(engine: AsyncEngine, *tables: str) -> None:
    async with engine.begin() as connection:
        for table in tables:
            await connection.execute(text(f"DELETE FROM {table}"))


def told(rows: Rows) -> dict[Any, dict[str, Any]]:
    """What rows of items say, by key; what they leave empty they do not say."""
    return {(row["code"],): {field: value for field, value in row.items() if value is not None} for row in rows}


@EXAMPLES
@given(frames=st.lists(item_rows, min_size=1, max_size=4))
def test_merged_rows_are_the_last_that_was_said_and_twice_is_once(
    engine: AsyncEngine, run: Run, frames: list[Rows]
) -> None:
    run(clear(engine, "item"))
    said: dict[Any, dict[str, Any]] = {}
    revisions: dict[Any, int] = {}
    for rows in frames:
        before = run(read(engine, "items"))
        merged = run(merge(engine, "items", rows))
        after = run(read(engine, "items"))
        new = set(after) - set(before)
        changed = {
            key for key in before if any(before[key][field] != after[key][field] for field in TARGETS["items"].fields)
        }
        assert merged == Merged(len(new), len(changed), len(rows) - len(new) - len(changed))
        for key, row in told(rows).items():
            said[key] = {**said.get(key, {}), **row}
        # One revision more for each real change, and for nothing else.
        revisions = {key: 1 if key in new else revisions[key] + (key in changed) for key in after}
        assert {key: row["revision"] for key, row in after.items()} == revisions
        assert all(after[key]["id"] == before[key]["id"] for key in before)
        assert run(merge(engine, "items", rows)) == Merged(0, 0, len(rows))
        assert run(read(engine, "items")) == after
    defaults = {"unit": "pcs", "active": True, "lot_sizing": "lot_for_lot"}
    found = run(read(engine, "items"))
    assert set(found) == set(said)
    for key, row in said.items():
        expected = {**defaults, "name": row["code"], **row}
        assert {field: found[key][field] for field in expected} == expected


@EXAMPLES
@given(files=st.lists(st.tuples(st.sampled_from(FEEDS), stock_rows), min_size=1, max_size=5))
def test_a_snapshot_leaves_its_feeds_rows_and_all_other_feeds_alone(
    plant: AsyncEngine, run: Run, files: list[tuple[str, Rows]]
) -> None:
    run(clear(plant, "stock"))
    held: dict[Any, tuple[str, float]] = {}
    for feed, rows in files:
        before = run(read(plant, "stock"))
        merged = run(merge(plant, "stock", rows, feed, snapshot=True))
        new = {(row["item"], row["warehouse"] or "main", row["lot"] or "-"): (feed, row["on_hand"]) for row in rows}
        gone = [key for key, (owner, _) in held.items() if owner == feed and key not in new]
        changed = [key for key in new if key in held and held[key] != new[key]]
        created = [key for key in new if key not in held]
        unchanged = len(rows) - len(created) - len(changed)
        assert merged == Merged(len(created), len(changed), unchanged, len(gone))
        held = {key: value for key, value in held.items() if key not in gone} | new
        after = run(read(plant, "stock"))
        assert {key: (row["feed"], row["on_hand"]) for key, row in after.items()} == held
        for key in set(before) & set(after) - set(changed):
            assert after[key] == before[key]


@pytest.mark.parametrize("places", [1 / 3, 0.1234567, 1234567.12345678])
def test_rounding_to_six_places_is_no_change(engine: AsyncEngine, run: Run, places: float) -> None:
    rows = [{"code": "A", "kind": "component", "cost": places}]
    assert run(merge(engine, "items", rows)) == Merged(1, 0, 0)
    assert run(merge(engine, "items", rows)) == Merged(0, 0, 1)
    assert run(read(engine, "items"))["A",]["cost"] == pytest.approx(places, abs=1e-6)


def test_merges_of_overlapping_rows_take_turns(plant: AsyncEngine, run: Run) -> None:
    """Rows in opposite orders, and codes both make: neither waits for the other for ever, and nothing is lost."""

    async def together() -> None:
        codes = [f"X{number}" for number in range(200)]

        def items(cost: float, order: int) -> Rows:
            rows = [{"code": code, "kind": "component", "unit": f"u{code}", "category": f"c{code}"} for code in codes]
            return [{**row, "cost": cost} for row in rows][::order]

        categories: Rows = [{"code": f"c{code}", "name": code, "parent": f"p{code}"} for code in reversed(codes)]
        conversions: Rows = [{"item": "I0", "unit": f"u{code}", "factor": 2.0} for code in codes]
        for turn in range(3):
            await asyncio.gather(
                merge(plant, "items", items(turn + 1.0, 1)),
                merge(plant, "items", items(turn + 1.5, -1)),
                merge(plant, "item_categories", categories),
                merge(plant, "unit_conversions", conversions),
            )
            found = await read(plant, "items")
            assert {found[code,]["cost"] for code in codes} in ({turn + 1.0}, {turn + 1.5})
        assert {found[code,]["revision"] for code in codes} == {6}
        assert len(await read(plant, "item_categories")) == 400
        assert all(
            row["name"] == key[0][1:] for key, row in (await read(plant, "item_categories")).items() if row["parent"]
        )
        assert len(await read(plant, "unit_conversions")) == 200

    run(asyncio.wait_for(together(), 60))


def test_a_row_that_names_what_is_not_there_is_an_error_and_stores_nothing(plant: AsyncEngine, run: Run) -> None:
    good = {"number": "P1", "kind": "purchase", "item": "I0", "quantity": 1.0, "due_date": DAY}
    with pytest.raises(UnknownReference, match="item: there is no item 'NOPE'"):
        run(merge(plant, "open_orders", [good, {**good, "item": "NOPE"}], "one", snapshot=True))
    with pytest.raises(UnknownReference, match="supplier: there is no supplier 'S9'"):
        run(merge(plant, "open_orders", [good, {**good, "number": "P2", "supplier": "S9"}], "one", snapshot=True))
    assert run(read(plant, "open_orders")) == {}
    assert run(merge(plant, "open_orders", [good], "one", snapshot=True)) == Merged(1, 0, 0)


def test_a_key_is_whole_or_its_defaults_complete_it(plant: AsyncEngine, run: Run) -> None:
    line = {"parent": "I0", "component": "I1", "quantity_per": 2.0}
    assert run(merge(plant, "bom_lines", [line])) == Merged(1, 0, 0)
    assert run(merge(plant, "bom_lines", [{**line, "version": None}])) == Merged(0, 0, 1)
    assert run(merge(plant, "bom_lines", [{**line, "version": "1"}])) == Merged(0, 0, 1)
    with pytest.raises(ValueError, match="bom_lines: expected the key's column component"):
        run(merge(plant, "bom_lines", [{"parent": "I0", "quantity_per": 2.0}]))


def test_callers_may_ask_what_is_new_and_leave_rows_out(plant: AsyncEngine, run: Run) -> None:
    async def look() -> tuple[list[int], list[int], Merged]:
        async with AsyncSession(plant) as session, session.begin():
            await session.execute(text("UPDATE item SET deleted_at = now() WHERE code = 'I1'"))
            frame = pl.DataFrame({LINE: [2, 3, 4], "code": ["I0", "I1", "NEW"], "kind": ["finished"] * 3})
            merging = Merge(session, TABLES["items"], frame)
            await merging.stage()
            new, retired = await merging.new_lines(), await merging.retired_lines()
            await merging.drop(retired)
            return new, retired, await merging.store()

    assert run(look()) == ([4], [3], Merged(1, 1, 0))


def test_many_rows_merge_in_seconds(engine: AsyncEngine, run: Run) -> None:
    rows: Rows = [
        {"code": f"I{n:05}", "name": f"Item {n}", "kind": "component", "category": f"c{n % 50}", "cost": n / 7}
        for n in range(20_000)
    ]
    for words in ("into an empty table", "the same again", "every row changed"):
        began = time.perf_counter()
        merged = run(merge(engine, "items", rows))
        print(f"20,000 items {words}: {time.perf_counter() - began:.2f} s, {merged}")
        if words == "the same again":
            assert merged == Merged(0, 0, 20_000)
            rows = [{**row, "cost": row["cost"] + 1} for row in rows]
    assert merged == Merged(0, 20_000, 0)
