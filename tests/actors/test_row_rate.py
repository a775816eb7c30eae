"""Rows a second: of the last seconds while the work runs, of all of it in the end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.row_rate import WINDOW_S, RowRate


def test_work_that_counts_no_rows_has_no_rate() -> None:
    rate = RowRate(10.0)
    assert rate.current(11.0) is None
    assert rate.overall(11.0) is None


def test_a_steady_flow_and_a_stall_are_seen_as_they_are() -> None:
    rate = RowRate(0.0)
    for tick in range(1, 121):
        rate.count(250 * tick)
        assert rate.current(tick / 4) == pytest.approx(1000.0)
    stalled = [rate.current(30 + tick / 4) for tick in range(1, int(4 * WINDOW_S) + 2)]
    assert all(later <= earlier for earlier, later in pairwise(stalled))  # type: ignore[operator]
    assert stalled[-1] == 0.0
    assert rate.overall(60.0) == 500.0


@given(steps=st.lists(st.tuples(st.floats(0.05, 20), st.integers(0, 10**6)), min_size=1, max_size=60))
def test_the_rate_lies_between_the_slowest_and_the_fastest_stretch(steps: list[tuple[float, int]]) -> None:
    rate, now, rows = RowRate(0.0), 0.0, 0
    stretches = []
    for seconds, count in steps:
        now, rows = now + seconds, rows + count
        stretches.append(count / seconds)
        rate.count(rows)
        rate.count(rows // 2)  # a late word
        current = rate.current(now)
        assert current is not None
        assert min(stretches) - 1e-6 <= current <= max(stretches) * (1 + 1e-9) + 1e-6
    assert rate.overall(now) == pytest.approx(rows / now)
    assert len(rate._seen) <= WINDOW_S / 0.05 + 2
