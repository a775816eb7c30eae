"""Demand is compared with what is stored before it is written: what is read, what differs, by how much sums move."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from series_world import assert_exact, demand_frame, store_items
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from actors.owner import Connections
from db import rollups
from db.demand_writes import STORED, differences, exact, spans
from db.repositories import targets

pure = hypothesis_settings(deadline=None, max_examples=60)
FIRST = date(2025, 1, 27)
PLACES = Decimal("0.000001")
ITEMS = pl.DataFrame({"item": ["A", "B", "C"], "n": pl.Series([0, 1, 2], dtype=pl.Int32)})
CENTS = st.integers(-300, 300).map(lambda cents: Decimal(cents) / 100)
DEMAND = st.dictionaries(
    st.tuples(st.integers(0, 2), st.integers(0, 20).map(lambda days: FIRST + timedelta(days=days))),
    st.tuples(CENTS, st.none() | CENTS),
    max_size=30,
)


def frame_of(demand: dict[tuple[int, date], tuple[Decimal, Decimal | None]]) -> pl.DataFrame:
    """In STORED, in the order of the key."""
    return pl.DataFrame([(*key, *amounts) for key, amounts in sorted(demand.items())], schema=STORED, orient="row")


@pure
@given(DEMAND, DEMAND, st.booleans(), st.integers(1, 40))
def test_what_differs_is_what_has_to_be_written(given_demand: Any, stored: Any, whole: bool, block_rows: int) -> None:
    found = differences(frame_of(given_demand), frame_of(stored), whole=whole, block_rows=block_rows)
    expected = {
        key: (*(given_demand.get(key) or (None, None)), *(stored.get(key) or (None, None)), key not in given_demand)
        for key in given_demand.keys() | (stored.keys() if whole else set())
        if given_demand.get(key) != stored.get(key)
    }
    rows = found.select("n", "day", "quantity", "revenue", "quantity_was", "revenue_was", "is_gone").rows()
    assert {row[:2]: row[2:] for row in rows} == expected
    assert len(rows) == len(expected)


@pure
@given(DEMAND, DEMAND, st.sampled_from(["week", "month"]))
def test_sums_moved_by_the_differences_are_the_sums_of_what_is_stored_then(
    given_demand: Any, stored: Any, grain: str
) -> None:
    def start_of(day: date) -> date:
        return day.replace(day=1) if grain == "month" else day - timedelta(days=day.weekday())

    def sums(demand: Any) -> dict[tuple[int, date], tuple[Decimal, Decimal | None]]:
        found: dict[tuple[int, date], tuple[Decimal, Decimal | None]] = {}
        for (item, day), (quantity, revenue) in demand.items():
            was = found.get((item, start_of(day)), (Decimal(0), None))
            money = was[1] if revenue is None else (was[1] or Decimal(0)) + revenue
            found[item, start_of(day)] = (was[0] + quantity, money)
        return found

    before, after = sums(stored), sums({**stored, **given_demand})
    differing = differences(frame_of(given_demand), frame_of(stored)).rename({"n": "item_id"})
    moved = {row[:2]: row[2:] for row in rollups.moves(differing, grain).rows()}
    for key in before.keys() | after.keys():
        quantity, revenue = before.get(key, (Decimal(0), None))
        by, money, lost = moved.get(key, (Decimal(0), None, False))
        if lost:
            continue  # is made anew from demand
        assert quantity + by == after[key][0]
        assert (revenue if money is None else (revenue or Decimal(0)) + money) == after[key][1]


@pure
@given(st.lists(st.floats(-1e13, 1e13), max_size=20))
def test_an_amount_is_the_decimal_that_the_file_says(amounts: list[float]) -> None:
    rows = pl.DataFrame(
        {"item": "A", "day": FIRST, "quantity": amounts, "revenue": None},
        schema={"item": pl.String, "day": pl.Date, "quantity": pl.Float64, "revenue": pl.Float64},
    )
    expected = [Decimal(repr(amount)).quantize(PLACES, ROUND_HALF_EVEN) for amount in amounts]
    assert exact(rows, ITEMS)["quantity"].to_list() == expected


@pure
@given(DEMAND)
def test_what_is_read_holds_every_key_and_is_no_more_than_four_times_the_file(given_demand: Any) -> None:
    frame = frame_of(given_demand)
    found = spans(frame)
    read = [
        (n, first + timedelta(days=day)) for n, first, last in found.rows() for day in range((last - first).days + 1)
    ]
    assert len(set(read)) == len(read)
    assert set(given_demand) <= set(read)
    assert len(read) <= 4 * frame.height


async def test_a_few_days_far_apart_are_compared_one_by_one(connections: Connections) -> None:
    days = [FIRST + timedelta(days=day) for day in range(90)]
    full = demand_frame([{"item": "A", "day": day, "quantity": 1.0, "revenue": 2.0} for day in days])
    corrected = [{"item": "A", "day": day, "quantity": 5.0, "revenue": None} for day in (days[0], days[-1])]
    for frame in (full, demand_frame(corrected), full):
        async with connections.sessions.begin() as session:
            await store_items(session)
            await targets.store(session, "demand", frame, feed="shop")
            await assert_exact(session)
    async with connections.sessions() as session:
        stored = await session.execute(text("SELECT count(*), sum(quantity), sum(revenue) FROM demand"))
        assert tuple(stored.one()) == (90, 90, 180)


@pytest.mark.parametrize("is_there", [False, True])
async def test_an_amount_that_no_column_can_hold_is_refused_as_by_a_statement(
    connections: Connections, is_there: bool
) -> None:
    row = {"item": "A", "day": FIRST, "quantity": 1.0, "revenue": 1.0}
    async with connections.sessions.begin() as session:
        await store_items(session)
        if is_there:
            await targets.store(session, "demand", demand_frame([row]), feed="shop")
    for wrong, sqlstate in (({"quantity": 5e14}, "22003"), ({"quantity": None}, "23502")):
        async with connections.sessions() as session:
            with pytest.raises(DBAPIError) as refused:
                await targets.store(session, "demand", demand_frame([{**row, **wrong}]), feed="shop")
            assert getattr(refused.value.orig, "sqlstate", None) == sqlstate
            await session.rollback()
            await assert_exact(session)
