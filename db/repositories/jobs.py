"""SQL of single jobs. State moves only through these statements and those of `queue`; each returns what it changed.

waiting -> running -> done | failed | held | cancelled; running -> waiting again on a retry. A write on behalf of a
running job carries its attempt number and is refused once the job has moved on.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, delete, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.job import DEAD_STATES, FINAL_STATES, Job, JobLog, KindControl
from db.models.series import JobEvent
from db.paging import Rows

_ANEW = {"populate_existing": True}


class Superseded(Exception):
    """A later attempt of the job has begun, or the job has ended: this run must write nothing more."""


async def clock(session: AsyncSession) -> datetime:
    """The server's time at the start of this transaction. It alone says when something happened, or is due."""
    now: datetime = (await session.execute(select(func.now()))).scalar_one()
    return now


async def get(session: AsyncSession, job_id: uuid.UUID, *, lock: bool = False) -> Job | None:
    """Return the job, locked against other writers until commit when asked."""
    query = select(Job).where(Job.id == job_id)
    if not lock:
        return (await session.execute(query)).scalar_one_or_none()
    # Read anew under the lock: the session may remember the job as it was before it had to wait.
    return (await session.execute(query.with_for_update(), execution_options=_ANEW)).scalar_one_or_none()


def statement(
    *,
    states: Sequence[str] = (),
    kind: str | None = None,
    parent_id: uuid.UUID | None = None,
    schedule_id: uuid.UUID | None = None,
    requested_by: str | None = None,
    search: str | None = None,
) -> Rows:
    """Jobs by state, kind, parent, schedule and requester; `search` looks into message and error."""
    query = select(Job)
    if states:
        query = query.where(Job.state.in_(states))
    for column, wanted in (
        (Job.kind, kind),
        (Job.parent_id, parent_id),
        (Job.schedule_id, schedule_id),
        (Job.requested_by, requested_by),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if search:
        query = query.where(
            or_(Job.message.icontains(search, autoescape=True), Job.error.icontains(search, autoescape=True))
        )
    return query


async def find_idempotent(session: AsyncSession, requested_by: str, key: str) -> Job | None:
    """The job this requester already started with that idempotency key."""
    query = select(Job).where(Job.requested_by == requested_by, Job.idempotency_key == key)
    return (await session.execute(query)).scalar_one_or_none()


async def find_pending(session: AsyncSession, *, waiting_key: str | None, running_key: str | None = None) -> Job | None:
    """The job that waits under `waiting_key`, or runs under `running_key`."""
    wanted = (Job.state == "waiting") & (Job.waiting_key == waiting_key)
    if running_key:
        wanted |= (Job.state == "running") & (Job.running_key == running_key)
    return (await session.execute(select(Job).where(wanted).limit(1))).scalar_one_or_none()


async def report_progress(
    session: AsyncSession,
    job_id: uuid.UUID,
    attempt: int,
    progress: float,
    step: str,
    message: str,
    *,
    rows_per_s: float | None = None,
) -> bool:
    """Store how far this attempt is, and how fast where it counts rows. Returns whether someone asked to cancel it.

    Raises:
        Superseded: this attempt no longer owns the job.
    """
    values = {"progress": progress, "step": step, "message": message}
    if rows_per_s is not None:
        values["rows_per_s"] = rows_per_s
    query = _mine(job_id, attempt).values(values).returning(Job.cancel_requested)
    cancel_requested = (await session.execute(query)).scalar_one_or_none()
    if cancel_requested is None:
        raise Superseded(f"job {job_id} attempt {attempt}")
    return bool(cancel_requested)


async def finish(
    session: AsyncSession,
    job_id: uuid.UUID,
    attempt: int,
    state: str,
    *,
    result: dict[str, Any] | None = None,
    message: str = "",
    error: str | None = None,
    traceback: str | None = None,
    losses: int = 0,
    failures: int = 0,
    rows_per_s: float | None = None,
) -> Job:
    """End the job as `state`, in the transaction that holds its results; `rows_per_s` over all of its last attempt.

    Raises:
        Superseded: this attempt no longer owns the job; the caller's transaction must roll back.
    """
    values = {
        "state": state,
        "result": result,
        "error": error,
        "traceback": traceback,
        "progress": 1.0 if state == "done" else Job.progress,
        "step": "",
        "message": message,
        "rows_per_s": Job.rows_per_s if rows_per_s is None else rows_per_s,
        "worker": None,
        "losses": Job.losses + losses,
        "failures": Job.failures + failures,
        "finished_at": func.now(),
        "changed_at": func.now(),
    }
    job = await _change(session, _mine(job_id, attempt).values(values))
    if job is None:
        raise Superseded(f"job {job_id} attempt {attempt}")
    return job


async def put_back(
    session: AsyncSession,
    job_id: uuid.UUID,
    attempt: int,
    reason: str,
    *,
    delay_s: float = 0.0,
    losses: int = 0,
    failures: int = 0,
    traceback: str | None = None,
    retry_step: int | None = None,
) -> Job | None:
    """Let a job wait for its next attempt; None when this attempt no longer owns it. `retry_step`: steps used then."""
    values = {
        "state": "waiting",
        "waiting_key": None,
        "worker": None,
        "run_at": func.now() + timedelta(seconds=delay_s),
        "losses": Job.losses + losses,
        "failures": Job.failures + failures,
        "message": reason,
        "traceback": traceback,
        "retry_step": Job.retry_step if retry_step is None else retry_step,
        "changed_at": func.now(),
    }
    return await _change(session, _mine(job_id, attempt).values(values))


async def unfinished_children(session: AsyncSession, parent_id: uuid.UUID) -> Sequence[Job]:
    """Children that have not ended, locked."""
    query = (
        select(Job).where(Job.parent_id == parent_id, Job.state.not_in(FINAL_STATES)).order_by(Job.id).with_for_update()
    )
    return (await session.execute(query, execution_options=_ANEW)).scalars().all()


async def children(session: AsyncSession, parent_id: uuid.UUID, stage: int | None = None) -> Sequence[Job]:
    """All children, or those of one stage, in the order they were made."""
    query = select(Job).where(Job.parent_id == parent_id).order_by(Job.created_at, Job.id)
    if stage is not None:
        query = query.where(Job.stage == stage)
    return (await session.execute(query, execution_options=_ANEW)).scalars().all()


async def dead(session: AsyncSession, *, kind: str | None, limit: int) -> Sequence[Job]:
    """The oldest dead letters that no parent will start again, locked."""
    query = select(Job).where(Job.state.in_(DEAD_STATES), Job.parent_id.is_(None)).order_by(Job.created_at, Job.id)
    if kind is not None:
        query = query.where(Job.kind == kind)
    return (await session.execute(query.limit(limit).with_for_update(skip_locked=True))).scalars().all()


async def write_log(session: AsyncSession, lines: Sequence[dict[str, Any]]) -> None:
    """Keep lines (job_id, attempt, level, message) that attempts have written."""
    if lines:
        await session.execute(insert(JobLog), lines)


def log_statement(job_id: uuid.UUID) -> Rows:
    """What a job's attempts have written."""
    return select(JobLog).where(JobLog.job_id == job_id)


def event_statement(job_id: uuid.UUID) -> Rows:
    """The states a job has been in."""
    return select(JobEvent).where(JobEvent.job_id == job_id)


async def controls(session: AsyncSession) -> dict[str, KindControl]:
    """What operators have set, by kind."""
    return {row.kind: row for row in (await session.execute(select(KindControl))).scalars()}


async def set_control(session: AsyncSession, kind: str, changed_by: str, **values: Any) -> None:
    """Set a kind's switches (`paused`, `concurrency`)."""
    control = await session.get(KindControl, kind, with_for_update=True)
    if control is None:
        control = KindControl(kind=kind)
        session.add(control)
    for name, value in values.items():
        setattr(control, name, value)
    control.changed_by = changed_by
    control.changed_at = await clock(session)
    await session.flush()


async def remove_old(session: AsyncSession, *, done_days: float, dead_days: float, limit: int = 5000) -> int:
    """Delete jobs that ended long ago, with their logs, unless results hang on them; children before their parents."""
    query = text(
        """
        WITH old AS (
            SELECT id FROM job WHERE (
                (state IN ('done', 'cancelled') AND finished_at < now() - make_interval(secs => :done_s))
                OR (state IN ('failed', 'held') AND finished_at < now() - make_interval(secs => :dead_s))
            )
            AND NOT EXISTS (SELECT FROM forecast_run WHERE job_id = job.id)
            AND NOT EXISTS (SELECT FROM planning_run WHERE job_id = job.id)
            AND NOT EXISTS (SELECT FROM ingest_run WHERE job_id = job.id)
            AND NOT EXISTS (SELECT FROM job AS child WHERE child.parent_id = job.id)
            LIMIT :limit FOR UPDATE SKIP LOCKED
        )
        DELETE FROM job USING old WHERE job.id = old.id
        """
    )
    bounds = {"done_s": done_days * 86400, "dead_s": dead_days * 86400, "limit": limit}
    removed = await session.execute(query, bounds)
    assert isinstance(removed, CursorResult)
    return removed.rowcount


async def remove_old_logs(session: AsyncSession, *, days: float) -> int:
    """Delete log lines older than `days`, also those of jobs that stay."""
    old = func.now() - timedelta(days=days)
    removed = await session.execute(delete(JobLog).where(JobLog.at < old))
    assert isinstance(removed, CursorResult)
    return removed.rowcount


async def _change(session: AsyncSession, query: Any) -> Job | None:
    found = await session.execute(query.returning(Job), execution_options=_ANEW)
    job: Job | None = found.scalar_one_or_none()
    return job


def _mine(job_id: uuid.UUID, attempt: int) -> Any:
    return update(Job).where(Job.id == job_id, Job.attempts == attempt, Job.state == "running")
