"""Retry steps: when a job that its source has let down is tried again, at times of the day or after delays.

06:30, 07:00, 07:30 say when an early reading that failed at 06:00 is worth another look. Pure: told all times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actors.cron import next_runs
from settings import checked_retry_step

_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Step:
    """The next attempt: when, and how many of the steps are used up with it."""

    at: datetime
    used: int


def next_step(
    steps: Sequence[str], used: int, time_zone: str, *, since: datetime, now: datetime, until: datetime
) -> Step | None:
    """The first step after the `used` ones that is still to come, before `until`; None when there is none.

    A time of day ('06:30', in the zone) is the first one after the time the failed attempt was due (`since`), or after
    the step before it; one that has passed by now is used up. A delay ('30m') counts from now. At `until` the schedule
    starts anew, and what would come later is of no use.

    Raises:
        ValueError: a step is neither.
    """
    for number, step in enumerate(steps[used:], start=used + 1):
        if ":" in checked_retry_step(step):
            hour, minute = step.split(":")
            since = at = next_runs(f"{int(minute)} {int(hour)} * * *", time_zone, since)[0]
        else:
            at = now + timedelta(seconds=int(step[:-1]) * _UNITS[step[-1]])
        if now < at < until:
            return Step(at, number)
    return None
