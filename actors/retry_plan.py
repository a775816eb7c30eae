"""Where a failed job stands among the retry steps of the schedule that started it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from actors.kinds import KINDS
from actors.retry_steps import next_step
from db.repositories import jobs, schedules
from settings import Settings

# A schedule that is switched off has no next time that would end the steps.
LONGEST = timedelta(days=1)


@dataclass(frozen=True)
class RetryPlan:
    """How many steps are used of how many, and the next one: in how many seconds (None: there is none), how many are
    used then. `now` is the database's clock."""

    used: int = 0
    count: int = 0
    in_s: float | None = None
    used_then: int = 0
    now: datetime | None = None
    time_zone: str = "UTC"

    def told(self, delay_s: float) -> str:
        """In words: the step that is taken after that delay, in the schedule's own time."""
        assert self.now is not None
        local = (self.now + timedelta(seconds=delay_s)).astimezone(ZoneInfo(self.time_zone))
        return f"at {local:%H:%M} {self.time_zone} (step {self.used_then} of {self.count})"


NO_STEPS = RetryPlan()


async def retry_plan(session: AsyncSession, job_id: uuid.UUID, settings: Settings) -> RetryPlan:
    """The steps of a job whose attempt has just failed, by the database's clock.

    A schedule without steps of its own has those of the settings for its readings of sources, and else none.
    """
    job, schedule = await jobs.get(session, job_id), await schedules.of_job(session, job_id)
    if job is None or schedule is None:
        return NO_STEPS
    default = settings.retry_steps if KINDS[job.kind].by_source else ()
    steps = default if schedule.retry_steps is None else schedule.retry_steps
    now = await jobs.clock(session)
    next_run = schedule.next_run_at if schedule.enabled else None
    until = next_run if next_run is not None and next_run > now else now + LONGEST
    step = next_step(steps, job.retry_step, schedule.time_zone, since=job.run_at, now=now, until=until)
    if step is None:
        return RetryPlan(job.retry_step)
    in_s = (step.at - now).total_seconds()
    return RetryPlan(job.retry_step, len(steps), in_s, step.used, now, schedule.time_zone)
