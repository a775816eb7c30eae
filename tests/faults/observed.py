"""What the fault tests look at: jobs, their beginnings and their effects, in the database itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from actors import jobs
from actors.owner import Connections
from db.models import Job

ORPHAN_LIMIT_S = 15.0


@dataclass(frozen=True)
class Account:
    """What became of a set of jobs."""

    missing: int
    double: int
    states: dict[str, int]
    reasons: tuple[str, ...] = ()

    @property
    def is_exactly_once(self) -> bool:
        """Every job done, every effect there once."""
        return self.missing == 0 and self.double == 0 and set(self.states) <= {"done"}


async def start(
    connections: Connections, kind: str, count: int = 1, *, max_attempts: int = jobs.MAX_ATTEMPTS, **parameters: Any
) -> list[uuid.UUID]:
    """Start jobs in one transaction; asked again while the database is away, which may not start them twice."""
    key = uuid.uuid4().hex

    async def attempt() -> list[uuid.UUID]:
        async with connections.sessions.begin() as session:
            started = [
                await jobs.start(
                    session,
                    kind,
                    parameters,
                    requested_by="faults",
                    idempotency_key=f"{key}-{number}",
                    max_attempts=max_attempts,
                )
                for number in range(count)
            ]
        return [job.id for job, _ in started]

    found: list[uuid.UUID] = await until(attempt, f"the start of {kind}", 60)
    return found


async def rows(connections: Connections, query: str, **values: Any) -> list[Any]:
    """Rows of a query."""
    async with connections.sessions() as session:
        return list(await session.execute(text(query), values))


async def job(connections: Connections, job_id: uuid.UUID) -> Job:
    """The job as it stands."""
    async with connections.sessions() as session:
        found = await session.get(Job, job_id)
    assert found is not None
    return found


async def until(condition: Callable[[], Awaitable[Any]], what: str, patience_s: float) -> Any:
    """Wait until the condition gives something true, and return that; a store that is away gives nothing."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while True:
        reason: object = "nothing yet"
        try:
            if found := await condition():
                return found
        except (SQLAlchemyError, OSError) as error:
            reason = error
        assert loop.time() < deadline, f"waited {patience_s:.0f} s in vain for {what}: {reason}"
        await asyncio.sleep(0.1)


async def until_begun(connections: Connections, job_id: uuid.UUID, attempt: int = 1, patience_s: float = 60) -> Any:
    """Wait for a beginning of that or a later attempt: its attempt, pid and time by the database's clock."""
    query = "SELECT attempt, pid, at FROM fault_begin WHERE job_id = :job AND attempt >= :attempt ORDER BY at LIMIT 1"

    async def begun() -> Any:
        return next(iter(await rows(connections, query, job=job_id, attempt=attempt)), None)

    return await until(begun, f"attempt {attempt}", patience_s)


async def until_ended(connections: Connections, ids: Iterable[uuid.UUID], patience_s: float = 60) -> Account:
    """Wait until all have ended; fails with those that are stuck."""
    wanted = list(ids)
    query = "SELECT count(*) FROM job WHERE id = ANY(:ids) AND state IN ('waiting', 'running')"

    async def ended() -> bool:
        return (await rows(connections, query, ids=wanted))[0][0] == 0

    await until(ended, f"the end of {len(wanted)} jobs", patience_s)
    return await account(connections, wanted)


async def account(connections: Connections, ids: list[uuid.UUID]) -> Account:
    """Count effects and states."""
    effects = await rows(
        connections, "SELECT job_id, count(*) FROM fault_effect WHERE job_id = ANY(:ids) GROUP BY job_id", ids=ids
    )
    states = await rows(connections, "SELECT state, count(*) FROM job WHERE id = ANY(:ids) GROUP BY state", ids=ids)
    reasons = await rows(
        connections,
        "SELECT DISTINCT left(l.message, 200) FROM job_log l JOIN job j ON j.id = l.job_id"
        " WHERE j.id = ANY(:ids) AND j.state <> 'done' LIMIT 5",
        ids=ids,
    )
    return Account(
        missing=len(ids) - len(effects),
        double=sum(count - 1 for _, count in effects),
        states={state: count for state, count in states},  # noqa: C416 - rows are no pairs to a dict
        reasons=tuple(row[0] for row in reasons),
    )


async def database_now(connections: Connections) -> datetime:
    """The database's clock."""
    now: datetime = (await rows(connections, "SELECT clock_timestamp()"))[0][0]
    return now
