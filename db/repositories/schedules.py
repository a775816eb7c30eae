"""SQL of schedules."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.job import Schedule
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


def statement(*, kind: str | None = None, enabled: bool | None = None) -> Rows:
    """Schedules by kind and whether they are switched on."""
    query = select(Schedule)
    if kind is not None:
        query = query.where(Schedule.kind == kind)
    if enabled is not None:
        query = query.where(Schedule.enabled == enabled)
    return query
