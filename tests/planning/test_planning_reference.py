"""The vectorised planner against an independent one that knows only dictionaries and recursion."""

from functools import cache
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planning.bom import build_structure
from planning.mrp import Terms, explode

BUCKETS = 10


@st.composite
def plants(draw, constrained):
    """Up to 7 items in any order, a random acyclic bill of material, whole-number data."""
    count = draw(st.integers(1, 7))
    order = draw(st.permutations(range(count)))
    lines = [
        {
            "parent": order[above],
            "component": order[below],
            "per": draw(st.integers(1, 4)),
            "scrap": draw(st.sampled_from([0.0, 0.0, 0.2, 0.5])),
            "first": draw(st.sampled_from([0, 0, 0, 4])),
            "last": draw(st.sampled_from([BUCKETS - 1, BUCKETS - 1, 6])),
        }
        for above in range(count)
        for below in range(above + 1, count)
        if draw(st.booleans())
    ]
    sparse = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 40), max_size=4)
    items = [
        {
            "demand": draw(sparse),
            "scheduled": draw(sparse) if draw(st.booleans()) else {},
            "stock": draw(st.integers(-20, 80)),
            "lead_time": draw(st.integers(0, 6)),
            "safety": draw(st.integers(0, 15)) if constrained else 0,
            "minimum": draw(st.sampled_from([0, 0, 30])) if constrained else 0,
            "multiple": draw(st.sampled_from([0, 0, 12])) if constrained else 0,
        }
        for _ in range(count)
    ]
    return items, lines


def brute_force(items, lines):
    """(item, bucket of need) -> quantity, asking each item for its parents' orders first."""

    @cache
    def orders(item):
        data, found, stock = items[item], {}, items[item]["stock"]
        for bucket in range(BUCKETS):
            stock += data["scheduled"].get(bucket, 0) - data["demand"].get(bucket, 0)
            for line in lines:
                if line["component"] == item and line["first"] <= bucket <= line["last"]:
                    for need, quantity in orders(line["parent"]).items():
                        if max(need - items[line["parent"]]["lead_time"], 0) == bucket:
                            stock -= quantity * line["per"] / (1 - line["scrap"])
            short = data["safety"] - stock
            if short > 1e-6:
                lot = max(short, data["minimum"])
                if data["multiple"]:
                    lot = ceil(lot / data["multiple"] - 1e-9) * data["multiple"]
                found[bucket] = lot
                stock += lot
        return found

    return {(item, bucket): lot for item in range(len(items)) for bucket, lot in orders(item).items()}


def vectorised(items, lines):
    """The records of `explode` for the same plant."""
    column = {
        name: np.array([item[name] for item in items]) for name in items[0] if name not in ("demand", "scheduled")
    }
    matrices = {}
    for name in ("demand", "scheduled"):
        matrices[name] = np.zeros((BUCKETS, len(items)))
        for row, item in enumerate(items):
            for bucket, quantity in item[name].items():
                matrices[name][bucket, row] = quantity
    structure = build_structure(
        np.array([line["parent"] for line in lines], dtype=np.int64),
        np.array([line["component"] for line in lines], dtype=np.int64),
        np.array([line["per"] / (1 - line["scrap"]) for line in lines]),
        np.array([line["first"] for line in lines], dtype=np.int64),
        np.array([line["last"] for line in lines], dtype=np.int64),
        [str(row) for row in range(len(items))],
    )

    def terms(rows, _gross):
        numbers = (column[name][rows].astype(float) for name in ("minimum", "multiple", "safety"))
        return Terms(column["lead_time"][rows], *numbers)

    return explode(structure, matrices["demand"], matrices["scheduled"], column["stock"].astype(float), terms), matrices


def as_orders(receipts):
    return {(int(row), int(bucket)): receipts[bucket, row] for bucket, row in zip(*np.nonzero(receipts), strict=True)}


@settings(max_examples=250, deadline=None)
@given(plants(constrained=False))
def test_lot_for_lot_equals_brute_force(plant):
    records, _ = vectorised(*plant)
    assert as_orders(records.receipts) == pytest.approx(brute_force(*plant))


@settings(max_examples=250, deadline=None)
@given(plants(constrained=True))
def test_with_safety_stock_minimum_and_multiple_too(plant):
    records, _ = vectorised(*plant)
    assert as_orders(records.receipts) == pytest.approx(brute_force(*plant))


@settings(max_examples=100, deadline=None)
@given(plants(constrained=True))
def test_stock_is_conserved_on_every_level_and_a_second_run_is_the_same(plant):
    items, lines = plant
    records, given_data = vectorised(items, lines)
    gross = given_data["demand"].copy()
    for line in lines:
        span = slice(line["first"], line["last"] + 1)
        rate = line["per"] / (1 - line["scrap"])
        gross[span, line["component"]] += records.releases[span, line["parent"]] * rate
    assert records.gross == pytest.approx(gross)
    flow = given_data["scheduled"] + records.receipts - gross
    stock = np.array([float(item["stock"]) for item in items])
    assert records.projected_on_hand == pytest.approx(stock + np.cumsum(flow, axis=0))
    assert (records.projected_on_hand >= records.safety_stock - 1e-6).all()
    again, _ = vectorised(items, lines)
    assert np.array_equal(again.receipts, records.receipts)


@settings(max_examples=100, deadline=None)
@given(plants(constrained=True))
def test_the_main_line_is_a_line_with_the_greatest_need(plant):
    items, lines = plant
    records, _ = vectorised(items, lines)
    ordered = build_order(items, lines)
    for bucket in range(BUCKETS):
        for row in range(len(items)):
            needs = {
                at: records.releases[bucket, line["parent"]] * line["per"] / (1 - line["scrap"])
                for at, line in enumerate(ordered)
                if line["component"] == row and line["first"] <= bucket <= line["last"]
            }
            main = records.main_line[bucket, row]
            if max(needs.values(), default=0) > 0:
                assert needs[main] == pytest.approx(max(needs.values()))
            else:
                assert main == -1


def build_order(items, lines):
    """The lines as the structure sorts them: by depth of the component, component, parent."""

    @cache
    def depth(item):
        return max((depth(line["parent"]) + 1 for line in lines if line["component"] == item), default=0)

    return sorted(lines, key=lambda line: (depth(line["component"]), line["component"], line["parent"]))
