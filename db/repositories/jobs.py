"""SQL of the job table. State moves only through these statements; each returns what it changed.

waiting -> running -> done | failed | cancelled; running -> waiting again on a retry. A write on behalf of a running job
carries its attempt number and is refused once a later attempt has begun.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.job import FINAL_STATES, Job
from db.paging import Rows


class Superseded(Exception):
    """A later attempt of the job has begun, or the job has ended: this run must write nothing more."""


async def get(session: AsyncSession, job_id: uuid.UUID, *, lock: bool = False) -> Job | None:
    """Return the job, locked against other writers until commit when asked."""
    query = select(Job).where(Job.id == job_id)
    return (await session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()


def statement(*, state: str | None = None, kind: str | None = None, parent_id: uuid.UUID | None = None) -> Rows:
    """Jobs by state, kind and parent."""
    query = select(Job)
    if state:
        query = query.where(Job.state == state)
    if kind:
        query = query.where(Job.kind == kind)
    if parent_id:
        query = query.where(Job.parent_id == parent_id)
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


async def claim(session: AsyncSession, job_id: uuid.UUID) -> Job | None:
    """Begin the next attempt, whether the job waits or its last worker died; None when it has ended.

    Raises:
        sqlalchemy.exc.IntegrityError: another job runs under the same running key.
    """
    query = (
        update(Job)
        .where(Job.id == job_id, Job.state.in_(("waiting", "running")), Job.attempts < Job.max_attempts)
        .values(
            state="running",
            attempts=Job.attempts + 1,
            started_at=func.coalesce(Job.started_at, func.now()),
            progress=0,
            step="starting",
            message="",
        )
        .returning(Job)
    )
    return (await session.execute(query, execution_options={"populate_existing": True})).scalar_one_or_none()


async def report_progress(
    session: AsyncSession, job_id: uuid.UUID, attempt: int, progress: float, step: str, message: str
) -> bool:
    """Store how far this attempt is. Returns whether someone asked to cancel it.

    Raises:
        Superseded: this attempt no longer owns the job.
    """
    query = _mine(job_id, attempt).values(progress=progress, step=step, message=message).returning(Job.cancel_requested)
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
) -> Job:
    """End the job as `state`, in the transaction that holds its results.

    Raises:
        Superseded: this attempt no longer owns the job; the caller's transaction must roll back.
    """
    query = (
        _mine(job_id, attempt)
        .values(
            state=state,
            result=result,
            error=error,
            traceback=traceback,
            progress=1.0 if state == "done" else Job.progress,
            step="",
            message=message,
            finished_at=func.now(),
        )
        .returning(Job)
    )
    job: Job | None = (await session.execute(query, execution_options={"populate_existing": True})).scalar_one_or_none()
    if job is None:
        raise Superseded(f"job {job_id} attempt {attempt}")
    return job


async def put_back(session: AsyncSession, job_id: uuid.UUID, attempt: int, reason: str) -> Job | None:
    """Let a job wait for its next attempt after a passing failure; None when this attempt no longer owns it."""
    query = _mine(job_id, attempt).values(state="waiting", waiting_key=None, message=reason).returning(Job)
    return (await session.execute(query, execution_options={"populate_existing": True})).scalar_one_or_none()


async def without_message(session: AsyncSession, owned_kinds: Sequence[str]) -> Sequence[uuid.UUID]:
    """Unfinished jobs whose queue message is gone, a while after they were made or last begun.

    A dispatcher that froze, was taken for dead and came back can acknowledge the message its successor holds. None
    while another transaction that asked is still open: two must not both give a job a new message.
    """
    lock = text("SELECT pg_try_advisory_xact_lock(hashtext('fmrp-job-sweep'))")
    if not (await session.execute(lock)).scalar_one():
        return []
    query = text(
        "SELECT j.id FROM job j WHERE j.state IN ('waiting', 'running') AND j.kind = ANY(:kinds)"
        " AND coalesce(j.started_at, j.created_at) < now() - interval '30 seconds'"
        " AND NOT EXISTS (SELECT 1 FROM pgqueuer q WHERE q.payload = convert_to(j.id::text, 'UTF8'))"
    )
    return (await session.execute(query, {"kinds": list(owned_kinds)})).scalars().all()


async def unfinished_children(session: AsyncSession, parent_id: uuid.UUID) -> Sequence[Job]:
    """Children that have not ended."""
    query = select(Job).where(Job.parent_id == parent_id, Job.state.not_in(FINAL_STATES)).with_for_update()
    return (await session.execute(query)).scalars().all()


async def children(session: AsyncSession, parent_id: uuid.UUID) -> Sequence[Job]:
    """All children, in the order they were made."""
    query = select(Job).where(Job.parent_id == parent_id).order_by(Job.created_at, Job.id)
    return (await session.execute(query)).scalars().all()


async def count_by_state(session: AsyncSession) -> dict[str, int]:
    """How many jobs are in each state, for the metrics."""
    rows = await session.execute(select(Job.state, func.count()).group_by(Job.state))
    return {row[0]: row[1] for row in rows}


async def oldest_waiting_age_s(session: AsyncSession) -> float:
    """Seconds the longest-waiting job has waited; 0 when none waits."""
    query = select(func.extract("epoch", func.now() - func.min(Job.created_at))).where(Job.state == "waiting")
    return float((await session.execute(query)).scalar() or 0.0)


def _mine(job_id: uuid.UUID, attempt: int) -> Any:
    return update(Job).where(Job.id == job_id, Job.attempts == attempt, Job.state == "running")


async def give_up(session: AsyncSession, job_id: uuid.UUID) -> Job | None:
    """Fail a job whose attempts are used up without a verdict, because each run took its worker down with it."""
    query = (
        update(Job)
        .where(Job.id == job_id, Job.state.in_(("waiting", "running")), Job.attempts >= Job.max_attempts)
        .values(state="failed", error="the worker died in every attempt; see its log", finished_at=func.now())
        .returning(Job)
    )
    return (await session.execute(query, execution_options={"populate_existing": True})).scalar_one_or_none()
