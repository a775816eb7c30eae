"""Repairs the event stream from the job table: what a crash between commit and publish, a long outage or an emptied
Redis has kept from it is published late instead of never.

One process at a time does so, the one that holds a lock in PostgreSQL; the others stand by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from actors.events import EventStream, JobChanged, JobData, JobProgressed, id_key, job_event
from db.repositories import job_changes
from db.repositories.job_changes import Change

INTERVAL_S = 5.0
# Younger changes are left to whoever made them: their event is on its way.
SETTLED_AFTER_S = 2.0
# A change is dated when its transaction began and seen when it committed; none of ours takes longer than this.
OVERLAP_S = 120.0
# Most transactions are over in an instant: the whole overlap is read every so many rounds, and this much in the others.
SHORT_OVERLAP_S = 10.0
ROUNDS_PER_OVERLAP = 12
# How far back a process looks that has just taken over.
LOOK_BACK_S = 900.0
PAGE = 500
REMEMBERED = 20_000

log = structlog.get_logger(__name__)


class SeenJobs:
    """The newest state of each job that the stream has told of; at most `length` jobs, the longest untold go first."""

    def __init__(self, length: int = REMEMBERED) -> None:
        self._length = length
        self._newest: dict[str, JobData] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def note(self, data: JobData) -> None:
        """The stream holds this event."""
        known = self._newest.pop(data.job_id, None)
        is_late = known is not None and known.changed_at and data.changed_at and known.changed_at > data.changed_at
        self._newest[data.job_id] = known if known is not None and is_late else data
        if len(self._newest) > self._length:
            del self._newest[next(iter(self._newest))]

    def has(self, change: Change) -> bool:
        """Whether the stream has told of this state, or of a later one."""
        known = self._newest.get(str(change.job_id))
        if known is None:
            return False
        if known.changed_at is None:
            return known.state == change.state
        return known.changed_at >= change.changed_at


class EventRelay:
    """`run` it in every dispatcher; one of them works."""

    def __init__(self, engine: AsyncEngine, events: EventStream, interval_s: float = INTERVAL_S) -> None:
        self._engine = engine
        self._events = events
        self._interval_s = interval_s
        self._seen = SeenJobs()
        self._read_upto = ""
        self._since: datetime | None = None
        self._rounds = 0

    async def run(self) -> None:
        """Until cancelled: wait for the lock, then repair every few seconds."""
        while True:
            try:
                await self._hold_and_repair()
            except (SQLAlchemyError, OSError) as error:
                log.warning("event relay interrupted", reason=str(error))
            await asyncio.sleep(self._interval_s)

    async def _hold_and_repair(self) -> None:
        connection = await self._engine.connect()
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            async with AsyncSession(connection, expire_on_commit=False) as session:
                if not await job_changes.take_relay_lock(session):
                    return
            log.info("event relay works here")
            self._seen, self._read_upto, self._since = SeenJobs(), "", None
            while True:
                await self._round(connection)
                await asyncio.sleep(self._interval_s)
        finally:
            # The lock belongs to the connection; back in the pool it would hold it on.
            await connection.invalidate()
            await connection.close()

    async def _round(self, connection: AsyncConnection) -> None:
        async with AsyncSession(connection, expire_on_commit=False) as session:
            try:
                await self._read_stream()
                published = await self._repair(session)
            except RedisError as error:
                log.warning("event relay waits for Redis", reason=str(error))
                # The lock is lost with the connection: notice it even while there is nothing to do.
                await job_changes.now(session)
                return
        if published:
            log.warning("events published late", count=published)

    async def _read_stream(self) -> None:
        """Note what the stream has come to hold since the last round."""
        if not self._read_upto or await self._events.is_gone(self._read_upto):
            newest_ms, _ = id_key(await self._events.newest_id())
            self._seen = SeenJobs()
            self._read_upto = f"{max(0, newest_ms - int((LOOK_BACK_S + OVERLAP_S) * 1000))}-0"
        while entries := await self._events.read(self._read_upto, PAGE):
            for entry in entries:
                if isinstance(entry.event, (JobChanged, JobProgressed)):
                    self._seen.note(entry.event.data)
            self._read_upto = entries[-1].id

    async def _repair(self, session: AsyncSession) -> int:
        """Publish the states the stream does not hold; returns how many."""
        now = await job_changes.now(session)
        overlap_s = SHORT_OVERLAP_S if self._rounds % ROUNDS_PER_OVERLAP else OVERLAP_S
        self._rounds += 1
        since = (self._since or now - timedelta(seconds=LOOK_BACK_S)) - timedelta(seconds=overlap_s)
        until = now - timedelta(seconds=SETTLED_AFTER_S)
        count, last = 0, None
        while page := await job_changes.changed_between(session, since, until, last, PAGE):
            count += await self._publish(session, [change for change in page if not self._seen.has(change)])
            last = page[-1]
        self._since = until
        return count

    async def _publish(self, session: AsyncSession, missing: Sequence[Change]) -> int:
        if not missing:
            return 0
        jobs = await job_changes.by_ids(session, [change.job_id for change in missing])
        events = [job_event(job) for job in jobs]
        await self._events.publish_all(events)
        for event in events:
            self._seen.note(event.data)
        return len(events)
