"""One attempt of one job, as its owning actor sees it: progress out, cancellation in, results and end in one commit."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from actors import jobs
from actors.events import EventStream, JobEvent, job_event, progress_event
from actors.kinds import KINDS
from db.engine import SessionFactory
from db.models.job import Job
from db.repositories import jobs as repository

EVENT_INTERVAL_S = 0.25
ROW_INTERVAL_S = 2.0

log = structlog.get_logger(__name__)


class Cancelled(Exception):
    """Someone asked for this job to stop, and it did before storing anything."""


class JobRun:
    """Handed to the owner of a job for one attempt. Progress may be reported from worker threads."""

    def __init__(self, job: Job, parent: Job | None, sessions: SessionFactory, events: EventStream) -> None:
        self.job_id: uuid.UUID = job.id
        self.attempt = job.attempts
        self.kind = job.kind
        self.parent_id = job.parent_id
        self.parameters: dict[str, Any] = job.parameters
        self.sessions = sessions
        self._changed_at = getattr(job, "changed_at", None)
        self._parent = parent
        self._events = events
        self._latest: tuple[float, str, str] = (0.0, "", "")
        self._stop: Exception | None = None
        self._is_ending = False
        self._started = time.monotonic()

    def report(self, fraction: float, step: str, message: str = "") -> None:
        """Say how far the work is (0..1). Cheap: only the newest report is sent, at most four times a second.

        Raises:
            Cancelled: the job was cancelled.
            Superseded: another attempt has taken over.
        """
        if self._stop is not None:
            raise self._stop
        self._latest = (min(max(fraction, 0.0), 1.0), step, message)

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Send the newest report on while the body runs; its failures surface at the body's next `report`."""
        task = asyncio.create_task(self._send_reports())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _send_reports(self) -> None:
        sent, stored_at = (0.0, "", ""), 0.0  # a report made before this task began is news too
        while True:
            await asyncio.sleep(EVENT_INTERVAL_S)
            if self._is_ending:
                return  # a report that overtook the end would show a finished job as running
            now = time.monotonic()
            if self._latest != sent:
                sent = self._latest
                parent = [self._parent_event(self._parent)] if self._parent is not None else []
                await self._events.publish_all([self._progress_event(), *parent])
            if now - stored_at >= ROW_INTERVAL_S:
                stored_at = now
                await self._store_progress()

    def _progress_event(self) -> JobEvent:
        fraction, step, message = self._latest
        elapsed = time.monotonic() - self._started
        eta_s = elapsed * (1 - fraction) / fraction if fraction > 0.02 else None
        return progress_event(
            "job.progressed",
            self.job_id,
            self.parent_id,
            self.kind,
            state="running",
            progress=fraction,
            step=step,
            message=message,
            rate=fraction / elapsed if elapsed > 0 else None,
            eta_s=eta_s,
            changed_at=self._changed_at,
        )

    def _parent_event(self, parent: Job) -> JobEvent:
        """The parent stands where its finished steps left it, plus this step's part."""
        fraction, _, message = self._latest
        return progress_event(
            "job.progressed",
            parent.id,
            None,
            parent.kind,
            state="running",
            progress=parent.progress + fraction / len(KINDS[parent.kind].steps),
            step=self.kind,
            message=message,
            changed_at=getattr(parent, "changed_at", None),
        )

    async def _store_progress(self) -> None:
        try:
            async with self.sessions.begin() as session:
                if await repository.report_progress(session, self.job_id, self.attempt, *self._latest):
                    self._stop = Cancelled()
        except repository.Superseded as superseded:
            self._stop = superseded
        except Exception as error:  # noqa: BLE001 - progress is a courtesy; the work's own writes will meet the fault
            log.warning("progress not stored", job=str(self.job_id), reason=str(error))

    async def finish(
        self, result: dict[str, Any], message: str, store: Callable[[AsyncSession], Awaitable[None]] | None = None
    ) -> None:
        """Store the results, end the job and move its parent on, all in one transaction; then tell the world.

        `message` says in a few words what came of it.

        Raises:
            Superseded: nothing was stored, a later attempt owns the job.
        """
        self._is_ending = True
        async with self.sessions.begin() as session:
            if store is not None:
                await store(session)
            job = await repository.finish(session, self.job_id, self.attempt, "done", result=result, message=message)
            changed = [job, *await jobs.advance_parent(session, job)]
        await self._events.publish_all([job_event(each) for each in changed])
