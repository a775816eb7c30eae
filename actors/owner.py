"""What all owning actors share: their connections, and how an attempt's end becomes an outcome."""

from __future__ import annotations

import asyncio
import traceback
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors import metrics
from actors.events import Event, EventStream, JobChanged, job_event
from actors.kinds import load_work_modules
from actors.observe import observed_attempt
from actors.redact import redact_known
from actors.retry import asked_wait_s, is_passing
from actors.run import Attempt, Cancelled, JobRun
from db.engine import SessionFactory, create_engine, reading_factory, session_factory
from db.models.job import FINAL_STATES, Job
from db.repositories import jobs as repository
from settings import Settings

log = structlog.get_logger(__name__)


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended. `passing` failures are worth another attempt.

    `source_wait_s` is what `retry.asked_wait_s` says of the failure. A `done` attempt that stored its end itself says
    so; for another the dispatcher stores `result` and `message`.
    """

    end: Literal["done", "failed", "cancelled", "superseded"]
    error: str | None = None
    traceback: str | None = None
    passing: bool = False
    source_wait_s: float | None = None
    stored: bool = False
    result: dict[str, Any] = {}
    message: str = ""


class Work(Protocol):
    """The part of an owner that differs: load, call the pure room, store, report."""

    name: str

    async def perform(self, run: JobRun) -> None:
        """Do the job and end it with `run.finish`; raise to fail it."""
        ...


class Connections:
    """A process's database engine and Redis client, opened and closed with its actor or replica."""

    def __init__(self, settings: Settings, process: str, *, trusted_s: float = 0.0) -> None:
        load_work_modules(settings.work_modules)
        self.settings = settings
        self.engine: AsyncEngine = create_engine(settings, process, trusted_s=trusted_s)
        self.sessions: SessionFactory = session_factory(self.engine)
        self.reads: SessionFactory = reading_factory(self.engine)
        self.redis = connect_redis(settings)
        self.events = EventStream(self.redis, settings.events_max_length)

    async def tell(self, changed: Iterable[Event | Job]) -> None:
        """Publish what a committed transaction has changed, and count the jobs that ended by it."""
        events = [job_event(each) if isinstance(each, Job) else each for each in changed]
        for event in events:
            if isinstance(event, JobChanged) and event.data.state in FINAL_STATES:
                metrics.job_ended(event.data.kind, event.data.state)
        await self.events.publish_all(events)

    async def close(self) -> None:
        """Give everything back."""
        await self.events.close()
        await self.redis.aclose()
        await self.engine.dispose()


def connect_redis(settings: Settings) -> Redis:
    """A client that reconnects by itself and gives up on a call after a few seconds."""
    return Redis.from_url(
        settings.require_redis_url(),
        socket_connect_timeout=2,
        socket_timeout=15,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=3),
        retry_on_error=[RedisConnectionError],
    )


@dataclass(eq=False)
class _InHand:
    """An attempt an owner is at: running, then stopping once somebody wants it ended. `over`: ended or given up."""

    run: JobRun
    task: asyncio.Task[None]
    over: asyncio.Future[None]
    state: Literal["running", "stopping", "given up"] = "running"


class Owner:
    """Runs attempts of the jobs that belong to one piece of work; several at once.

    A dispatcher may hold one itself, for work too small for an actor of its own.
    """

    def __init__(self, work: Work, connections: Connections) -> None:
        self.work = work
        self.connections = connections
        self._in_hand: dict[str, _InHand] = {}

    @property
    def in_hand(self) -> Mapping[str, str]:
        """Jobs it is at, and whether each runs or is being stopped."""
        return {job_id: held.state for job_id, held in self._in_hand.items()}

    async def run(self, attempt: Attempt) -> Outcome:
        """Perform one attempt; every end of the work is an outcome, and crosses the process boundary whole.

        Raises:
            ConnectionError: the attempt was given up by `replace`.
        """
        if (earlier := self._in_hand.get(attempt.job_id)) is not None:
            if earlier.run.attempt >= attempt.number:
                return Outcome("superseded")
            self._stop(earlier)  # whoever waited for it is gone
        observed = observed_attempt(
            attempt.job_id, attempt.number, actor=self.work.name, traceparent=attempt.trace_context, kind=attempt.kind
        )
        with observed as seen:
            outcome = await self._run(attempt)
            seen.end = outcome.end
        return outcome

    async def _run(self, attempt: Attempt) -> Outcome:
        run = JobRun(attempt, self.connections)
        loop = asyncio.get_running_loop()
        held = _InHand(run, loop.create_task(self._perform(run, attempt)), loop.create_future())
        held.task.add_done_callback(lambda _: resolve(held.over))
        self._in_hand[attempt.job_id] = held
        try:
            await held.over
        except asyncio.CancelledError:
            self._stop(held)
            raise
        finally:
            if self._in_hand.get(attempt.job_id) is held:
                del self._in_hand[attempt.job_id]
        return self._outcome(held, attempt)

    async def _perform(self, run: JobRun, attempt: Attempt) -> None:
        if attempt.parent_id is not None:
            async with self.connections.sessions() as session:
                run.follow(await repository.get(session, uuid.UUID(attempt.parent_id)))
        async with run.reporting():
            await self.work.perform(run)

    def _outcome(self, held: _InHand, attempt: Attempt) -> Outcome:
        run, task = held.run, held.task
        if held.state == "given up":
            raise ConnectionError("the attempt was given up")
        if run.is_stored:
            return Outcome("done", stored=True)
        if task.cancelled() or isinstance(error := task.exception(), Cancelled):
            return Outcome("cancelled")
        if isinstance(error, repository.Superseded):
            return Outcome("superseded")
        if error is not None and not isinstance(error, Exception):
            raise error  # not a fault of the work: this process is to end
        if error is not None:
            log.warning("attempt failed", kind=attempt.kind, reason=str(error), exc_info=error)
            # What a connector raises may tell the secrets it was given.
            trace = redact_known("".join(traceback.format_exception(error)))
            reason = redact_known(str(error)) or type(error).__name__
            return Outcome("failed", reason, trace, is_passing(error), asked_wait_s(error))
        if run.ended is None:
            return Outcome("failed", f"the {self.work.name} work returned without ending its job")
        result, message = run.ended
        return Outcome("done", result=result, message=message)

    async def cancel(self, job_id: str, number: int) -> None:
        """Ask an attempt to stop: its reports raise, and what it awaits is cancelled."""
        held = self._in_hand.get(job_id)
        if held is not None and held.run.attempt == number:
            self._stop(held)

    def _stop(self, held: _InHand) -> None:
        held.state = "stopping"
        held.run.stop()
        held.task.cancel()

    async def ping(self) -> Mapping[str, str]:
        """Answer at once, also while jobs run."""
        return self.in_hand

    async def replace(self) -> None:
        """Give up on everything in hand, as if this owner had died; what does not listen goes on to its own end."""
        for held in list(self._in_hand.values()):
            self._stop(held)
            held.state = "given up"
            resolve(held.over)


def resolve(future: asyncio.Future[None]) -> None:
    """Let whoever waits for the future go on; it may have been let go, or have given up, already."""
    if not future.done():
        future.set_result(None)
