"""Explosion equals walking every path, where-used is its inverse, costs add up, cycles are found by the line."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.bills import Bill, TooLarge, exploded, occurrences, used_in
from planning.bom import CycleError
from planning.cycles import closing_lines

FACTS = {
    "standard_cost": pl.Float64,
    "price": pl.Float64,
    "lot": pl.Float64,
    "setup_cost": pl.Float64,
    "operation_cost": pl.Float64,
    "centres_without_cost": pl.String,
}


def bill(lines, **items):
    """A bill of (parent, component, quantity per, scrap) lines; facts of items by code."""
    codes = sorted({code for line in lines for code in line[:2]} | items.keys())
    rows = [{"setup_cost": 0.0, "operation_cost": 0.0, **items.get(code, {})} for code in codes]
    frame = pl.DataFrame({"item": codes}).with_columns(
        pl.Series(name, [row.get(name) for row in rows], dtype=dtype) for name, dtype in FACTS.items()
    )
    schema = {"parent": pl.String, "component": pl.String, "quantity_per": pl.Float64, "scrap_share": pl.Float64}
    return Bill(pl.DataFrame(lines, schema=schema, orient="row"), frame)


@st.composite
def bills(draw):
    """Items 0..n, lines only from lower to higher numbers, everything reachable from item 0."""
    count = draw(st.integers(2, 7))
    pairs = {(draw(st.integers(0, child - 1)), child) for child in range(1, count)}
    extra = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1])
    pairs |= set(draw(st.lists(extra, max_size=8)))
    lines = [
        (f"I{a}", f"I{b}", draw(st.floats(0.1, 5)), draw(st.sampled_from([0.0, 0.02, 0.5]))) for a, b in sorted(pairs)
    ]
    costs = {
        f"I{n}": {"standard_cost": draw(st.floats(0, 100)), "operation_cost": draw(st.floats(0, 9))}
        for n in range(count)
    }
    return bill(draw(st.permutations(lines)), **costs)


def walk(made: Bill, item: str, quantity: float = 1.0):
    """(item, quantity) of every place in the tree, by the definition."""
    yield item, quantity
    for parent, component, per, scrap in made.lines.iter_rows():
        if parent == item:
            yield from walk(made, component, quantity * per / (1 - scrap))


def walked(made: Bill, item: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for code, quantity in walk(made, item):
        total[code] = total.get(code, 0.0) + quantity
    return total


@given(bills(), st.floats(0.5, 1000))
def test_explosion_equals_walking_every_path(made, quantity):
    found = exploded(made, "I0", quantity)
    expected = {item: each * quantity for item, each in walked(made, "I0").items()}
    assert dict(found.select("item", "quantity").iter_rows()) == pytest.approx(expected)
    level = dict(found.select("item", "level").iter_rows())
    assert all(level[parent] < level[component] for parent, component, *_ in made.lines.iter_rows())


@given(bills())
def test_the_tree_has_every_path_once(made):
    places = list(occurrences(made, "I0", 1.0, 100, 100_000))
    assert sorted((each.item, round(each.quantity, 9)) for each in places) == sorted(
        (item, round(quantity, 9)) for item, quantity in walk(made, "I0")
    )
    for each in places[1:]:
        above = places[each.parent]
        assert above.number < each.number
        assert above.level == each.level - 1


@given(bills())
def test_where_used_is_the_inverse_of_explosion(made):
    for item in made.items["item"]:
        found = dict(used_in(made, item).filter(pl.col("quantity") > 0).select("item", "quantity").iter_rows())
        explosions = {top: walked(made, top) for top in made.items["item"] if top != item}
        assert found == pytest.approx({top: whole[item] for top, whole in explosions.items() if item in whole})


@given(bills(), st.floats(0.5, 1000))
def test_rolled_up_cost_is_what_leaves_and_operations_cost(made, quantity):
    found = exploded(made, "I0", quantity)
    own = pl.when("is_made").then(pl.col("operation_cost")).otherwise("standard_cost")
    total = found.select((own * pl.col("quantity")).sum()).item()
    top = found.row(0, named=True)
    assert top["item"] == "I0"
    assert top["cost"] == pytest.approx(total)
    assert top["unit_cost"] == pytest.approx(total / quantity)


def test_a_set_up_is_spread_over_what_is_needed_and_at_least_over_the_lot():
    lines = [("A", "B", 2.0, 0.0)]
    facts = {"A": {"setup_cost": 50.0, "operation_cost": 1.0, "lot": 100.0}, "B": {"standard_cost": 3.0}}
    assert exploded(bill(lines, **facts), "A", 10.0)["unit_cost"][0] == pytest.approx(6 + 1 + 0.5)
    assert exploded(bill(lines, **facts), "A", 500.0)["unit_cost"][0] == pytest.approx(6 + 1 + 0.1)


def test_what_has_no_price_counts_as_nothing_and_is_told_all_the_way_up():
    lines = [("A", "B", 2.0, 0.0), ("A", "C", 1.0, 0.0), ("B", "D", 1.0, 0.0)]
    facts = {"C": {"price": 4.0}, "A": {"standard_cost": 4.0}, "B": {"standard_cost": 4.0}}
    rows = {row["item"]: row for row in exploded(bill(lines, **facts), "A", 1.0).to_dicts()}
    assert [item for item, row in rows.items() if row["is_unpriced"]] == ["D"]
    assert [item for item, row in rows.items() if not row["is_complete"]] == ["A", "B", "D"]
    assert rows["A"]["unit_cost"] == 4.0
    assert not rows["A"]["cost_deviates"]
    assert rows["B"]["cost_deviates"]
    without_rate = {**facts, "A": {"centres_without_cost": "W-1"}}
    assert exploded(bill(lines, **without_rate), "A", 1.0)["is_unpriced"].to_list()[0]


def test_an_item_without_lines_is_its_own_bill():
    alone = bill([], A={"standard_cost": 7.0})
    assert exploded(alone, "A", 3.0).select("item", "quantity", "level", "cost").rows() == [("A", 3.0, 0, 21.0)]
    assert used_in(alone, "A").is_empty()
    assert [each.item for each in occurrences(alone, "A", 3.0, 5, 10)] == ["A"]


def test_cycles_and_trees_without_end_are_refused():
    round_and_round = bill([("A", "B", 1.0, 0.0), ("B", "A", 1.0, 0.0)])
    for work in (
        lambda: exploded(round_and_round, "A", 1.0),
        lambda: list(occurrences(round_and_round, "A", 1.0, 9, 9)),
    ):
        with pytest.raises(CycleError, match="A > B > A"):
            work()
    wide = bill([("A", f"C{n}", 1.0, 0.0) for n in range(20)])
    with pytest.raises(TooLarge, match="more than 20"):
        list(occurrences(wide, "A", 1.0, 9, 20))


def test_closing_lines_are_named_with_the_way_round():
    lines = [("A", "B"), ("B", "C"), ("C", "A"), ("C", "D"), ("X", "Y"), ("Y", "X")]
    assert closing_lines(lines, [("C", "A"), ("C", "D")]) == [(("C", "A"), ("C", "A", "B", "C"))]
    assert closing_lines(lines[:2], [("A", "B")]) == []
    assert closing_lines([], []) == []
    assert closing_lines([("A", "A")], [("A", "A")]) in ([], [(("A", "A"), ("A", "A"))])


codes = st.sampled_from("ABCDEF")
pairs = st.tuples(codes, codes).filter(lambda pair: pair[0] != pair[1])


@given(st.lists(pairs, max_size=15, unique=True), pairs)
def test_a_line_closes_a_cycle_exactly_when_its_parent_can_be_reached_from_its_component(lines, line):
    lines = list(dict.fromkeys([*lines, line]))
    reached, waiting = {line[1]}, [line[1]]
    while waiting:
        at = waiting.pop()
        new = {component for parent, component in lines if parent == at} - reached
        reached |= new
        waiting += new
    found = closing_lines(lines, [line])
    assert bool(found) == (line[0] in reached)
    for _, path in found:
        assert path[0] == path[-1] == line[0]
        assert path[1] == line[1]
        assert all(step in lines for step in pairwise(path))
