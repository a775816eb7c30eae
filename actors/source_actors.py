"""One actor for each source: made when there is a job for it, restarted when it crashes, ended when it is idle.

So a source that takes its process down, or holds it up, is nobody else's trouble; and ten sources read once a day do
not hold ten processes all day long.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import ray
import structlog
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from actors.attempts import OwnerPort
from actors.ending import end
from actors.idleness import Idleness, to_end
from actors.kinds import SOURCE
from actors.owner import Outcome
from actors.run import Attempt
from actors.wiring import NAMESPACE, OPTIONS, START_PATIENCE_S, OwnerActor, RayOwner
from db.repositories import sources
from settings import load

IDLE_LOOK_S = 2.0
ASK_S = 2.0

log = structlog.get_logger(__name__)


class SourceActor(OwnerActor):
    """The owner of one source's jobs, made when there is one to do.

    It ends by itself after a while without any, and as soon as its source is deleted or switched off. Ray restarts one
    that crashes; whatever its source's state is lies in the database.
    """

    async def __init__(self, name: str) -> None:  # type: ignore[misc]  # Ray awaits an actor's constructor
        await super().__init__(name)
        self._code = name.partition(":")[2]
        self._idleness = Idleness(load().connector_idle_s, time.monotonic())
        self._watching = asyncio.create_task(self._watch())
        log.info("source actor begins", actor_name=name)

    async def hold(self) -> bool:
        """Stay for an attempt that is about to be handed in; False when this actor is ending."""
        return self._idleness.hold(time.monotonic())

    async def run(self, attempt: Attempt) -> Outcome:
        """Run one attempt of a job."""
        self._idleness.begin()
        try:
            return await super().run(attempt)
        finally:
            self._idleness.end(time.monotonic())

    async def ping(self) -> dict[str, object]:
        """As any owner, and for how long there has been nothing to do (negative: there is)."""
        idle_s = self._idleness.idle_s(time.monotonic(), busy=bool(self._owner.in_hand))
        return {**await super().ping(), "idle_s": idle_s}

    async def leave(self) -> bool:
        """End, unless there is something to do. The caller sees the actor's death, or False."""
        if not self._idleness.leave(time.monotonic(), busy=bool(self._owner.in_hand)):
            return False
        await end(self._watching)
        await self._reporter.stop()
        await self._owner.connections.close()
        ray.actor.exit_actor()
        return True

    async def _watch(self) -> None:
        me = ray.get_runtime_context().current_actor
        while not self._idleness.is_leaving:
            await asyncio.sleep(IDLE_LOOK_S)
            busy = bool(self._owner.in_hand)
            if self._idleness.is_over(time.monotonic(), busy=busy) or (not busy and await self._is_gone()):
                me.leave.remote()

    async def _is_gone(self) -> bool:
        """Whether nobody reads this source any more."""
        try:
            async with self._owner.connections.sessions() as session:
                return not await sources.is_read(session, self._code)
        except Exception as error:  # noqa: BLE001 - the database is away: then nobody knows
            log.debug("source not looked up", reason=str(error))
            return False


class SourceOwners:
    """Makes the actors of one family, and keeps few of them: `most` with the idle ones, more only while they work."""

    def __init__(self, most: int) -> None:
        self._most = most
        # One at a time: each counts those that the others have made.
        self._turn = asyncio.Lock()

    def port(self, name: str) -> OwnerPort:
        """The way to the actor of that name, which may not be there yet."""
        return SourceOwner(name, self)

    async def find_or_make(self, name: str) -> Any:
        """The actor's handle; an idle one of another source may have to make room for it."""
        with suppress(ValueError):
            return ray.get_actor(name, namespace=NAMESPACE)
        async with self._turn:
            await self._make_room(name.partition(":")[0])
            return await asyncio.to_thread(ray.remote(SourceActor).options(name=name, **OPTIONS).remote, name)

    async def _make_room(self, family: str) -> None:
        others = {name: ray.get_actor(name, namespace=NAMESPACE) for name in source_actors(family)}
        if len(others) < self._most:
            return
        answers = await asyncio.gather(*(_idle_s(handle) for handle in others.values()))
        for name in to_end(dict(zip(others, answers, strict=True)), self._most):
            with suppress(RayError, TimeoutError):  # its death is the answer
                async with asyncio.timeout(ASK_S):
                    await others[name].leave.remote()


async def _idle_s(handle: Any) -> float:
    """How long a source's actor has had nothing to do; one that does not answer is taken for busy."""
    try:
        async with asyncio.timeout(ASK_S):
            answer: dict[str, float] = await handle.ping.remote()
            return answer["idle_s"]
    except (RayError, TimeoutError):
        return -1.0


class SourceOwner(RayOwner):
    """The owner of one source: made anew whenever it is not there."""

    def __init__(self, name: str, family: SourceOwners) -> None:
        super().__init__(name)
        self._family = family

    async def run(self, attempt: Attempt) -> Outcome:
        """Run an attempt. Raises RayError when the actor dies over it, TimeoutError when it cannot be made."""
        # Every time: an actor found a moment ago may be about to end.
        self._handle = None
        return await super().run(attempt)

    async def ping(self) -> object:
        """As for any owner; one that is still being made is waited for by `run`, and need not answer yet."""
        return "being made" if self._handle is None else await super().ping()

    async def _await_alive(self) -> None:
        async with asyncio.timeout(START_PATIENCE_S):
            while True:
                with suppress(ActorUnavailableError, ActorDiedError, ValueError):
                    handle = await self._family.find_or_make(self._name)
                    if await handle.hold.remote():
                        self._handle = handle
                        return
                await asyncio.sleep(0.1)


def source_actors(family: str = SOURCE) -> list[str]:
    """Names of the actors of sources that are there now."""
    return [name for name in ray.util.list_named_actors() if name.startswith(f"{family}:")]
