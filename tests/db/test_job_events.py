"""Every state a job comes into is kept as an event, in the transaction that changes it and no other."""

from __future__ import annotations

import uuid

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from actors.owner import Connections
from db.models import Job, JobEvent, Worker
from db.repositories import jobs


async def events_of(session: AsyncSession, job_id: uuid.UUID) -> list[tuple[str, int, float]]:
    """State, attempt and progress of each event, oldest first."""
    found = await session.execute(jobs.event_statement(job_id).order_by(JobEvent.id))
    return [(event.state, event.attempt, event.progress) for event in found.scalars()]


async def running_job(session: AsyncSession) -> Job:
    """A job in its first attempt."""
    job = Job(kind="plan", parameters={"secret": "not for the events"})
    session.add(job)
    await session.flush()
    await session.execute(update(Job).where(Job.id == job.id).values(state="running", attempts=1))
    return job


async def test_states_are_told_in_their_order_and_progress_is_not(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        job = await running_job(session)
    async with connections.sessions.begin() as session:
        await jobs.report_progress(session, job.id, 1, 0.25, "netting", "half way")
        await jobs.report_progress(session, job.id, 1, 0.5, "netting", "")
        assert await events_of(session, job.id) == [("waiting", 0, 0.0), ("running", 1, 0.0)]
        await jobs.put_back(session, job.id, 1, "the database was away", failures=1)
    async with connections.sessions() as session:
        assert await events_of(session, job.id) == [("waiting", 0, 0.0), ("running", 1, 0.0), ("waiting", 1, 0.5)]
        last = (await session.execute(select(JobEvent).order_by(JobEvent.id.desc()).limit(1))).scalar_one()
        changed = (await session.execute(select(Job.changed_at).where(Job.id == job.id))).scalar_one()
        assert (last.kind, last.message, last.at) == ("plan", "the database was away", changed)


async def test_a_change_that_is_rolled_back_leaves_no_event(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        job = await running_job(session)
    async with connections.sessions() as session:
        await jobs.finish(session, job.id, 1, "done")
        await session.rollback()
        assert [event[0] for event in await events_of(session, job.id)] == ["waiting", "running"]


async def test_a_batch_of_claims_is_told_job_by_job(connections: Connections) -> None:
    worker = uuid7()
    async with connections.sessions.begin() as session:
        session.add(Worker(id=worker, actor="a", name="a", host="h", pid=1))
        await session.flush()
        made = [Job(kind="noop") for _ in range(50)]
        session.add_all(made)
        await session.flush()
    async with connections.sessions.begin() as session:
        await session.execute(
            update(Job).where(Job.id.in_([job.id for job in made[:30]])).values(state="running", worker=worker)
        )
        counts = text("SELECT state, count(*), count(DISTINCT job_id) FROM job_event GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in await session.execute(counts)] == [("running", 30, 30), ("waiting", 50, 50)]


async def test_events_outlive_their_job(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        job = await running_job(session)
        await session.execute(text("DELETE FROM job WHERE id = :id"), {"id": job.id})
    async with connections.sessions() as session:
        assert len(await events_of(session, job.id)) == 2
