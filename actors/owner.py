"""What all owning actors share: their connections, and how an attempt's end becomes an outcome."""

from __future__ import annotations

import asyncio
import traceback
import uuid
from typing import Literal, Protocol

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.events import EventStream
from actors.retry import is_passing
from actors.run import Cancelled, JobRun
from db.engine import SessionFactory, create_engine, session_factory
from db.repositories import jobs as repository
from settings import Settings

log = structlog.get_logger(__name__)


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended. `passing` failures are worth another attempt."""

    end: Literal["done", "failed", "cancelled", "superseded"]
    error: str | None = None
    traceback: str | None = None
    passing: bool = False


class Work(Protocol):
    """The part of an owner that differs: load, call the pure room, store, report."""

    name: str

    async def perform(self, run: JobRun) -> None:
        """Do the job and end it with `run.finish`; raise to fail it."""
        ...


class Connections:
    """A process's database engine and Redis client, opened and closed with its actor or replica."""

    def __init__(self, settings: Settings, process: str) -> None:
        self.settings = settings
        self.engine: AsyncEngine = create_engine(settings, process)
        self.sessions: SessionFactory = session_factory(self.engine)
        self.redis = connect_redis(settings)
        self.events = EventStream(self.redis, settings.events_max_length)

    async def close(self) -> None:
        """Give everything back."""
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


class Owner:
    """Runs attempts of the jobs that belong to one piece of work."""

    def __init__(self, work: Work, connections: Connections) -> None:
        self.work = work
        self.connections = connections

    async def run(self, job_id: str, attempt: int) -> Outcome:
        """Perform one attempt; never raises, so that every end crosses the process boundary whole."""
        bound = log.bind(job=job_id, attempt=attempt, owner=self.work.name)
        try:
            async with self.connections.sessions() as session:
                job = await repository.get(session, uuid.UUID(job_id))
                parent = await repository.get(session, job.parent_id) if job and job.parent_id else None
            if job is None or job.attempts != attempt:
                return Outcome("superseded")
            run = JobRun(job, parent, self.connections.sessions, self.connections.events)
            async with run.reporting():
                await self.work.perform(run)
        except Cancelled:
            return Outcome("cancelled")
        except repository.Superseded:
            return Outcome("superseded")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - any fault of the work is the job's, and is reported with its traceback
            bound.warning("attempt failed", reason=str(error), exc_info=True)
            return Outcome("failed", str(error) or type(error).__name__, traceback.format_exc(), is_passing(error))
        bound.info("attempt done")
        return Outcome("done")
