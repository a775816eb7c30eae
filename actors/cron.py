"""Cron expressions in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError


class BadCron(ValueError):
    """Not a cron expression, or one that is never due."""


def next_runs(cron: str, time_zone: str, after: datetime, count: int = 1) -> list[datetime]:
    """The next `count` times (UTC) after a moment.

    Five fields as in Debian's cron. Where clocks are set forward, a time that does not exist runs right after the gap;
    where they are set back, a time that comes twice runs once.

    Raises:
        BadCron: naming the fault.
    """
    try:
        found = [
            moment.astimezone(UTC) for moment in islice(CronSim(cron, after.astimezone(ZoneInfo(time_zone))), count)
        ]
    except CronSimError as error:
        raise BadCron(f"cron: {error}; expected five fields like '0 6 * * 1-5'") from error
    if not found:
        raise BadCron(f"cron: {cron!r} is never due")
    return found
