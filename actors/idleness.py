"""When an actor that was made on demand may end: never over an attempt, nor over one that is about to be handed in."""

from __future__ import annotations

from collections.abc import Mapping

# From the promise to stay to the attempt's arrival it takes milliseconds.
HOLD_S = 10.0


class Idleness:
    """Of one actor. Pure: it is told the monotonic time, in seconds, and whether attempts are in hand."""

    def __init__(self, patience_s: float, now: float) -> None:
        self._patience_s = patience_s
        self._used_at = now
        self._promised, self._promised_until = 0, now
        self.is_leaving = False

    def hold(self, now: float) -> bool:
        """Promise to be there for an attempt that comes next; False once it is leaving, when another must be made."""
        if not self.is_leaving:
            self._promised = self._promised + 1 if now < self._promised_until else 1
            self._used_at, self._promised_until = now, now + HOLD_S
        return not self.is_leaving

    def begin(self) -> None:
        """An attempt that was promised a place is there."""
        self._promised = max(0, self._promised - 1)

    def end(self, now: float) -> None:
        """An attempt has ended."""
        self._used_at = now

    def idle_s(self, now: float, *, busy: bool) -> float:
        """Seconds without anything to do; negative while it works or is about to."""
        is_held = self._promised > 0 and now < self._promised_until
        return -1.0 if busy or is_held else now - self._used_at

    def is_over(self, now: float, *, busy: bool) -> bool:
        """Whether it has had nothing to do for as long as it waits."""
        return self.idle_s(now, busy=busy) >= self._patience_s

    def leave(self, now: float, *, busy: bool) -> bool:
        """Leave if nothing is to be done; once True it stays so, and `hold` is refused."""
        self.is_leaving = self.is_leaving or self.idle_s(now, busy=busy) >= 0
        return self.is_leaving


def to_end(idle_s: Mapping[str, float], most: int) -> list[str]:
    """Which actors make room, so that with a new one there are at most `most`: the longest idle first, none that works.

    `idle_s` holds all that are there, as `Idleness.idle_s` tells.
    """
    idle = sorted((name for name, seconds in idle_s.items() if seconds >= 0), key=lambda name: -idle_s[name])
    return idle[: max(0, len(idle_s) + 1 - most)]
