"""Shared by the tests of this room: jobs moved by hand, dispatchers run in this process, states waited for."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text

from actors import flow, jobs
from actors.attempts import OwnerPort
from actors.dispatch import Dispatcher
from actors.owner import Connections, Outcome, Owner, Work
from actors.run import Attempt, JobRun
from db.models import Job, Source
from db.models.job import FINAL_STATES, Worker
from db.repositories import jobs as repository
from db.repositories import queue, sources

PATIENCE_S = 20.0


async def start(connections: Connections, kind: str, parameters: dict[str, Any] | None = None, **rest: Any) -> Job:
    """Start a job in a transaction of its own; a day finds one source to read, and an ingestion its own."""
    code = "inbox" if kind == "day" else (parameters or {}).get("source")
    async with connections.sessions.begin() as session:
        if code is not None and await sources.find(session, code) is None:
            session.add(Source(code=code, name=code, connector="folder"))
            await session.flush()
        job, _ = await jobs.start(session, kind, parameters, **{"requested_by": "anna", **rest})
    return job


async def get(connections: Connections, job_id: uuid.UUID) -> Job:
    """The job as it stands now."""
    async with connections.sessions() as session:
        job = await repository.get(session, job_id)
    assert job is not None
    return job


WORKER = uuid.UUID(int=7)


async def claim(connections: Connections, job_id: uuid.UUID) -> Job:
    """Begin the job's next attempt, as a dispatcher does; a running one is given back first, as after a loss."""
    async with connections.sessions.begin() as session:
        await session.merge(Worker(id=WORKER, actor="test", name="test", host="test", pid=1))
        job = await repository.get(session, job_id, lock=True)
        assert job is not None
        if job.state == "running":
            await repository.put_back(session, job.id, job.attempts, "lost")
        await session.execute(text("UPDATE job SET priority = priority + 1000 WHERE id = :id"), {"id": job_id})
    async with connections.sessions.begin() as session:
        claimed = await queue.claim(session, WORKER, 1, {job.kind: ("test", 0)})
        await session.execute(text("UPDATE job SET priority = priority - 1000 WHERE id = :id"), {"id": job_id})
    assert [each.id for each in claimed] == [job_id]
    return await get(connections, job_id)


async def end(connections: Connections, job: Job, state: str = "done", **rest: Any) -> list[Job]:
    """End the attempt and move its parent on."""
    async with connections.sessions.begin() as session:
        ended = await repository.finish(session, job.id, job.attempts, state, **rest)
        return [ended, *await flow.advance_parent(session, ended)]


def attempt_of(job: Job) -> Attempt:
    """The attempt as its owner is told of it."""
    parent = str(job.parent_id) if job.parent_id else None
    return Attempt(str(job.id), job.attempts, job.kind, job.parameters, parent)


async def run_of(connections: Connections, job: Job) -> JobRun:
    """The attempt as its owner's work is handed it."""
    run = JobRun(attempt_of(job), connections)
    run.follow(await get(connections, job.parent_id) if job.parent_id else None)
    return run


async def children(connections: Connections, parent_id: uuid.UUID) -> list[Job]:
    """A parent's children, in order."""
    async with connections.sessions() as session:
        return list(await repository.children(session, parent_id))


async def perform(connections: Connections, work: Work, job_id: uuid.UUID) -> Outcome:
    """Claim the job, have its work run one attempt, and end it as a dispatcher does when it was done."""
    job = await claim(connections, job_id)
    outcome = await Owner(work, connections).run(attempt_of(job))
    if outcome.end == "done" and not outcome.stored:
        await end(connections, job, result=outcome.result, message=outcome.message)
    return outcome


def owners_of(connections: Connections, work: Work) -> dict[str, OwnerPort]:
    """The same work for every kind of job."""
    owner = Owner(work, connections)
    return dict.fromkeys(("source", "forecasting", "planning"), owner)


async def scalar(connections: Connections, query: str, **values: Any) -> Any:
    """One value."""
    async with connections.sessions() as session:
        return (await session.execute(text(query), values)).scalar()


async def waiting_ids(connections: Connections) -> list[str]:
    """Ids of the jobs that wait, in the order they were made."""
    async with connections.sessions() as session:
        rows = await session.execute(text("SELECT id FROM job WHERE state = 'waiting' ORDER BY created_at, id"))
        return [str(job_id) for job_id in rows.scalars()]


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Wait until the condition gives something true, and return that."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not (found := await condition()):
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for: {what}"
        await asyncio.sleep(0.02)
    return found


async def until_ended(connections: Connections, job_id: uuid.UUID) -> Job:
    """Wait until the job has ended."""

    async def ended() -> Job | None:
        job = await get(connections, job_id)
        return job if job.state in FINAL_STATES else None

    found: Job = await until(ended, "the job's end")
    return found


async def until_state(connections: Connections, job_id: uuid.UUID, state: str) -> Job:
    """Wait until the job is in that state."""

    async def reached() -> Job | None:
        job = await get(connections, job_id)
        return job if job.state == state else None

    found: Job = await until(reached, f"state {state}")
    return found


@asynccontextmanager
async def dispatching(
    connections: Connections, owners: Mapping[str, OwnerPort], name: str = "dispatcher"
) -> AsyncIterator[Dispatcher]:
    """A dispatcher serving the queue in this process."""
    dispatcher = Dispatcher(connections.settings, connections, owners, name=name)
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()
        await asyncio.wait_for(task, 30)
