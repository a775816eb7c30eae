"""SQL of schedules."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from db.models.job import Job, Schedule
from db.paging import Rows


async def due(session: AsyncSession, now: datetime) -> Sequence[Schedule]:
    """Enabled schedules whose time has come, locked; those another transaction is at are left to it."""
    query = (
        select(Schedule)
        .where(Schedule.enabled, Schedule.next_run_at <= now)
        .order_by(Schedule.next_run_at)
        .with_for_update(skip_locked=True)
    )
    return (await session.execute(query)).scalars().all()


async def get(session: AsyncSession, schedule_id: uuid.UUID, *, lock: bool = False) -> Schedule | None:
    """The schedule, locked when asked."""
    return await session.get(Schedule, schedule_id, with_for_update=lock or None)


async def find(session: AsyncSession, name: str) -> Schedule | None:
    """The schedule of that name."""
    return (await session.execute(select(Schedule).where(Schedule.name == name))).scalar_one_or_none()


async def of_job(session: AsyncSession, job_id: uuid.UUID) -> Schedule | None:
    """The schedule that has started the job, or the parent it is a step of."""
    parent = aliased(Job)
    query = (
        select(Schedule)
        .join(Job, Job.id == job_id)
        .outerjoin(parent, parent.id == Job.parent_id)
        .where(Schedule.id == func.coalesce(Job.schedule_id, parent.schedule_id))
    )
    return (await session.execute(query)).scalar_one_or_none()


def statement(*, kind: str | None = None, enabled: bool | None = None) -> Rows:
    """Schedules by kind and whether they are switched on."""
    query = select(Schedule)
    if kind is not None:
        query = query.where(Schedule.kind == kind)
    if enabled is not None:
        query = query.where(Schedule.enabled == enabled)
    return query
