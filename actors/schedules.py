"""Schedules: when a cron expression is due in its time zone, what to do about missed times, and the step that starts
the jobs. A schedule's next time moves in the transaction that starts its job, so each time is started exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from actors import jobs
from actors.cron import next_runs
from actors.job_sources import SourceOff
from actors.owner import Connections
from actors.telemetry import span
from db.models.job import Job, Schedule
from db.repositories import jobs as job_repository
from db.repositories import schedules as repository

# Later than this a time counts as missed.
GRACE = timedelta(minutes=1)
MOST_MISSED_RUNS = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Due:
    """What a schedule asks for now: how many runs to start, how many times were missed and let go, and when next."""

    runs: int
    skipped: int
    next_run_at: datetime


def due(cron: str, time_zone: str, missed_runs: str, next_run_at: datetime, now: datetime) -> Due:
    """Decide what a schedule whose next time was `next_run_at` starts now.

    A time is on time within a minute; beyond that `missed_runs` decides: skip, run_once, or run_all (at most 100).
    """
    times = [next_run_at] if next_run_at <= now else []
    while times and len(times) <= MOST_MISSED_RUNS:
        following = next_runs(cron, time_zone, times[-1])[0]
        if following > now:
            break
        times.append(following)
    on_time = sum(now - moment <= GRACE for moment in times)
    late = len(times) - on_time
    runs = {"skip": on_time, "run_once": min(len(times), 1), "run_all": min(len(times), MOST_MISSED_RUNS)}[missed_runs]
    return Due(runs, late if missed_runs == "skip" else 0, next_runs(cron, time_zone, max(now, next_run_at))[0])


async def start_due(connections: Connections) -> int:
    """Start the jobs of every schedule that is due; returns how many. Several dispatchers may do this at once."""
    changed: list[Job] = []
    async with connections.sessions.begin() as session:
        now = await job_repository.clock(session)
        for schedule in await repository.due(session, now):
            changed += await _start(session, schedule, now, connections.settings.job_max_attempts)
    await connections.tell(changed)
    return len(changed)


async def _start(session: AsyncSession, schedule: Schedule, now: datetime, max_attempts: int) -> list[Job]:
    assert schedule.next_run_at is not None
    started: list[Job] = []
    schedule.last_error = None
    try:
        decision = due(schedule.cron, schedule.time_zone, schedule.missed_runs, schedule.next_run_at, now)
        schedule.next_run_at = decision.next_run_at
        for _ in range(decision.runs):
            with span("schedule", kind=schedule.kind, schedule=schedule.name):
                started += (await run_now(session, schedule, f"schedule {schedule.name}", max_attempts))[1]
        if decision.skipped:
            schedule.last_error = f"{decision.skipped} missed times were skipped"
    except SourceOff as error:
        schedule.last_error = f"this time was skipped: {error}"
    except ValueError as error:
        # A source, kind or zone that is no more: said on the schedule, which rests until somebody mends it.
        log.error("schedule cannot run", schedule=schedule.name, reason=str(error))
        schedule.last_error, schedule.next_run_at = str(error), None
    return started


async def run_now(
    session: AsyncSession,
    schedule: Schedule,
    requested_by: str,
    max_attempts: int,
    idempotency_key: str | None = None,
) -> tuple[Job, list[Job]]:
    """Start a schedule's job; returns it, and what is new: it and its children, unless an equal one was there."""
    job, is_new = await jobs.start(
        session,
        schedule.kind,
        schedule.parameters,
        requested_by=requested_by,
        max_attempts=max_attempts,
        priority=schedule.priority,
        schedule_id=schedule.id,
        idempotency_key=idempotency_key,
    )
    if idempotency_key is None or is_new:
        schedule.last_run_at, schedule.last_job_id = await job_repository.clock(session), job.id
    return job, [job, *await job_repository.children(session, job.id)] if is_new else []
