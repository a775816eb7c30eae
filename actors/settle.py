"""How attempts end: what ended well and stored nothing is written in batches; every other end is decided one by one.

An end is tried until the database takes it or says that the job has moved on: a database that is away for a minute
costs no attempt its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from actors import failure_alerts, flow, metrics
from actors.events import Event, job_event, progress_event
from actors.owner import Connections, Outcome, resolve
from actors.retry import GiveUp, Retry, decide, decide_loss, is_passing
from actors.retry_plan import NO_STEPS, retry_plan
from db.models.job import Job, source_of
from db.repositories import jobs as repository
from db.repositories import queue
from db.repositories.queue import Claimed, Done
from settings import Settings

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
LARGEST_BATCH = 500

log = structlog.get_logger(__name__)


def state_event(job: Claimed, state: str, changed_at: datetime, **rest: Any) -> Event:
    """A claimed job's change, without asking the database for the row."""
    return progress_event(
        "job.changed",
        job.id,
        job.parent_id,
        job.kind,
        state=state,
        source=source_of(job.parameters),
        attempt=job.attempts,
        changed_at=changed_at,
        **rest,
    )


Ended = tuple[Claimed, Outcome, asyncio.Future[None]]


class Settlement:
    """Writes the ends of a dispatcher's attempts."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._done: list[Ended] = []
        self._more = asyncio.Event()

    async def run(self) -> None:
        """Write batches until cancelled; while one is written the next one gathers."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._done:
                batch, self._done = self._done[:LARGEST_BATCH], self._done[LARGEST_BATCH:]
                await self._settle_batch(batch)

    async def _settle_batch(self, batch: list[Ended]) -> None:
        """Write a batch. One result the database refuses must not hold up the others: then each is written alone."""
        try:
            await self._until_written(lambda session: self._write_done(session, batch))
        except Exception as error:  # noqa: BLE001 - told below, to the one whose fault it is
            log.warning("batch of ends refused", count=len(batch), reason=str(error))
            for ended in batch:
                await self._settle_alone(ended)
            return
        for _, _, written in batch:
            resolve(written)

    async def _settle_alone(self, ended: Ended) -> None:
        job, outcome, written = ended
        try:
            await self._until_written(lambda session: self._write_one(session, job, outcome))
        except Exception as error:  # noqa: BLE001 - whatever it is about this result, it is the job's
            refused = Outcome("failed", f"its result cannot be stored: {error}")
            await self._until_written(lambda session: self._write_one(session, job, refused))
        resolve(written)

    async def settle(self, job: Claimed, outcome: Outcome) -> None:
        """Write an attempt's end; returns once it is in the database, or turns out to be nobody's business any more."""
        if outcome.stored or outcome.end == "superseded":
            return
        if outcome.end == "done" and job.parent_id is None:
            written = asyncio.get_running_loop().create_future()
            self._done.append((job, outcome, written))
            self._more.set()
            await written
            return
        await self._until_written(lambda session: self._write_one(session, job, outcome))

    async def lost(self, job: Claimed, reason: str) -> None:
        """The attempt's process is gone: the job waits for another, or is held when it took too many down."""
        await self._until_written(lambda session: self._write_lost(session, job, reason))

    async def hand_back(self, job: Claimed) -> None:
        """This dispatcher stops before the attempt has ended: another one begins anew, and nobody is blamed."""

        async def write(session: AsyncSession) -> list[Event]:
            job_now = await repository.put_back(session, job.id, job.attempts, "handed on by a stopping dispatcher")
            await queue.announce(session)
            return [job_event(job_now)] if job_now else []

        await self._until_written(write)

    async def _until_written(self, write: Callable[[AsyncSession], Awaitable[list[Event]]]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with self._connections.sessions.begin() as session:
                    events = await write(session)
                break
            except repository.Superseded:
                return
            except Exception as error:
                if not is_passing(error):
                    raise
                log.warning("end of an attempt not written yet", reason=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        await self._connections.tell(events)

    async def _write_done(self, session: AsyncSession, batch: list[Ended]) -> list[Event]:
        ended = [Done(job.id, job.attempts, outcome.result, outcome.message) for job, outcome, _ in batch]
        written = await queue.end(session, ended)
        return [
            state_event(job, "done", written[job.id], progress=1.0, message=outcome.message)
            for job, outcome, _ in batch
            if job.id in written
        ]

    async def _write_one(self, session: AsyncSession, job: Claimed, outcome: Outcome) -> list[Event]:
        failed = outcome.end == "failed"
        if failed:
            await repository.write_log(session, [_line(job, outcome.traceback or outcome.error or "failed")])
            if (waits := await self._put_back(session, job, outcome)) is not None:
                return _events(waits)
        ended = await repository.finish(
            session,
            job.id,
            job.attempts,
            outcome.end,
            result=outcome.result or None,
            message=outcome.message,
            error=outcome.error,
            traceback=outcome.traceback,
            failures=int(failed),
        )
        await failure_alerts.job_ended(session, ended, self._connections.settings)
        return _events(ended, *await flow.advance_parent(session, ended))

    async def _put_back(self, session: AsyncSession, job: Claimed, outcome: Outcome) -> Job | None:
        """Let a failed job wait for its next attempt; None when there is to be none."""
        plan = await retry_plan(session, job.id, self._connections.settings) if outcome.passing else NO_STEPS
        match decide(
            outcome.passing,
            job.failures + 1,
            job.max_attempts,
            source_wait_s=outcome.source_wait_s,
            step_in_s=plan.in_s,
            used_steps=plan.used,
        ):
            case GiveUp():
                return None
            case Retry(delay_s, takes_step):
                pass
        when = f" {plan.told(delay_s)}" if takes_step else ""
        waits = await repository.put_back(
            session,
            job.id,
            job.attempts,
            f"will retry{when}: {outcome.error}",
            delay_s=delay_s,
            failures=1,
            traceback=outcome.traceback,
            retry_step=plan.used_then if takes_step else None,
        )
        if waits is None:
            raise repository.Superseded(f"job {job.id} attempt {job.attempts}")
        metrics.job_retried(job.kind)
        return waits

    async def _write_lost(self, session: AsyncSession, job: Claimed, reason: str) -> list[Event]:
        current = await repository.get(session, job.id, lock=True)
        if current is None or current.attempts != job.attempts or current.state != "running":
            return []
        return await give_back(session, current, reason, self._connections.settings)


async def give_back(session: AsyncSession, job: Job, reason: str, settings: Settings) -> list[Event]:
    """What becomes of a running job whose process is gone. `job` is locked; returns the events of what changed."""
    metrics.attempt_lost(job.kind)
    await repository.write_log(session, [_line(job, reason, "warning")])
    if job.cancel_requested:
        ended = await repository.finish(session, job.id, job.attempts, "cancelled", losses=1)
        return _events(ended, *await flow.advance_parent(session, ended))
    match decide_loss(job.losses + 1, settings.job_max_losses):
        case Retry(delay_s):
            waits = await repository.put_back(session, job.id, job.attempts, reason, delay_s=delay_s, losses=1)
            return _events(waits)
        case GiveUp():
            error = f"it took its worker down {job.losses + 1} times: {reason}; see the worker's log, mend, then retry"
            ended = await repository.finish(session, job.id, job.attempts, "held", error=error, losses=1)
            await failure_alerts.job_ended(session, ended, settings)
            return _events(ended, *await flow.advance_parent(session, ended))


def _events(*jobs: Job | None) -> list[Event]:
    return [job_event(job) for job in jobs if job is not None]


def _line(job: Claimed | Job, message: str, level: str = "error") -> dict[str, Any]:
    return {"job_id": job.id, "attempt": job.attempts, "level": level, "message": message}
