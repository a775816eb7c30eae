"""An actor made on demand ends only when there is nothing to do for it, and few are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.idleness import HOLD_S, Idleness, to_end

PATIENCE_S = 30.0


def test_it_is_over_after_its_patience_and_not_before() -> None:
    idle = Idleness(PATIENCE_S, 0.0)
    assert not idle.is_over(29.9, busy=False)
    assert idle.is_over(30.0, busy=False)
    assert not idle.is_over(99.0, busy=True)
    idle.end(50.0)
    assert not idle.is_over(79.9, busy=False)


def test_one_that_was_promised_an_attempt_stays_until_it_is_there_or_does_not_come() -> None:
    idle = Idleness(PATIENCE_S, 0.0)
    assert idle.hold(40.0)
    assert not idle.leave(41.0, busy=False)
    idle.begin()
    assert not idle.leave(45.0, busy=True)
    idle.end(46.0)
    assert idle.leave(46.0, busy=False)
    never_came = Idleness(PATIENCE_S, 0.0)
    assert never_came.hold(1.0)
    assert never_came.leave(1.0 + HOLD_S, busy=False)


class Life(RuleBasedStateMachine):
    """Holds, attempts, ends and wishes to leave in any order: no attempt meets an actor that is leaving."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.in_hand, self.promised = 0.0, 0, list[float]()
        self.idle = Idleness(PATIENCE_S, self.now)

    @rule(seconds=st.floats(0, 60))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        # Whoever does not come in time has died over it.
        self.promised = [until for until in self.promised if until > self.now]

    @rule()
    def promise(self) -> None:
        if self.idle.hold(self.now):
            self.promised.append(self.now + HOLD_S)

    @rule()
    def hand_in(self) -> None:
        if self.promised:
            self.promised.pop()
            self.idle.begin()
            self.in_hand += 1

    @rule()
    def end(self) -> None:
        if self.in_hand:
            self.in_hand -= 1
            self.idle.end(self.now)

    @rule()
    def leave(self) -> None:
        self.idle.leave(self.now, busy=bool(self.in_hand))

    @invariant()
    def none_works_in_one_that_leaves(self) -> None:
        assert not (self.idle.is_leaving and (self.in_hand or self.promised))
        assert not (self.idle.is_leaving and self.idle.hold(self.now))


TestLife = Life.TestCase


@given(
    idle_s=st.dictionaries(st.text(max_size=3), st.floats(-1, 1e6, allow_nan=False), max_size=12),
    most=st.integers(1, 8),
)
def test_room_is_made_by_the_longest_idle_and_by_none_that_works(idle_s: dict[str, float], most: int) -> None:
    ended = to_end(idle_s, most)
    left = {name: seconds for name, seconds in idle_s.items() if name not in ended}
    assert all(idle_s[name] >= 0 for name in ended)
    assert len(left) < most or all(seconds < 0 for seconds in left.values())
    assert len(ended) == max(0, min(len(idle_s) + 1 - most, sum(seconds >= 0 for seconds in idle_s.values())))
    assert not ended or min(idle_s[name] for name in ended) >= max((s for s in left.values() if s >= 0), default=0)
