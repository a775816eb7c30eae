"""The attempts a dispatcher has in hand: each is a call to its owner, watched for time-outs and wishes to stop.

running -> (stopping ->) ended. What does not stop within its grace loses its process; the write of its end is fenced,
so whatever it still does counts for nothing.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

import structlog

from actors.ending import end
from actors.kinds import KINDS
from actors.owner import Outcome
from actors.run import Attempt
from actors.settle import Settlement
from actors.telemetry import continued, traceparent
from db.repositories.queue import Claimed

WATCH_S = 0.25
# Asking an owner to stop is one small call; one that does not answer it is replaced all the same.
ASK_S = 3.0
PING_S = 2.0

Reason = Literal["cancelled", "timed out", "handed back", "abandoned"]

log = structlog.get_logger(__name__)


class OwnerPort(Protocol):
    """An owner, wherever it lives."""

    async def run(self, attempt: Attempt) -> Outcome:
        """Run an attempt to its end. Raises whatever tells that the owner is gone."""
        ...

    async def cancel(self, job_id: str, number: int) -> None:
        """Ask an attempt to stop."""
        ...

    async def ping(self) -> object:
        """Answer at once, also while jobs run."""
        ...

    async def replace(self) -> None:
        """End the owner's process; a fresh one takes its place."""
        ...


@dataclass(frozen=True)
class OwnerFamily:
    """Owners that are there only while they are needed, one for each name: `make` gives the port to one."""

    make: Callable[[str], OwnerPort]


Owners = Mapping[str, OwnerPort | OwnerFamily]
"""Where jobs are worked on, by the owner of their kind."""


@dataclass(eq=False)
class InHand:
    """One attempt: running, or stopping for a `reason` once there is one. `owner` has the name `place`."""

    job: Claimed
    place: str
    owner: OwnerPort
    deadline: float
    reason: Reason | None = None
    task: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Attempts:
    """Starts, watches, stops and settles attempts. `on_end` is told when room has become free."""

    def __init__(
        self,
        owners: Owners,
        settlement: Settlement,
        on_end: Callable[[], None],
        owner_patience_s: float,
    ) -> None:
        self._owners = owners
        self._settlement = settlement
        self._on_end = on_end
        self._owner_patience_s = owner_patience_s
        self._in_hand: dict[uuid.UUID, InHand] = {}
        self._stops: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._in_hand)

    def holds(self, job_id: uuid.UUID, number: int) -> bool:
        """Whether that attempt is in hand."""
        held = self._in_hand.get(job_id)
        return held is not None and held.job.attempts == number

    def start(self, job: Claimed) -> None:
        """Call the job's owner."""
        kind = KINDS[job.kind]
        place = kind.owner_of(job.parameters)
        assert kind.owner is not None, f"{job.kind} is a parent and never waits"
        assert place is not None
        found = self._owners[kind.owner]
        owner = found.make(place) if isinstance(found, OwnerFamily) else found
        held = InHand(job, place, owner, time.monotonic() + kind.timeout_s)
        self._in_hand[job.id] = held
        held.task = asyncio.create_task(self._run(held))

    def stop(self, job_id: uuid.UUID, reason: Reason) -> None:
        """Have an attempt end before its time; nothing happens when it is not in hand or stops already."""
        held = self._in_hand.get(job_id)
        if held is None or held.reason is not None:
            return
        held.reason = reason
        task = asyncio.create_task(self._stop(held))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    def cancel(self, job_id: str) -> None:
        """Somebody wants this job cancelled, whoever has it in hand."""
        with suppress(ValueError):
            self.stop(uuid.UUID(job_id), "cancelled")

    def abandon(self) -> None:
        """Stop everything in hand and settle none of it: others have it by now."""
        for held in list(self._in_hand.values()):
            self.stop(held.job.id, "abandoned")
            held.reason = "abandoned"

    async def hand_back(self) -> None:
        """Stop everything in hand, let other dispatchers begin it anew, and wait for that."""
        for held in list(self._in_hand.values()):
            self.stop(held.job.id, "handed back")
        await self.until_empty()

    async def until_empty(self) -> None:
        """Wait for the ends of all attempts in hand now."""
        await asyncio.gather(*(each.ended.wait() for each in list(self._in_hand.values())))

    async def watch(self) -> None:
        """Until cancelled: end what has run out of time, and replace owners that no longer answer."""
        pings: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                await asyncio.sleep(WATCH_S)
                now = time.monotonic()
                pings = {place: ping for place, ping in pings.items() if not ping.done()}
                for held in list(self._in_hand.values()):
                    if now > held.deadline:
                        self.stop(held.job.id, "timed out")
                    if held.place not in pings:
                        pings[held.place] = asyncio.create_task(self._watch_owner(held.place, held.owner))
        finally:
            await end(*pings.values())

    async def _watch_owner(self, place: str, owner: OwnerPort) -> None:
        """A blocked event loop answers nobody: its attempts would seem to run for ever. Ends when none are in hand."""
        while True:
            await asyncio.sleep(PING_S)
            if not any(held.place == place for held in self._in_hand.values()):
                return
            try:
                async with asyncio.timeout(self._owner_patience_s):
                    await owner.ping()
            except TimeoutError:
                log.error("owner does not answer and is replaced", owner=place, patience_s=self._owner_patience_s)
                await self._replace(place, owner)
            except Exception as error:  # noqa: BLE001 - it is dead or restarting; the calls in hand tell the same
                log.warning("owner not reached", owner=place, reason=str(error))

    async def _run(self, held: InHand) -> None:
        job = held.job
        try:
            outcome = await self._call(held)
            await self._settle(held, outcome)
        except Exception:
            # Not lost: the job stays this worker's on paper, and the next look at the books gives it back.
            log.exception("attempt could not be settled", job=str(job.id), run=job.attempts)
        finally:
            if self._in_hand.get(job.id) is held:
                del self._in_hand[job.id]
            held.ended.set()
            self._on_end()

    async def _call(self, held: InHand) -> Outcome | Exception:
        """The owner's outcome, or what tells that the owner is gone."""
        job = held.job
        parent = str(job.parent_id) if job.parent_id else None
        with continued(job.trace_context, "dispatch", job=str(job.id), run=job.attempts, kind=job.kind):
            attempt = Attempt(str(job.id), job.attempts, job.kind, job.parameters, parent, traceparent())
            try:
                return await held.owner.run(attempt)
            except Exception as error:  # noqa: BLE001 - whatever it was: the attempt is lost, the job is not
                log.warning("owner lost", job=str(job.id), run=job.attempts, owner=held.place, reason=str(error))
                return error

    async def _settle(self, held: InHand, outcome: Outcome | Exception) -> None:
        job, kind = held.job, KINDS[held.job.kind]
        if isinstance(outcome, Outcome) and (held.reason is None or outcome.end in ("done", "failed")):
            await self._settlement.settle(job, outcome)
        elif held.reason == "cancelled":
            await self._settlement.settle(job, Outcome("cancelled"))
        elif held.reason == "timed out":
            error = f"it took longer than the {kind.timeout_s:g} s a {kind.name} job may"
            await self._settlement.settle(job, Outcome("failed", error, passing=True))
        elif held.reason == "handed back":
            await self._settlement.hand_back(job)
        elif held.reason is None:
            await self._settlement.lost(job, f"the {held.place} worker was lost: {type(outcome).__name__}")

    async def _stop(self, held: InHand) -> None:
        with suppress(Exception):  # an owner that cannot be asked is gone, or will be replaced below
            async with asyncio.timeout(ASK_S):
                await held.owner.cancel(str(held.job.id), held.job.attempts)
        with suppress(TimeoutError):
            async with asyncio.timeout(KINDS[held.job.kind].cancel_grace_s):
                await held.ended.wait()
                return
        log.error("attempt does not stop: its process is replaced", job=str(held.job.id), owner=held.place)
        await self._replace(held.place, held.owner)

    async def _replace(self, place: str, owner: OwnerPort) -> None:
        try:
            await owner.replace()
        except Exception as error:  # noqa: BLE001 - it is gone already, which is what was wanted
            log.warning("owner not replaced", owner=place, reason=str(error))
