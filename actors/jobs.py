"""The job queue's port: start, cancel and retry jobs, and switch their kinds.

Everything here happens in the caller's transaction: a job exists exactly if the transaction that asked for it commits,
and the dispatchers hear of it with that commit.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from actors import flow
from actors.job_sources import named_source
from actors.kinds import KINDS
from actors.telemetry import traceparent
from db.models.job import DEAD_STATES, FINAL_STATES, Job
from db.repositories import jobs as repository
from db.repositories import queue

MAX_ATTEMPTS = 4
RETRIABLE_STATES = (*DEAD_STATES, "cancelled")


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
    priority: int = 0,
    run_at: datetime | None = None,
    delay_s: float = 0.0,
    schedule_id: uuid.UUID | None = None,
) -> tuple[Job, bool]:
    """Enqueue a job; returns it and whether it is new. Higher `priority` goes first; `run_at` or `delay_s` defer it.

    Not new is a repeat of an idempotency key, or a request that joins an equal job still waiting (for a parent: still
    running).

    Raises:
        UnknownKind: `kind` is not one of `KINDS`.
        UnknownSource, SourceOff: the source it names is not there, or switched off.
        NotAllowed: the idempotency key has started another kind of job, or one with other parameters.
    """
    definition = KINDS.get(kind)
    if definition is None:
        raise UnknownKind(f"kind: expected one of {', '.join(KINDS)}, not {kind!r}")
    asked = await named_source(session, definition, parameters or {})
    key = definition.key(asked)
    job = Job(
        kind=kind,
        parameters=asked,
        waiting_key=_waiting_key(key or kind, asked) if definition.joins(asked) else None,
        running_key=key,
        requested_by=requested_by,
        idempotency_key=idempotency_key,
        max_attempts=max_attempts,
        priority=priority,
        schedule_id=schedule_id,
        trace_context=traceparent(),
    )
    if (found := await _equal(session, job)) is not None:
        return found, False
    if run_at is not None:
        job.run_at = run_at
    elif delay_s > 0:
        job.run_at = await repository.clock(session) + timedelta(seconds=delay_s)
    return await _insert_once(session, job)


async def _equal(session: AsyncSession, job: Job) -> Job | None:
    """The job that the same idempotency key has started, or that a request for this one joins."""
    if job.idempotency_key is not None:
        found = await repository.find_idempotent(session, job.requested_by, job.idempotency_key)
        if found is not None and (found.kind, found.parameters) != (job.kind, job.parameters):
            raise NotAllowed(f"Idempotency-Key: already used to start another {found.kind} job")
        if found is not None:
            return found
    if job.waiting_key is None:
        return None
    running_key = job.running_key if KINDS[job.kind].owner is None else None
    return await repository.find_pending(session, waiting_key=job.waiting_key, running_key=running_key)


async def _insert_once(session: AsyncSession, job: Job) -> tuple[Job, bool]:
    if job.waiting_key is None and job.idempotency_key is None and KINDS[job.kind].owner is not None:
        await _insert(session, job)  # equal to no other job
        return job, True
    try:
        async with session.begin_nested():
            await _insert(session, job)
    except IntegrityError:
        # Somebody else's equal request committed between our look and our insert.
        session.expunge(job) if job in session else None
        if (winner := await _equal(session, job)) is None:
            raise NotAllowed(f"an equal {job.kind} job was starting at the same moment; ask again") from None
        return winner, False
    return job, True


def _waiting_key(key: str, parameters: dict[str, Any]) -> str:
    """Only a request with the same parameters may join a waiting job: the others would not get what they asked for."""
    return f"{key} {json.dumps(parameters, sort_keys=True, default=str)}" if parameters else key


async def _insert(session: AsyncSession, job: Job) -> None:
    """A job waits for a dispatcher; a parent runs from the start, as what waits is its first stage."""
    if KINDS[job.kind].owner is None:
        job.state = "running"
        job.started_at = await repository.clock(session)
        job.attempts = 1
        job.stage = 0
        job.steps = await flow.stages_of(session, job.kind, job.parameters)
    session.add(job)
    await session.flush()
    if job.state == "running":
        await flow.start_stage(session, job)
        await session.flush()
    else:
        await queue.announce(session)


async def start_many(
    session: AsyncSession,
    kind: str,
    parameters: Iterable[dict[str, Any]],
    *,
    requested_by: str,
    max_attempts: int = MAX_ATTEMPTS,
    priority: int = 0,
) -> list[uuid.UUID]:
    """Enqueue one job for each set of parameters, in one statement; returns their ids in the same order.

    Raises:
        UnknownKind: `kind` is none, or one whose requests join each other or lead others.
    """
    definition = KINDS.get(kind)
    if definition is None or definition.owner is None or definition.coalesce:
        raise UnknownKind(f"kind: {kind!r} cannot be started in bulk")
    ids: list[uuid.UUID] = []
    rows = []
    for each in parameters:
        ids.append(uuid7())
        row = {
            "id": ids[-1],
            "kind": kind,
            "parameters": each,
            "running_key": definition.key(each),
            "requested_by": requested_by,
            "max_attempts": max_attempts,
            "priority": priority,
            "trace_context": traceparent(),
        }
        rows.append(row)
    await queue.add_many(session, rows)
    await queue.announce(session)
    return ids


async def cancel(session: AsyncSession, job_id: uuid.UUID) -> list[Job]:
    """Cancel a waiting job at once, and have the dispatcher of a running one stop its work.

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
    job.changed_at = now = await repository.clock(session)
    if job.state == "waiting":
        job.state = "cancelled"
        job.finished_at = now
    else:
        await queue.announce(session, queue.CANCELLATIONS, str(job.id))
    await session.flush()
    return [job, *(await flow.advance_parent(session, job) if job.state == "cancelled" else [])]


async def retry(session: AsyncSession, job_id: uuid.UUID) -> list[Job]:
    """Let a dead or cancelled job run again from the start; a parent goes on at the jobs that ended it.

    Raises:
        NotAllowed: the job has not failed and was not cancelled.
    """
    job = await repository.get(session, job_id, lock=True)
    if job is None or job.state not in RETRIABLE_STATES:
        raise NotAllowed(f"the job is {job.state if job else 'unknown'}; only failed or cancelled jobs can be retried")
    if KINDS[job.kind].owner is None:
        return await _retry_parent(session, job)
    now = await repository.clock(session)
    _reset(job, "waiting", now)
    changed = [job]
    parent = await repository.get(session, job.parent_id, lock=True) if job.parent_id else None
    if parent is not None and parent.state in RETRIABLE_STATES:
        _reset(parent, "running", now)
        changed.append(parent)
    await session.flush()
    await queue.announce(session)
    return changed


async def _retry_parent(session: AsyncSession, parent: Job) -> list[Job]:
    ended = [
        child
        for child in await repository.children(session, parent.id, parent.stage)
        if child.state in RETRIABLE_STATES
    ]
    changed: list[Job] = []
    for child in ended:
        changed += [each for each in await retry(session, child.id) if each not in changed]
    if not ended:  # cancelled between two stages
        _reset(parent, "running", await repository.clock(session))
        parent.stage += 1
        await session.flush()
        changed = [parent, *await flow.start_stage(session, parent)]
        await session.flush()
    return changed


async def retry_dead(session: AsyncSession, *, kind: str | None = None, limit: int = 500) -> list[Job]:
    """Let the oldest dead letters (of one kind) run again; a dead parent takes its children with it."""
    changed = []
    for job in await repository.dead(session, kind=kind, limit=limit):
        changed += await retry(session, job.id)
    return changed


def _reset(job: Job, state: str, now: datetime) -> None:
    # Attempts go on counting: a run thought dead, back from an earlier attempt, must not pass for the new one.
    job.state = state
    job.failures = job.losses = job.retry_step = 0
    job.run_at = job.changed_at = now
    job.waiting_key = job.worker = None
    job.cancel_requested = False
    job.error = job.traceback = job.finished_at = None


async def set_kind(
    session: AsyncSession, kind: str, *, changed_by: str, paused: bool | None = None, **concurrency: int | None
) -> None:
    """Pause or resume a kind, or set how many of it run at once (`concurrency`; None: as the code says).

    What runs already goes on; a paused kind only starts nothing.

    Raises:
        UnknownKind: `kind` is not one that dispatchers run.
    """
    if kind not in KINDS or KINDS[kind].owner is None:
        known = ", ".join(name for name, each in KINDS.items() if each.owner)
        raise UnknownKind(f"kind: expected one of {known}, not {kind!r}")
    values: dict[str, Any] = dict(concurrency) if paused is None else {"paused": paused, **concurrency}
    await repository.set_control(session, kind, changed_by, **values)
    await queue.announce(session)
