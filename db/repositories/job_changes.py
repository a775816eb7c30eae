"""What events are made from: the jobs as they stand, and those that changed lately."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import case, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.job import FINAL_STATES, Job


class Change(NamedTuple):
    """A job's newest state."""

    job_id: uuid.UUID
    changed_at: datetime
    state: str


async def current(session: AsyncSession, *, unfinished: int, ended: int) -> list[Job]:
    """Unfinished jobs, running ones first, and the newest ended ones; at most so many of each."""
    running_first = case((Job.state == "running", 0), else_=1)
    open_ = select(Job).where(Job.state.not_in(FINAL_STATES)).order_by(running_first, Job.created_at.desc())
    newest = select(Job).where(Job.state.in_(FINAL_STATES)).order_by(Job.created_at.desc())
    found = list((await session.execute(open_.limit(unfinished))).scalars())
    return [*found, *(await session.execute(newest.limit(ended))).scalars()]


async def take_relay_lock(session: AsyncSession) -> bool:
    """Become the one that repairs events, until this session's connection is closed. False while another one is."""
    lock = text("SELECT pg_try_advisory_lock(hashtext('fmrp-event-relay'))")
    return bool((await session.execute(lock)).scalar_one())


async def now(session: AsyncSession) -> datetime:
    """The database's clock."""
    moment: datetime = (await session.execute(select(func.now()))).scalar_one()
    return moment


async def changed_between(
    session: AsyncSession, since: datetime, until: datetime, after: Change | None, limit: int
) -> Sequence[Change]:
    """Jobs whose state changed in (since, until], oldest change first; `after` is the last one of the page before."""
    query = select(Job.id, Job.changed_at, Job.state).where(Job.changed_at > since, Job.changed_at <= until)
    if after is not None:
        query = query.where(tuple_(Job.changed_at, Job.id) > tuple_(after.changed_at, after.job_id))
    rows = await session.execute(query.order_by(Job.changed_at, Job.id).limit(limit))
    return [Change(*row) for row in rows]


async def by_ids(session: AsyncSession, ids: Sequence[uuid.UUID]) -> Sequence[Job]:
    """Those jobs as they stand now, the oldest change first."""
    query = select(Job).where(Job.id.in_(ids)).order_by(Job.changed_at)
    return (await session.execute(query, execution_options={"populate_existing": True})).scalars().all()
