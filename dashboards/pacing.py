"""How often a session is drawn: at once after quiet, then evenly, and slower where drawing takes long."""

from __future__ import annotations

# Shorter than the time between two frames of the feed: a second wait on top of the feed's own would only add delay.
SHORTEST_PAUSE_S = 0.025
# All sessions of the process together draw for a third of the time at most; the rest is for people's clicks.
CYCLE_PER_DRAWING = 3.0


def pause_s(drawing_s: float, sessions: int) -> float:
    """Time to the next drawing of one session, when the last one took `drawing_s` and so many share the process."""
    return max(SHORTEST_PAUSE_S, CYCLE_PER_DRAWING * drawing_s * max(1, sessions) - drawing_s)
