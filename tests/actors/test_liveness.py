"""Who is taken for dead: only whose count stood still while the observer looked on, whatever any clock says."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from actors.liveness import Observer

A, B = uuid.UUID(int=1), uuid.UUID(int=2)


def test_a_count_that_stands_still_for_the_patience_is_a_death() -> None:
    observer = Observer(6.0)
    assert [observer.dead({A: 5, B: beat}, float(now)) for now, beat in enumerate(range(7))] == [{}] * 6 + [{A: 5}]


def test_an_observer_that_was_away_itself_begins_to_look_anew() -> None:
    observer = Observer(6.0)
    observer.dead({A: 5}, 0.0)
    assert observer.dead({A: 5}, 100.0) == {}
    assert observer.dead({A: 5}, 102.0) == {}
    assert [observer.dead({A: 5}, 100.0 + step) for step in (4.0, 6.0)] == [{}, {A: 5}]


def test_who_is_back_is_new() -> None:
    observer = Observer(2.0)
    observer.dead({A: 5}, 0.0)
    observer.dead({}, 1.0)
    assert observer.dead({A: 5}, 2.0) == {}


@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=40))
def test_who_beats_between_all_looks_never_dies(steps: list[float]) -> None:
    observer, now = Observer(2.0), 0.0
    for beat, step in enumerate(steps):
        now += step
        assert observer.dead({A: beat}, now) == {}
