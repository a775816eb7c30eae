"""One attempt of one job, as its owning actor sees it: progress out, cancellation in, results and end in one commit."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from actors import flow
from actors.ending import end
from actors.events import JobEvent, progress_event
from actors.redact import redact_known
from actors.row_rate import RowRate
from db.models.job import Job, source_of
from db.repositories import jobs as repository

if TYPE_CHECKING:
    from actors.owner import Connections

EVENT_INTERVAL_S = 0.25
ROW_INTERVAL_S = 2.0
# An attempt that writes more than this has a fault of its own; the newest lines are worth least.
MOST_LOG_LINES = 10_000

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class Cancelled(Exception):
    """Someone asked for this job to stop, and it did before storing anything."""


class Attempt(msgspec.Struct, frozen=True):
    """What an owner is told of the attempt it is to run."""

    job_id: str
    number: int
    kind: str
    parameters: dict[str, Any]
    parent_id: str | None = None
    trace_context: str | None = None


class JobRun:
    """Handed to the owner of a job for one attempt. Progress and log lines may come from worker threads."""

    def __init__(self, attempt: Attempt, connections: Connections) -> None:
        self.job_id = uuid.UUID(attempt.job_id)
        self.attempt = attempt.number
        self.kind = attempt.kind
        self.parent_id = uuid.UUID(attempt.parent_id) if attempt.parent_id else None
        self.parameters = attempt.parameters
        self.sessions = connections.sessions
        self._connections = connections
        self.ended: tuple[dict[str, Any], str] | None = None
        self.is_stored = False
        self._parent: Job | None = None
        self._latest: tuple[float, str, str] = (0.0, "", "")
        self._lines: list[dict[str, Any]] = []
        self._written = 0
        self._stop: Exception | None = None
        self._is_ending = False
        self._started = time.monotonic()
        self._rate = RowRate(self._started)

    def report(self, fraction: float, step: str, message: str = "", *, rows: int | None = None) -> None:
        """Say how far the work is (0..1). Cheap: only the newest report is sent, at most four times a second.

        `rows`: how many are through in this attempt, all in all. From them come the rows a second of events and job.

        Raises:
            Cancelled: the job was cancelled.
            Superseded: another attempt has taken over.
        """
        if self._stop is not None:
            raise self._stop
        self._latest = (min(max(fraction, 0.0), 1.0), step, redact_known(message))
        if rows is not None:
            self._rate.count(rows)

    def log(self, message: str, level: Literal["info", "warning", "error"] = "info") -> None:
        """Write a line into the job's log, kept with the job."""
        if self._written + len(self._lines) < MOST_LOG_LINES:
            line = {"job_id": self.job_id, "attempt": self.attempt, "level": level, "message": redact_known(message)}
            self._lines.append(line)

    def follow(self, parent: Job | None) -> None:
        """Have this attempt's progress move its parent's."""
        self._parent = parent

    def stop(self) -> None:
        """Have the next `report` raise, wherever it is made."""
        self._stop = self._stop or Cancelled()

    async def in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run blocking work in a thread. A cancellation waits for the thread's own end, so that none is left behind."""
        work = asyncio.get_running_loop().run_in_executor(None, lambda: function(*arguments))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait({work})
            raise

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Send the newest report on while the body runs; its failures surface at the body's next `report`."""
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        # A job that ends at once costs no task.
        timer = loop.call_later(EVENT_INTERVAL_S, lambda: tasks.append(loop.create_task(self._send_reports())))
        try:
            yield
        finally:
            timer.cancel()
            await end(*tasks)
            await self._store_lines()

    async def _send_reports(self) -> None:
        sent: tuple[tuple[float, str, str], int | None] = ((0.0, "", ""), None)
        stored_at = 0.0  # a report made before this task began is news too
        while not self._is_ending:  # a report that overtook the end would show a finished job as running
            now = time.monotonic()
            rows_per_s = self._rate.current(now)
            if (self._latest, self._rate.rows) != sent:
                sent = self._latest, self._rate.rows
                parent = [self._parent_event(self._parent)] if self._parent is not None else []
                await self._connections.tell([self._progress_event(rows_per_s), *parent])
            if now - stored_at >= ROW_INTERVAL_S:
                stored_at = now
                await self._store_progress(rows_per_s)
                await self._store_lines()
            await asyncio.sleep(EVENT_INTERVAL_S)

    def _progress_event(self, rows_per_s: float | None) -> JobEvent:
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
            source=source_of(self.parameters),
            rows_per_s=rows_per_s,
            attempt=self.attempt,
        )

    def _parent_event(self, parent: Job) -> JobEvent:
        """The parent stands where its ended jobs left it, plus this job's part of the stage."""
        fraction, _, message = self._latest
        beside = len(parent.steps[parent.stage]["jobs"]) if parent.stage < len(parent.steps) else 1
        return progress_event(
            "job.progressed",
            parent.id,
            None,
            parent.kind,
            state="running",
            progress=min(parent.progress + fraction / max(len(parent.steps), 1) / beside, 1.0),
            step=self.kind,
            message=message,
            attempt=parent.attempts,
        )

    async def _store_progress(self, rows_per_s: float | None = None) -> None:
        try:
            async with self.sessions.begin() as session:
                wanted = await repository.report_progress(
                    session, self.job_id, self.attempt, *self._latest, rows_per_s=rows_per_s
                )
            if wanted:
                self.stop()
        except repository.Superseded as superseded:
            self._stop = superseded
        except Exception as error:  # noqa: BLE001 - progress is a courtesy; the work's own writes will meet the fault
            log.warning("progress not stored", job=str(self.job_id), reason=str(error))

    async def _store_lines(self) -> None:
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            async with self.sessions.begin() as session:
                await repository.write_log(session, lines)
            self._written += len(lines)
        except Exception as error:  # noqa: BLE001 - they are kept and tried again with the next ones
            self._lines = lines + self._lines
            log.warning("job log not stored", job=str(self.job_id), reason=str(error))

    async def finish(
        self, result: dict[str, Any], message: str, store: Callable[[AsyncSession], Awaitable[None]] | None = None
    ) -> None:
        """End the job well. With `store`, results and end commit together, here; without, the dispatcher ends it.

        `message` says in a few words what came of it.

        Raises:
            Superseded: nothing was stored, a later attempt owns the job.
        """
        self._is_ending = True
        self.ended = (result, message)
        if store is None:
            return
        async with self.sessions.begin() as session:
            await store(session)
            job = await repository.finish(
                session,
                self.job_id,
                self.attempt,
                "done",
                result=result,
                message=message,
                rows_per_s=self._rate.overall(time.monotonic()),
            )
            changed = [job, *await flow.advance_parent(session, job)]
        self.is_stored = True
        await self._connections.tell(changed)
