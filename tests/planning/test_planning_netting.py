"""Lots and netting: rules that hold for any data, and worked records from textbooks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from planning.bom import build_structure
from planning.lots import LotForLot, with_minimum_and_multiple
from planning.mrp import Terms, explode, net_items, release

amounts = st.integers(0, 60).map(float)


def vector(element, size=3):
    return arrays(np.float64, size, elements=element)


@given(vector(st.floats(0, 1e4)), vector(amounts), vector(st.sampled_from([0.0, 0.1, 1.0, 7.0, 25.0])))
def test_lot_rules(quantity, minimum, multiple):
    lot = with_minimum_and_multiple(quantity, minimum, multiple)
    assert (lot[quantity == 0] == 0).all()
    asked = quantity > 0
    assert (lot[asked] >= np.maximum(quantity, minimum)[asked] - 1e-6).all()
    step = asked & (multiple > 0)
    assert lot[step] / multiple[step] == pytest.approx(np.round(lot[step] / multiple[step]))
    assert (lot[step] < np.maximum(quantity, minimum)[step] + multiple[step]).all()  # not one lot too many
    exact = asked & (multiple == 0)
    assert np.array_equal(lot[exact], np.maximum(quantity, minimum)[exact])


def test_a_met_multiple_is_not_ordered_once_more():
    assert with_minimum_and_multiple(np.array([0.3]), np.zeros(1), np.array([0.1]))[0] == pytest.approx(0.3)


def one_item(gross, scheduled=None, available=0.0, safety=0.0, minimum=0.0, multiple=0.0):
    """Net, receipts, projected of one item as lists."""
    need = np.array(gross, dtype=float)[:, None]
    coming = np.zeros_like(need) if scheduled is None else np.array(scheduled, dtype=float)[:, None]
    lots = LotForLot(np.array([minimum]), np.array([multiple]))
    result = net_items(need, coming, np.array([available]), np.array([safety]), lots, np.array([True]))
    return tuple(matrix[:, 0].tolist() for matrix in result)


def test_a_shortage_is_ordered_once():
    # Netted with receipts fixed at zero this would order 10 + 20 + 30 = 60.
    net, receipts, projected = one_item([10, 10, 10])
    assert net == receipts == [10, 10, 10]
    assert projected == [0, 0, 0]


def test_safety_stock_deficit_is_rebuilt_at_once_and_only_once():
    net, receipts, projected = one_item([0, 5, 0], available=3, safety=10)
    assert (net, receipts, projected) == ([7, 5, 0], [7, 5, 0], [10, 10, 10])


def test_what_float64_leaves_of_a_met_balance_is_no_shortage():
    assert 0.3 - 0.1 - 0.1 - 0.1 < 0  # and a minimum would make a whole lot of it
    assert one_item([0.1, 0.1, 0.1], available=0.3, minimum=50)[1] == [0, 0, 0]


def test_negative_stock_is_made_up():
    assert one_item([0, 4], available=-6)[1] == [6, 4]


@given(
    gross=arrays(np.float64, (8, 3), elements=amounts),
    scheduled=arrays(np.float64, (8, 3), elements=amounts),
    available=vector(st.integers(-30, 120).map(float)),
    safety=vector(amounts),
    minimum=vector(amounts),
    multiple=vector(st.sampled_from([0.0, 1.0, 12.0])),
)
def test_stock_is_conserved_and_net_needs_are_covered(gross, scheduled, available, safety, minimum, multiple):
    lots = LotForLot(minimum, multiple)
    net, receipts, projected = net_items(gross, scheduled, available, safety, lots, np.ones(3, dtype=bool))
    assert projected == pytest.approx(available + np.cumsum(scheduled + receipts - gross, axis=0))
    assert (projected >= safety - 1e-6).all()
    assert (receipts >= net - 1e-6).all()
    assert (receipts[net == 0] == 0).all()
    before = projected - receipts
    assert net == pytest.approx(np.maximum(safety - before, 0))


def test_items_that_must_not_be_ordered_keep_their_record():
    zeros = np.zeros((3, 1))
    net, receipts, projected = net_items(
        zeros + 5, zeros, np.array([7.0]), np.zeros(1), LotForLot(np.zeros(1), np.zeros(1)), np.array([False])
    )
    assert not net.any()
    assert not receipts.any()
    assert projected[:, 0].tolist() == [2, -3, -8]


def test_releases_before_today_are_kept_at_today():
    receipts = np.array([[1.0], [2.0], [4.0], [8.0]])
    assert release(receipts, np.array([2]))[:, 0].tolist() == [7, 8, 0, 0]


@given(arrays(np.float64, (9, 4), elements=amounts), arrays(np.int64, 4, elements=st.integers(0, 12)))
def test_release_loses_no_quantity(receipts, lead_time):
    released = release(receipts, lead_time)
    assert released.sum(axis=0) == pytest.approx(receipts.sum(axis=0))
    for item, days in enumerate(lead_time):
        inside = receipts[days + 1 :, item]
        assert released[1 : 1 + len(inside), item] == pytest.approx(inside)


def textbook(items, bom, demand, periods, scheduled=None):
    """Plan {item: dict(lead_time, on_hand, multiple)} in periods 1.. (period 0 = now); returns records by item."""
    codes = list(items)
    row = {code: at for at, code in enumerate(codes)}
    independent, coming = np.zeros((periods + 1, len(codes))), np.zeros((periods + 1, len(codes)))
    for code, at, quantity in demand:
        independent[at, row[code]] += quantity
    for code, at, quantity in scheduled or []:
        coming[at, row[code]] += quantity
    structure = build_structure(
        np.array([row[parent] for parent, _, _ in bom]),
        np.array([row[component] for _, component, _ in bom]),
        np.array([float(quantity) for _, _, quantity in bom]),
        np.zeros(len(bom), dtype=np.int64),
        np.full(len(bom), periods),
        codes,
    )
    column = {
        name: np.array([items[code].get(name, 0) for code in codes])
        for name in ("lead_time", "on_hand", "minimum", "multiple", "safety_stock")
    }

    def terms(rows, _gross):
        return Terms(
            column["lead_time"][rows],
            column["minimum"][rows].astype(float),
            column["multiple"][rows].astype(float),
            column["safety_stock"][rows].astype(float),
        )

    records = explode(structure, independent, coming, column["on_hand"].astype(float), terms)

    def nonzero(matrix, code):
        return {int(at): float(matrix[at, row[code]]) for at in np.flatnonzero(matrix[:, row[code]])}

    return {
        code: {name: nonzero(getattr(records, name), code) for name in ("gross", "net", "receipts", "releases")}
        for code in codes
    }


SHUTTERS_BOM = [("shutter", "frame", 2), ("shutter", "wood", 4)]
SHUTTERS_DEMAND = [("shutter", 4, 100), ("shutter", 8, 150)]
SHUTTERS_SCHEDULED = [("wood", 1, 70)]


def test_golden_shutters_lot_for_lot():
    """Stevenson, Operations Management, chapter on MRP: the wooden shutters, lot-for-lot.

    Shutters (lead time 1): 100 in week 4, 150 in week 8, so started in 3 and 7. Two frames (lead time 2) each: 200
    in 3, 300 in 7, ordered in 1 and 5. Four wood sections (lead time 1): 400 in 3 less the 70 that came in 1 = 330,
    ordered in 2; 600 in 7, ordered in 6.
    """
    items = {"shutter": {"lead_time": 1}, "frame": {"lead_time": 2}, "wood": {"lead_time": 1}}
    record = textbook(items, SHUTTERS_BOM, SHUTTERS_DEMAND, 8, SHUTTERS_SCHEDULED)
    assert record["shutter"]["releases"] == {3: 100, 7: 150}
    assert record["frame"]["gross"] == {3: 200, 7: 300}
    assert record["frame"]["releases"] == {1: 200, 5: 300}
    assert record["wood"]["gross"] == {3: 400, 7: 600}
    assert record["wood"]["net"] == {3: 330, 7: 600}
    assert record["wood"]["releases"] == {2: 330, 6: 600}


def test_golden_shutters_with_order_multiples():
    """The same with frames in lots of 320 and wood sections in multiples of 70 (Stevenson, second part).

    Frames: 200 in 3 takes 320, leaves 120; 300 - 120 = 180 in 7 takes 320. Wood: 330 takes 5 * 70 = 350, leaves 20;
    600 - 20 = 580 takes 9 * 70 = 630.
    """
    items = {
        "shutter": {"lead_time": 1},
        "frame": {"lead_time": 2, "multiple": 320},
        "wood": {"lead_time": 1, "multiple": 70},
    }
    record = textbook(items, SHUTTERS_BOM, SHUTTERS_DEMAND, 8, SHUTTERS_SCHEDULED)
    assert record["frame"]["net"] == {3: 200, 7: 180}
    assert record["frame"]["releases"] == {1: 320, 5: 320}
    assert record["wood"]["net"] == {3: 330, 7: 580}
    assert record["wood"]["releases"] == {2: 350, 6: 630}


def test_golden_speaker_kit_net_requirements():
    """Heizer & Render, Operations Management, chapter on MRP: Awesome speaker kits, net material requirements plan.

    50 kits A in week 8; A: 2 B, 3 C; B: 2 D, 2 E; C: 2 E, 2 F; F: 1 G, 2 D. Lead times A1 B2 C1 D1 E2 F3 G2, on hand
    A10 B15 C20 D10 E10 F5 G0. A: 50 - 10 = 40, started in 7. B: 80 - 15 = 65 in 7, started in 5. C: 120 - 20 = 100 in
    7, started in 6. E: 130 of B in 5 less 10 = 120, ordered in 3, and 200 of C in 6, ordered in 4. F: 200 - 5 = 195 in
    6, started in 3. D: 390 of F in 3 less 10 = 380, ordered in 2, and 130 of B in 5, ordered in 4. G: 195 in 3,
    ordered in 1.
    """
    lead_times = {"A": 1, "B": 2, "C": 1, "D": 1, "E": 2, "F": 3, "G": 2}
    on_hand = {"A": 10, "B": 15, "C": 20, "D": 10, "E": 10, "F": 5, "G": 0}
    items = {code: {"lead_time": lead_times[code], "on_hand": on_hand[code]} for code in lead_times}
    bom = [
        ("A", "B", 2),
        ("A", "C", 3),
        ("B", "D", 2),
        ("B", "E", 2),
        ("C", "E", 2),
        ("C", "F", 2),
        ("F", "G", 1),
        ("F", "D", 2),
    ]
    record = textbook(items, bom, [("A", 8, 50)], 8)
    assert {code: record[code]["releases"] for code in items} == {
        "A": {7: 40},
        "B": {5: 65},
        "C": {6: 100},
        "D": {2: 380, 4: 130},
        "E": {3: 120, 4: 200},
        "F": {3: 195},
        "G": {1: 195},
    }
    assert record["D"]["gross"] == {3: 390, 5: 130}


def test_golden_minimum_multiple_and_safety_stock_by_hand():
    """Worked here, after the record of Orlicky's Material Requirements Planning.

    On hand 20, safety stock 10, lead time 2, minimum 25, multiple 10; gross 15 in 1, 20 in 3, 5 in 4, 30 in 5; 10 come
    in 2. End of 1: 20 - 15 = 5, net 5, lot 25 -> 30, so 35. 2: 45. 3: 25. 4: 20. 5: -10, net 20, lot 25 -> 30, so 20.
    The lot of 1 had to go out in -1 and is kept at 0; that of 5 goes out in 3.
    """
    item = {"lead_time": 2, "on_hand": 20, "safety_stock": 10, "minimum": 25, "multiple": 10}
    demand = [("X", 1, 15), ("X", 3, 20), ("X", 4, 5), ("X", 5, 30)]
    record = textbook({"X": item, "Y": {}}, [("Y", "X", 1)], demand, 5, [("X", 2, 10)])["X"]
    assert record["net"] == {1: 5, 5: 20}
    assert record["receipts"] == {1: 30, 5: 30}
    assert record["releases"] == {0: 30, 3: 30}
