"""The dispatcher: takes job ids from the durable queue, begins an attempt, and hands it to the owning actor.

Several may run at once, in one cluster or two: the queue hands each id to one of them, the claim counts the attempt,
and the attempt number fences every write.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta

import asyncpg
import structlog
from pgqueuer import PgQueuer
from pgqueuer.errors import RetryRequested
from pgqueuer.executors import DatabaseRetryEntrypointExecutor
from pgqueuer.models import Job as QueueJob
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from actors import jobs
from actors.events import job_event
from actors.kinds import KINDS
from actors.owner import Connections, Outcome
from actors.retry import GiveUp, decide
from db.models.job import Job
from db.repositories import jobs as repository
from settings import Settings

RunAttempt = Callable[[str, int], Awaitable[Outcome]]
BUSY_DELAY = timedelta(milliseconds=500)
DISPATCH_ATTEMPTS = 100_000
# The queue is asked this often even without a notification, so an orphan waits at most this long after its heartbeat
# has gone stale.
POLL = timedelta(seconds=2)
SWEEP_S = 15.0

log = structlog.get_logger(__name__)


class Dispatcher:
    """One reader of the queue. `owners` maps an owner's name to the call that runs an attempt there."""

    def __init__(self, settings: Settings, connections: Connections, owners: Mapping[str, RunAttempt]) -> None:
        self._settings = settings
        self._connections = connections
        self._owners = owners
        self._queue: PgQueuer | None = None
        self._stopping = False

    async def run(self) -> None:
        """Serve the queue until `stop`; a lost database connection is reopened."""
        while not self._stopping:
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - whatever it was, nobody else serves the queue in this process
                log.warning("queue connection lost", reason=str(error))
            if not self._stopping:
                await asyncio.sleep(1)

    async def stop(self) -> None:
        """Take no more jobs and let those in hand end."""
        self._stopping = True
        if self._queue is not None:
            self._queue.shutdown.set()

    async def _serve(self) -> None:
        url = self._settings.require_database_url().replace("+asyncpg", "")
        connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "fmrp-dispatcher"})
        sweeper = asyncio.create_task(self._sweep())
        try:
            self._queue = PgQueuer.from_asyncpg_connection(connection)
            self._queue.entrypoint(
                jobs.ENTRYPOINT,
                on_failure="hold",
                # Only a fault of the dispatch itself (database away) comes here; the work's failures are decided below.
                # Waiting for an equal job counts there too, so neither the limit nor the delay may grow out of it.
                executor_factory=lambda parameters: DatabaseRetryEntrypointExecutor(
                    parameters, max_attempts=DISPATCH_ATTEMPTS, backoff_multiplier=1.0
                ),
            )(self.handle)
            log.info("dispatcher serves the queue")
            await self._queue.run(
                dequeue_timeout=POLL,
                batch_size=10,
                max_concurrent_tasks=50,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=timedelta(seconds=self._settings.job_heartbeat_s),
            )
        finally:
            self._queue = None
            sweeper.cancel()
            with suppress(OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
                await connection.close(timeout=2)

    async def _sweep(self) -> None:
        """Give jobs whose message was lost a new one. One dispatcher at a time does so."""
        owned = [kind.name for kind in KINDS.values() if kind.owner is not None]
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                async with self._connections.sessions.begin() as session:
                    for job_id in await repository.without_message(session, owned):
                        log.warning("job had lost its message", job=str(job_id))
                        await jobs.enqueue(session, job_id)
            except (SQLAlchemyError, OSError) as error:
                log.warning("sweep failed", reason=str(error))

    async def handle(self, message: QueueJob) -> None:
        """Run one delivery of a job id. Returning acknowledges it; asking for a retry delivers it again later."""
        job_id = uuid.UUID((message.payload or b"").decode())
        job = await self._claim(job_id)
        if job is None:
            return
        owner = KINDS[job.kind].owner
        assert owner is not None, f"{job.kind} is a parent and never queued"
        try:
            outcome = await self._owners[owner](str(job.id), job.attempts)
        except Exception as error:  # noqa: BLE001 - the actor died or is away: the attempt is lost, the job is not
            log.warning("owner lost", job=str(job_id), owner=owner, reason=str(error))
            outcome = Outcome("failed", f"the {owner} worker was lost: {type(error).__name__}", None, passing=True)
        await self._settle(job, outcome)

    async def _claim(self, job_id: uuid.UUID) -> Job | None:
        try:
            async with self._connections.sessions.begin() as session:
                job = await repository.claim(session, job_id)
                changed = [job] if job else []
                if job is None and (exhausted := await repository.give_up(session, job_id)):
                    changed = [exhausted, *await jobs.advance_parent(session, exhausted)]
        except IntegrityError as conflict:
            raise RetryRequested(BUSY_DELAY, reason="an equal job is running") from conflict
        await self._publish(changed)
        return job

    async def _settle(self, job: Job, outcome: Outcome) -> None:
        if outcome.end in ("done", "superseded"):
            return
        decision = decide(outcome.passing, job.attempts, job.max_attempts)
        if outcome.end == "failed" and not isinstance(decision, GiveUp):
            async with self._connections.sessions.begin() as session:
                waiting = await repository.put_back(session, job.id, job.attempts, f"will retry: {outcome.error}")
            if waiting is not None:
                await self._publish([waiting])
                raise RetryRequested(timedelta(seconds=decision.delay_s), reason=outcome.error)
            return
        try:
            async with self._connections.sessions.begin() as session:
                ended = await repository.finish(
                    session, job.id, job.attempts, outcome.end, error=outcome.error, traceback=outcome.traceback
                )
                changed = [ended, *await jobs.advance_parent(session, ended)]
        except repository.Superseded:
            return
        await self._publish(changed)

    async def _publish(self, changed: list[Job]) -> None:
        for job in changed:
            await self._connections.events.publish(job_event(job))
