"""Shared by the tests of this room: jobs moved by hand, dispatchers run in this process, states waited for."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text

from actors import jobs
from actors.dispatch import Dispatcher, RunAttempt
from actors.owner import Connections, Outcome, Owner, Work
from actors.run import JobRun
from db.models import Job
from db.models.job import FINAL_STATES
from db.repositories import jobs as repository

PATIENCE_S = 20.0


async def start(connections: Connections, kind: str, parameters: dict[str, Any] | None = None, **rest: Any) -> Job:
    """Start a job in a transaction of its own."""
    async with connections.sessions.begin() as session:
        job, _ = await jobs.start(session, kind, parameters, **{"requested_by": "anna", **rest})
    return job


async def get(connections: Connections, job_id: uuid.UUID) -> Job:
    """The job as it stands now."""
    async with connections.sessions() as session:
        job = await repository.get(session, job_id)
    assert job is not None
    return job


async def claim(connections: Connections, job_id: uuid.UUID) -> Job:
    """Begin the job's next attempt, as a dispatcher does."""
    async with connections.sessions.begin() as session:
        job = await repository.claim(session, job_id)
    assert job is not None
    return job


async def end(connections: Connections, job: Job, state: str = "done", **rest: Any) -> list[Job]:
    """End the attempt and move its parent on."""
    async with connections.sessions.begin() as session:
        ended = await repository.finish(session, job.id, job.attempts, state, **rest)
        return [ended, *await jobs.advance_parent(session, ended)]


async def run_of(connections: Connections, job: Job) -> JobRun:
    """The attempt as its owner would be handed it."""
    parent = await get(connections, job.parent_id) if job.parent_id else None
    return JobRun(job, parent, connections.sessions, connections.events)


async def children(connections: Connections, parent_id: uuid.UUID) -> list[Job]:
    """A parent's children, in order."""
    async with connections.sessions() as session:
        return list(await repository.children(session, parent_id))


async def perform(connections: Connections, work: Work, job_id: uuid.UUID) -> Outcome:
    """Claim the job and have its work run one attempt."""
    job = await claim(connections, job_id)
    return await Owner(work, connections).run(str(job.id), job.attempts)


async def scalar(connections: Connections, query: str, **values: Any) -> Any:
    """One value."""
    async with connections.sessions() as session:
        return (await session.execute(text(query), values)).scalar()


async def queued_ids(connections: Connections) -> list[str]:
    """Job ids in the queue, one for each delivery to come."""
    async with connections.sessions() as session:
        rows = await session.execute(text("SELECT payload FROM pgqueuer ORDER BY id"))
        return [bytes(payload).decode() for payload in rows.scalars()]


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


async def until_queue_is_empty(connections: Connections) -> None:
    """Wait until every delivery is acknowledged."""

    async def is_empty() -> bool:
        return not await queued_ids(connections)

    await until(is_empty, "an empty queue")


@asynccontextmanager
async def dispatching(connections: Connections, owners: Mapping[str, RunAttempt]) -> AsyncIterator[Dispatcher]:
    """A dispatcher serving the queue in this process."""
    dispatcher = Dispatcher(connections.settings, connections, owners)
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()
        await asyncio.wait_for(task, 10)
