"""Low-level codes, cycles, effectivity, the order of explosion."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.bom import CycleError, build_structure, find_cycles, items_on_cycles, low_level_codes


def lines(*pairs):
    parent, component = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(parent, dtype=np.int64), np.array(component, dtype=np.int64)


def test_low_level_code_is_the_greatest_depth():
    # 0 > 1 > 2 > 3 and 0 > 3 directly: 3 is planned last of all
    assert low_level_codes(*lines((0, 1), (1, 2), (2, 3), (0, 3)), list("ABCDE")).tolist() == [0, 1, 2, 3, 0]


def test_cycle_is_refused_by_name():
    with pytest.raises(CycleError, match=r"A > B > A") as raised:
        low_level_codes(*lines((0, 1), (1, 0), (1, 2)), list("ABC"))
    assert raised.value.path == ("A", "B", "A")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.path) == (str(raised.value), ("A", "B", "A"))


def test_an_item_that_contains_itself_is_a_cycle():
    assert find_cycles(*lines((1, 1), (0, 1)))[0].path == (1, 1)


def test_items_between_two_cycles_are_not_on_one():
    # 0 <> 1 > 2 > 3 <> 4
    assert items_on_cycles(*lines((0, 1), (1, 0), (1, 2), (2, 3), (3, 4), (4, 3))).tolist() == [0, 1, 3, 4]


def test_long_chains_do_not_exhaust_the_stack():
    count = 3000
    ring = [(item, (item + 1) % count) for item in range(count)]
    assert len(items_on_cycles(*lines(*ring))) == count


pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14)


@given(pairs)
def test_items_on_cycles_are_those_that_reach_themselves(edges):
    reach = np.zeros((7, 7), dtype=bool)
    for above, below in edges:
        reach[above, below] = True
    for middle in range(7):  # Warshall's closure
        reach |= np.outer(reach[:, middle], reach[middle])
    assert items_on_cycles(*lines(*edges)).tolist() == np.flatnonzero(np.diag(reach)).tolist()
    for cycle in find_cycles(*lines(*edges)):
        assert cycle.path[0] == cycle.path[-1]
        assert all(step in edges for step in zip(cycle.path, cycle.path[1:], strict=False))


@given(pairs.map(lambda edges: [(a, b) for a, b in edges if a < b]), st.integers(1, 5))
def test_structure_keeps_every_line_once_below_its_parent(edges, most_lines):
    parent, component = lines(*edges)
    count = len(edges)
    structure = build_structure(
        parent, component, np.ones(count), np.zeros(count, np.int64), np.full(count, 9), list("ABCDEFG")
    )
    level = np.empty(7, dtype=int)
    for code, rows in enumerate(structure.levels):
        level[rows] = code
    assert all(level[structure.parent] < level[structure.component])
    seen = []
    for code in range(len(structure.levels)):
        for block, starts in structure.segments(code, most_lines):
            in_block = structure.component[block]
            assert len(set(in_block)) == len(starts)  # a component is never split over blocks
            assert (level[in_block] == code).all()
            seen += list(zip(structure.parent[block].tolist(), in_block.tolist(), strict=True))
    assert sorted(seen) == sorted(edges)
