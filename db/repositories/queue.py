"""SQL of the queue: which waiting jobs may run now, whose they are while they run, and what becomes of lost ones.

A waiting row is the queue entry itself. One advisory lock serialises claims, so that limits and keys hold exactly
however many dispatchers ask; each claim takes a whole batch, which keeps the lock a matter of milliseconds.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Integer, Text, Uuid, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.job import Job, Worker

NEWS = "fmrp_job_waiting"
CANCELLATIONS = "fmrp_job_cancelled"
# Jobs with a key are looked at this far down the line of their kind for ones whose key is free.
KEYED_WINDOW = 1000
# Lost workers from which on a job runs alone at its owner.
SUSPECT = 2
# Stands for an owner that runs each of its jobs in a process of its own: nothing runs beside a suspect there anyway.
NO_NEIGHBOURS = ""

_CLAIM_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('fmrp-claim'))")
_CLAIM_SQL = f"""
    WITH running AS MATERIALIZED (
        SELECT kind, count(*) AS count, bool_or(losses >= {SUSPECT}) AS is_suspect
        FROM job WHERE state = 'running' AND worker IS NOT NULL GROUP BY kind
    ), wanted AS MATERIALIZED (
        SELECT asked.kind, asked.owner, limits.most, coalesce(running.count, 0) AS running
        FROM unnest(:kinds, :owners, :limits) AS asked (kind, owner, most)
        LEFT JOIN kind_control ON kind_control.kind = asked.kind
        LEFT JOIN running ON running.kind = asked.kind
        CROSS JOIN LATERAL (SELECT coalesce(kind_control.concurrency, asked.most) AS most) AS limits
        WHERE NOT coalesce(kind_control.paused, false)
          -- Who was taken for dead, or asked to drain, begins nothing.
          AND EXISTS (SELECT FROM worker WHERE id = :worker AND state = 'serving')
    ), suspect AS MATERIALIZED (
        -- One that has lost its worker repeatedly runs alone, so that what it takes down is nobody else's attempt.
        SELECT DISTINCT ON (wanted.owner) wanted.owner, job.id, job.kind, job.priority, job.run_at, job.running_key
        FROM wanted JOIN job ON job.kind = wanted.kind
        WHERE wanted.owner <> '{NO_NEIGHBOURS}' AND job.state = 'waiting' AND job.losses >= {SUSPECT}
          AND (job.run_at <= now() OR job.run_at = job.created_at)
        ORDER BY wanted.owner, job.priority DESC, job.run_at, job.id
    ), busy_owner AS MATERIALIZED (
        SELECT asked.owner, bool_or(running.is_suspect) AS is_suspect
        FROM unnest(:kinds, :owners) AS asked (kind, owner) JOIN running USING (kind)
        WHERE asked.owner <> '{NO_NEIGHBOURS}' GROUP BY asked.owner
    ), allowed AS MATERIALIZED (
        SELECT kind, CASE most WHEN 0 THEN :room ELSE least(:room, most - running) END AS room FROM wanted
        WHERE owner NOT IN (SELECT owner FROM suspect) AND owner NOT IN (SELECT owner FROM busy_owner WHERE is_suspect)
    ), candidate AS (
        SELECT allowed.room, line.* FROM allowed CROSS JOIN LATERAL (
            SELECT id, kind, priority, run_at, running_key FROM job
            WHERE state = 'waiting' AND kind = allowed.kind AND running_key IS NULL
              -- What was to run at once stays due though the server's clock is set back.
              AND (run_at <= now() OR run_at = created_at)
            ORDER BY priority DESC, run_at, id LIMIT allowed.room
        ) AS line WHERE allowed.room > 0
        UNION ALL
        SELECT allowed.room, line.* FROM allowed CROSS JOIN LATERAL (
            SELECT id, kind, priority, run_at, running_key FROM job AS keyed
            WHERE state = 'waiting' AND kind = allowed.kind AND running_key IS NOT NULL
              AND (run_at <= now() OR run_at = created_at)
              AND NOT EXISTS (
                  SELECT FROM job AS busy WHERE busy.state = 'running' AND busy.running_key = keyed.running_key
              )
            ORDER BY priority DESC, run_at, id LIMIT {KEYED_WINDOW}
        ) AS line WHERE allowed.room > 0
        UNION ALL
        SELECT 1 AS room, id, kind, priority, run_at, running_key FROM suspect
        WHERE owner NOT IN (SELECT owner FROM busy_owner)
    ), first_of_key AS (
        SELECT *, row_number() OVER (
            PARTITION BY coalesce(running_key, id::text) ORDER BY priority DESC, run_at, id
        ) AS place FROM candidate
    ), within_kind AS (
        SELECT *, row_number() OVER (PARTITION BY kind ORDER BY priority DESC, run_at, id) AS place_in_kind
        FROM first_of_key WHERE place = 1
    ), chosen AS (
        SELECT id FROM within_kind WHERE place_in_kind <= room ORDER BY priority DESC, run_at, id LIMIT :room
    ), locked AS (
        SELECT job.id FROM job JOIN chosen USING (id) WHERE job.state = 'waiting' FOR UPDATE OF job SKIP LOCKED
    )
    UPDATE job SET state = 'running', worker = :worker, attempts = attempts + 1,
        started_at = coalesce(started_at, now()), progress = 0, rows_per_s = NULL, step = 'starting', message = '',
        changed_at = now()
    FROM locked WHERE job.id = locked.id
    RETURNING job.id, job.attempts, job.failures, job.losses, job.max_attempts, job.kind, job.priority, job.parameters,
        job.parent_id, job.trace_context, extract(epoch FROM now() - job.run_at)::float8 AS waited_s,
        job.changed_at
    """
_CLAIM = (
    text(_CLAIM_SQL)
    .bindparams(
        bindparam("kinds", type_=ARRAY(Text)),
        bindparam("owners", type_=ARRAY(Text)),
        bindparam("limits", type_=ARRAY(Integer)),
        bindparam("worker", type_=Uuid),
    )
    .columns(parameters=JSONB)
)
_END = text(
    """
    UPDATE job SET state = 'done', result = ended.result::jsonb, message = ended.message, progress = 1, step = '',
        error = NULL, traceback = NULL, worker = NULL, finished_at = now(), changed_at = now()
    FROM unnest(:ids, :attempts, :results, :messages) AS ended (id, attempt, result, message)
    WHERE job.id = ended.id AND job.attempts = ended.attempt AND job.state = 'running'
    RETURNING job.id, job.changed_at
    """
).bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("attempts", type_=ARRAY(Integer)),
    bindparam("results", type_=ARRAY(Text)),
    bindparam("messages", type_=ARRAY(Text)),
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """One attempt that has just begun. `waited_s` is how long the job had been due."""

    id: uuid.UUID
    attempts: int
    failures: int
    losses: int
    max_attempts: int
    kind: str
    priority: int
    parameters: dict[str, Any]
    parent_id: uuid.UUID | None
    trace_context: str | None
    waited_s: float
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """An attempt that ended well and has nothing to store beside its end."""

    id: uuid.UUID
    attempt: int
    result: dict[str, Any]
    message: str


async def claim(
    session: AsyncSession, worker: uuid.UUID, room: int, kinds: Mapping[str, tuple[str, int]]
) -> list[Claimed]:
    """Begin up to `room` attempts for this worker, most urgent first.

    `kinds` are those the worker can run, with their owner and how many may run at once in the whole system (0: any
    number); what an operator has set comes first, and a paused kind is left waiting. A job that has lost its workers
    repeatedly runs alone at its owner, unless that has NO_NEIGHBOURS. Needs a transaction of its own.
    """
    await session.execute(_CLAIM_LOCK)
    owners, limits = zip(*kinds.values(), strict=True) if kinds else ((), ())
    asked = {"worker": worker, "room": room, "kinds": list(kinds), "owners": list(owners), "limits": list(limits)}
    claimed = [Claimed(*row) for row in await session.execute(_CLAIM, asked)]
    return sorted(claimed, key=lambda job: (-job.priority, -job.waited_s, job.id))


async def end(session: AsyncSession, ended: Sequence[Done]) -> dict[uuid.UUID, datetime]:
    """End many attempts as done in one statement; returns those that still were theirs to end, and when that was."""
    columns = {
        "ids": [each.id for each in ended],
        "attempts": [each.attempt for each in ended],
        "results": [json.dumps(each.result) for each in ended],
        "messages": [each.message for each in ended],
    }
    return {row[0]: row[1] for row in await session.execute(_END, columns)}


async def add_many(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    """Insert many waiting jobs at once; each row names its columns."""
    if rows:
        await session.execute(insert(Job), rows)


async def announce(session: AsyncSession, channel: str = NEWS, payload: str = "") -> None:
    """Wake the dispatchers once this transaction commits."""
    await session.execute(select(func.pg_notify(channel, payload)))


async def register(session: AsyncSession, worker: Worker, *, is_new_life: bool) -> bool:
    """Enter a dispatcher. A new life of its actor strikes the old one off; False when another has taken its place.

    Only a process that has just been started is a new life. One that was cut off and comes back may find that its
    actor runs elsewhere by now, and must give way: two would strike each other off for ever.
    """
    others = Worker.actor == worker.actor
    if is_new_life:
        await session.execute(delete(Worker).where(others))
    elif (await session.execute(select(Worker.id).where(others).limit(1))).first() is not None:
        return False
    session.add(worker)
    return True


async def beat(session: AsyncSession, worker: uuid.UUID) -> str | None:
    """Say that the worker lives; returns its state, None when it was taken for dead and its jobs given to others."""
    query = (
        update(Worker)
        .where(Worker.id == worker)
        .values(beat=Worker.beat + 1, heartbeat_at=func.now())
        .returning(Worker.state)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def workers(session: AsyncSession) -> Sequence[Worker]:
    """All dispatchers that have not been taken for dead."""
    return (await session.execute(select(Worker).order_by(Worker.started_at))).scalars().all()


async def bury(session: AsyncSession, dead: Mapping[uuid.UUID, int]) -> int:
    """Strike workers off, each unless it has beaten since the count given; returns how many went."""
    gone = 0
    for worker, seen in dead.items():
        query = delete(Worker).where(Worker.id == worker, Worker.beat == seen).returning(Worker.id)
        gone += len((await session.execute(query)).scalars().all())
    return gone


async def leave(session: AsyncSession, worker: uuid.UUID) -> None:
    """Strike off a worker that stops by itself."""
    await session.execute(delete(Worker).where(Worker.id == worker))


async def drain(session: AsyncSession, *, host: str | None = None, name: str | None = None) -> int:
    """Ask dispatchers (of one host, of one name, or all) to take no more jobs and end; returns how many were asked."""
    query = update(Worker).values(state="draining")
    if host is not None:
        query = query.where(Worker.host == host)
    if name is not None:
        query = query.where(Worker.name == name)
    return len((await session.execute(query.returning(Worker.id))).scalars().all())


async def orphans(session: AsyncSession, limit: int = 500) -> Sequence[Job]:
    """Running jobs whose worker is no more, locked; those another transaction is at are left to it."""
    query = (
        select(Job)
        .where(Job.state == "running", Job.worker.is_not(None), ~select(Worker).where(Worker.id == Job.worker).exists())
        .order_by(Job.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await session.execute(query)).scalars().all()


async def books(session: AsyncSession, worker: uuid.UUID) -> list[tuple[uuid.UUID, int, bool]]:
    """The worker's running jobs: id, attempt, and whether somebody wants it cancelled."""
    query = select(Job.id, Job.attempts, Job.cancel_requested).where(Job.state == "running", Job.worker == worker)
    return [(row[0], row[1], row[2]) for row in await session.execute(query)]
