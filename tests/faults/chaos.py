"""A seeded run of blows against the stack: every two seconds another part of it is killed or emptied."""

from __future__ import annotations

import asyncio
import random
import statistics
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from observed import rows
from redis.exceptions import RedisError
from victims import HEAD, NEEDLES, is_foreign, kill

from actors.owner import Connections
from cluster.local.stack import Stack

OWNER, FLUSH = "owning actor", "Redis, emptied"
# What works on the jobs is hit most. Each round of the deck is shuffled anew, so that nothing is left out for long.
DECK = (
    *(OWNER, "dispatcher") * 4,
    *("PostgreSQL", "API replica", "Redis") * 2,
    *("Serve proxy", "Serve controller", "forecaster replica", "dashboard", FLUSH),
)
# The head takes all of Ray with it and needs twenty seconds to come back: every ninety, or nothing would ever run.
BLOWS_PER_HEAD, FIRST_HEAD = 45, 20
HEAD_RISES = timedelta(seconds=40)
# Only these can orphan a job.
ORPHANING = (OWNER, "dispatcher", "PostgreSQL", *HEAD)


@dataclass(frozen=True)
class Blow:
    """What was hit, and when."""

    victim: str
    at: datetime


@dataclass
class Chaos:
    """Strikes until stopped; remembers every blow that met something."""

    stack: Stack
    system: Connections
    seed: int
    every_s: float = 2.0
    blows: list[Blow] = field(default_factory=list)

    async def rage(self, seconds: float) -> None:
        """Strike for so long."""
        loop = asyncio.get_running_loop()
        over = loop.time() + seconds
        cards, heads = _shuffled(DECK, self.seed), _shuffled(HEAD, self.seed)
        while loop.time() < over:
            began = loop.time()
            if len(self.blows) % BLOWS_PER_HEAD != FIRST_HEAD or not await self._strike(next(heads)):
                for victim in cards:
                    if await self._strike(victim):
                        break  # it was there to be hit
            await asyncio.sleep(max(0.0, self.every_s - (loop.time() - began)))

    async def _strike(self, victim: str) -> bool:
        at = datetime.now(UTC)
        if victim == FLUSH:
            with suppress(RedisError, OSError):
                await self.system.redis.flushall()
                self.blows.append(Blow(victim, at))
                return True
            return False
        needle = "ray::WorkModuleActor" if victim == OWNER else NEEDLES[victim]
        if await asyncio.to_thread(kill, self.stack, needle) == 0:
            return False
        self.blows.append(Blow(victim, at))
        return True

    def told(self) -> str:
        """How often each was hit."""
        counts = {victim: sum(blow.victim == victim for blow in self.blows) for victim in dict.fromkeys((*DECK, *HEAD))}
        return ", ".join(f"{victim} {count}x" for victim, count in counts.items() if count)


def _shuffled(deck: Sequence[str], seed: int) -> Iterator[str]:
    """Cards for ever, round after round."""
    chance = random.Random(seed)
    while True:
        cards = [card for card in deck if not is_foreign(card)]
        chance.shuffle(cards)
        yield from cards


@dataclass(frozen=True)
class Recovery:
    """A job's wait from the blow that orphaned it to its next attempt.

    It was undisturbed when nothing else was hit meanwhile and Ray had not just been taken down.
    """

    job_id: uuid.UUID
    victim: str
    seconds: float
    undisturbed: bool


async def recoveries(system: Connections, ids: list[uuid.UUID], blows: list[Blow]) -> list[Recovery]:
    """Every begun attempt that was not the last, with the first blow after its beginning that can have ended it."""
    query = """
        SELECT job_id, at, lead(at) OVER (PARTITION BY job_id ORDER BY attempt) AS again
        FROM fault_begin WHERE job_id = ANY(:ids)"""
    found = []
    for job_id, began, again in await rows(system, query, ids=ids):
        if again is None:
            continue
        between = [blow for blow in blows if began <= blow.at < again and blow.victim in ORPHANING]
        if between:
            first = between[0]
            rising = [blow for blow in blows if blow.victim in HEAD and first.at - HEAD_RISES <= blow.at < again]
            undisturbed = len(between) == 1 and not rising
            found.append(Recovery(job_id, first.victim, (again - first.at).total_seconds(), undisturbed))
    return found


def table(found: list[Recovery]) -> str:
    """Recovery times by victim."""
    lines = []
    for victim in ORPHANING:
        times = [each.seconds for each in found if each.victim == victim]
        if times:
            worst, median = max(times), statistics.median(times)
            lines.append(f"  {victim}: {len(times)} orphaned, begun again after {median:.1f} s (worst {worst:.1f} s)")
    return "\n".join(lines)
