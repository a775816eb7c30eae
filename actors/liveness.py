"""Who lives: a dispatcher's own heartbeat, its books, and the burial of dispatchers that are heard of no more.

Nobody's clock is trusted. A dispatcher counts its beats; another one takes it for dead when the count has stood still
for so long by the observer's own monotonic clock, over which clock jumps and a database that was away have no power.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from actors import metrics
from actors.attempts import Attempts
from actors.events import Event
from actors.owner import Connections
from actors.settle import give_back
from db.models.job import Job, Worker
from db.repositories import jobs as repository
from db.repositories import queue

log = structlog.get_logger(__name__)


class Observer:
    """Tells which workers are dead from how their beats go on. Pure: it is told the time."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._seen: dict[uuid.UUID, tuple[int, float]] = {}
        self._last_look: float | None = None

    def dead(self, beats: Mapping[uuid.UUID, int], now: float) -> dict[uuid.UUID, int]:
        """Workers whose count has not moved within the patience, with that count. `now` in monotonic seconds."""
        # Who could not look for a while has no right to say that nothing moved meanwhile.
        if self._last_look is not None and now - self._last_look > self._patience_s / 2:
            self._seen.clear()
        self._last_look = now
        seen = {}
        for worker, beat in beats.items():
            known = self._seen.get(worker)
            seen[worker] = known if known is not None and known[0] == beat else (beat, now)
        self._seen = seen
        return {worker: beat for worker, (beat, since) in seen.items() if now - since >= self._patience_s}


class Membership:
    """A dispatcher's place among the workers."""

    def __init__(self, connections: Connections, name: str, actor: str, attempts: Attempts) -> None:
        self._connections = connections
        self._name = name
        self._actor = actor
        self._attempts = attempts
        self._observer = Observer(connections.settings.job_heartbeat_s)
        self._strays: set[tuple[uuid.UUID, int]] = set()
        self._lost: set[tuple[uuid.UUID, int]] = set()
        self.id: uuid.UUID = uuid7()

    @property
    def interval_s(self) -> float:
        """Seconds between heartbeats."""
        return min(1.0, self._connections.settings.job_heartbeat_s / 4)

    async def join(self, *, is_new_life: bool = True) -> bool:
        """Enter as a new worker; jobs of this actor's earlier life are given back at once.

        False when this process was taken for dead and its actor lives elsewhere by now.
        """
        self.id = uuid7()
        self._strays.clear()
        worker = Worker(id=self.id, actor=self._actor, name=self._name, host=socket.gethostname(), pid=os.getpid())
        async with self._connections.sessions.begin() as session:
            if not await queue.register(session, worker, is_new_life=is_new_life):
                return False
        await self.give_back_orphans()
        return True

    async def leave(self) -> None:
        """Strike this worker off."""
        async with self._connections.sessions.begin() as session:
            await queue.leave(session, self.id)

    async def beat(self) -> str | None:
        """Say that we live and look for what needs stopping; returns our state, None once we were taken for dead."""
        async with self._connections.sessions.begin() as session:
            state = await queue.beat(session, self.id)
            books = await queue.books(session, self.id) if state is not None else []
        self._compare(books)
        return state

    def _compare(self, books: Sequence[tuple[uuid.UUID, int, bool]]) -> None:
        """Stop what somebody wants cancelled; note what the books say is ours and is not in our hands."""
        for job_id, _, cancel_requested in books:
            if cancel_requested:
                self._attempts.stop(job_id, "cancelled")
        strays = {(job_id, number) for job_id, number, _ in books if not self._attempts.holds(job_id, number)}
        # Twice in a row: a claim just answered, or an end just written, is no stray.
        self._lost, self._strays = self._strays & strays, strays

    async def give_back_strays(self) -> None:
        """Let jobs go whose claim was committed but never heard of, as when the connection broke at that moment."""
        lost, self._lost = self._lost, set()
        for job_id, number in lost:
            events: list[Event] = []
            async with self._connections.sessions.begin() as session:
                job = await repository.get(session, job_id, lock=True)
                if job is not None and job.state == "running" and (job.worker, job.attempts) == (self.id, number):
                    log.warning("stray job given back", job=str(job_id), run=number)
                    events = await self._give_back(session, [job], "the dispatcher lost sight of it")
            await self._connections.tell(events)

    async def bury_dead(self) -> None:
        """Strike off workers that are heard of no more, and give their jobs back."""
        async with self._connections.sessions.begin() as session:
            beats = {worker.id: worker.beat for worker in await queue.workers(session) if worker.id != self.id}
            dead = self._observer.dead(beats, time.monotonic())
            if dead and (gone := await queue.bury(session, dead)):
                log.warning("dispatchers taken for dead", count=gone)
        await self.give_back_orphans()

    async def give_back_orphans(self) -> None:
        """Let the jobs of workers that are no more wait again."""
        while True:
            async with self._connections.sessions.begin() as session:
                orphans = await queue.orphans(session)
                events = await self._give_back(session, orphans, "its dispatcher was lost")
            await self._connections.tell(events)
            if not orphans:
                return
            for job in orphans:
                metrics.orphan_recovered(job.kind)
            log.warning("orphaned jobs given back", count=len(orphans))

    async def _give_back(self, session: AsyncSession, jobs: Sequence[Job], reason: str) -> list[Event]:
        events: list[Event] = []
        for job in jobs:
            events += await give_back(session, job, reason, self._connections.settings)
        if jobs:
            await queue.announce(session)
        return events


async def every(seconds: float, what: str, step: Callable[[], Awaitable[object]]) -> None:
    """Until cancelled: take a step again and again; one that fails is logged and the next one tried."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - the database is away, or the step has a fault: the next may do
            log.warning("step failed", what=what, reason=str(error))
