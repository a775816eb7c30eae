"""The job queue's port: start, cancel and retry jobs, and move a parent on when a child ends.

Everything here happens in the caller's transaction: a job exists exactly if the transaction that asked for it commits.
PgQueuer carries only job ids; the job table owns state.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from pgqueuer.queries import Queries
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from actors.kinds import KINDS, Kind
from db.copy import driver_of
from db.models.job import FINAL_STATES, Job
from db.repositories import jobs as repository

ENTRYPOINT = "job"
MAX_ATTEMPTS = 4


class UnknownKind(ValueError):
    """No such kind of job."""


class NotAllowed(ValueError):
    """The job's state does not allow what was asked."""


async def start(
    session: AsyncSession,
    kind: str,
    parameters: dict[str, Any] | None = None,
    *,
    requested_by: str,
    idempotency_key: str | None = None,
    max_attempts: int = MAX_ATTEMPTS,
) -> tuple[Job, bool]:
    """Enqueue a job; returns it and whether it is new.

    Not new is a repeat of an idempotency key, or a request that joins an equal job still waiting (for a parent: still
    running).

    Raises:
        UnknownKind: `kind` is not one of `KINDS`.
        NotAllowed: the idempotency key has started a job of another kind.
    """
    definition = KINDS.get(kind)
    if definition is None:
        raise UnknownKind(f"kind: expected one of {', '.join(KINDS)}, not {kind!r}")
    if idempotency_key and (found := await repository.find_idempotent(session, requested_by, idempotency_key)):
        if found.kind != kind:
            raise NotAllowed(f"Idempotency-Key: already used to start a {found.kind} job")
        return found, False
    key = definition.key(parameters or {})
    waiting_key = _waiting_key(key, parameters or {}) if definition.coalesce else None
    if definition.coalesce:
        running_key = key if definition.owner is None else None
        if found := await repository.find_pending(session, waiting_key=waiting_key, running_key=running_key):
            return found, False
    job = Job(
        kind=kind,
        parameters=parameters or {},
        waiting_key=waiting_key,
        running_key=key,
        requested_by=requested_by,
        idempotency_key=idempotency_key,
        max_attempts=max_attempts,
    )
    try:
        async with session.begin_nested():
            await _insert(session, job, definition)
    except IntegrityError:
        # Somebody else's equal request committed between our look and our insert.
        session.expunge(job) if job in session else None
        return await _winner(session, job, idempotency_key), False
    return job, True


def _waiting_key(key: str, parameters: dict[str, Any]) -> str:
    """Only a request with the same parameters may join a waiting job: the others would not get what they asked for."""
    return f"{key} {json.dumps(parameters, sort_keys=True, default=str)}" if parameters else key


async def _winner(session: AsyncSession, job: Job, idempotency_key: str | None) -> Job:
    found = None
    if idempotency_key:
        found = await repository.find_idempotent(session, job.requested_by, idempotency_key)
    found = found or await repository.find_pending(
        session, waiting_key=job.waiting_key, running_key=job.running_key if KINDS[job.kind].owner is None else None
    )
    if found is None:
        raise NotAllowed(f"an equal {job.kind} job was starting at the same moment; ask again")
    return found


async def _insert(session: AsyncSession, job: Job, definition: Kind) -> None:
    if definition.owner is not None:
        session.add(job)
        await session.flush()
        await enqueue(session, job.id)
        return
    job.state = "running"
    job.started_at = datetime.now(UTC)
    job.attempts = 1
    job.steps = [[kind, parameters] for kind, parameters in definition.steps]
    session.add(job)
    await session.flush()
    await _start_next_step(session, job)


async def enqueue(session: AsyncSession, job_id: uuid.UUID) -> None:
    """Put the job's id into the queue, in this session's transaction."""
    await Queries.from_asyncpg_connection(await driver_of(session)).enqueue(ENTRYPOINT, str(job_id).encode())


async def _start_next_step(session: AsyncSession, parent: Job) -> Job:
    kind, parameters = parent.steps[0]
    parent.steps = parent.steps[1:]
    parent.step = kind
    child = Job(
        kind=kind,
        parameters={**parameters, **parent.parameters.get(kind, {})},
        running_key=KINDS[kind].key(parameters),
        parent_id=parent.id,
        requested_by=parent.requested_by,
        max_attempts=parent.max_attempts,
    )
    session.add(child)
    await session.flush()
    await enqueue(session, child.id)
    return child


async def advance_parent(session: AsyncSession, child: Job) -> list[Job]:
    """Move the parent of a child that has just ended; returns the jobs that changed, for their events."""
    if child.parent_id is None:
        return []
    parent = await repository.get(session, child.parent_id, lock=True)
    if parent is None or parent.state != "running":
        return []
    changed = [parent]
    done = [job for job in await repository.children(session, parent.id) if job.state == "done"]
    parent.progress = len(done) / (len(done) + len(parent.steps) + (child.state != "done"))
    if child.state == "done" and parent.steps and not parent.cancel_requested:
        changed.append(await _start_next_step(session, parent))
        return changed
    # A step that was done before it heard of the cancellation is the last one all the same.
    parent.state = "cancelled" if child.state == "done" and parent.steps else child.state
    parent.step = "" if child.state == "done" else child.kind
    parent.finished_at = datetime.now(UTC)
    parent.result = {job.kind: job.result for job in done}
    parent.error = f"{child.kind}: {child.error}" if child.error else None
    await session.flush()
    return changed


async def cancel(session: AsyncSession, job_id: uuid.UUID) -> list[Job]:
    """Cancel a waiting job at once, and ask a running one to stop at its next progress report.

    Raises:
        NotAllowed: the job has ended already.
    """
    # Children before their parent, as the end of a run locks them; else the two could wait for each other.
    children = await repository.unfinished_children(session, job_id)
    job = await repository.get(session, job_id, lock=True)
    if job is None or job.state in FINAL_STATES:
        raise NotAllowed(f"the job is {job.state if job else 'unknown'} and cannot be cancelled")
    if KINDS[job.kind].owner is not None:
        return await _cancel_one(session, job)
    job.cancel_requested = True
    changed = []
    # None there: a step has just ended while we waited for its row; its successor is not locked by anybody yet.
    for child in children or await repository.unfinished_children(session, job_id):
        changed += await _cancel_one(session, child)
    return changed


async def _cancel_one(session: AsyncSession, job: Job) -> list[Job]:
    job.cancel_requested = True
    if job.state == "waiting":
        job.state = "cancelled"
        job.finished_at = datetime.now(UTC)
    await session.flush()
    return [job, *(await advance_parent(session, job) if job.state == "cancelled" else [])]


async def retry(session: AsyncSession, job_id: uuid.UUID) -> list[Job]:
    """Let a failed or cancelled job run again from the start; for a parent, from the child that ended it.

    Raises:
        NotAllowed: the job has not failed and was not cancelled.
    """
    job = await repository.get(session, job_id, lock=True)
    if job is None or job.state not in ("failed", "cancelled"):
        raise NotAllowed(f"the job is {job.state if job else 'unknown'}; only failed or cancelled jobs can be retried")
    if KINDS[job.kind].owner is None:
        ended = [child for child in await repository.children(session, job.id) if child.state == job.state]
        if ended:
            return await retry(session, ended[-1].id)
        _reset(job, "running")  # cancelled between two steps
        return [job, await _start_next_step(session, job)]
    _reset(job, "waiting")
    changed = [job]
    parent = await repository.get(session, job.parent_id, lock=True) if job.parent_id else None
    if parent is not None and parent.state in ("failed", "cancelled"):
        _reset(parent, "running")
        changed.append(parent)
    await session.flush()
    await enqueue(session, job.id)
    return changed


def _reset(job: Job, state: str) -> None:
    job.state = state
    # Attempts go on counting: a run thought dead, back from an earlier attempt, must not pass for the new one.
    job.max_attempts = max(job.max_attempts, job.attempts + MAX_ATTEMPTS)
    job.waiting_key = None
    job.cancel_requested = False
    job.error = job.traceback = job.finished_at = None
