"""One reader of the event stream per API replica, which encodes every event once and offers it to all sockets.

It keeps the newest events, so that a snapshot read a moment ago can be brought up to date without asking the database
for every client that joins.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import structlog
from redis.exceptions import RedisError

from actors.ending import end
from actors.events import Draining, Entry, EventStream, JobRow, id_key
from actors.metrics import cache_asked, event_arrived
from serve.event_queue import LENGTH_AFTER_CUT, Item, Subscription, Told, item_of, put
from serve.event_topics import EVERYTHING, Topics

RETRY_S = 0.5
# Events that arrive within this time are read in one go: at 500 a second, a read for each would cost more than they do.
GATHER_S = 0.005
RECENT = 4096
RECENT_CHARACTERS = 8_000_000
SNAPSHOT_LIFE_S = 1.0
SHORT_SNAPSHOT_LIFE_S = 0.1
SNAPSHOT_PATIENCE_S = 10.0
# A newer version's events come as often as any: tell of the gap they leave at most this often.
UNREADABLE_EVERY_S = 1.0
DRAIN_SPREAD_S = 5.0
# Ray Serve's proxy handles each frame in Python, in about 0.12 ms, and so does the replica: this takes a third of a
# core in each. Above it everybody is slowed down.
FRAMES_PER_S = 2500.0
REPLAY_CHUNK = 500

ReadJobs = Callable[[], Awaitable[Sequence[JobRow]]]

log = structlog.get_logger(__name__)


class EventHub:
    """Follows the stream from its newest entry on. `read_jobs` reads what a snapshot tells, from the database."""

    def __init__(self, stream: EventStream, read_jobs: ReadJobs) -> None:
        self._stream = stream
        self._read_jobs = read_jobs
        self._subscriptions: set[Subscription] = set()
        self._wanted_per_s = 0.0
        self._busy_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._placed = asyncio.Event()
        self.last_id = "0-0"
        self._seqs: dict[str, int] = {}
        self._recent: deque[Item] = deque()
        self._recent_characters = 0
        # Everything after this id that concerned this hub is in `_recent`.
        self._recent_from = (0, 0)
        self._told: tuple[float, Told] | None = None
        self._snapshot_turn = asyncio.Lock()
        self._unreadable_timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """End the reader and send the clients on."""
        if self._unreadable_timer is not None:
            self._unreadable_timer.cancel()
        self._drain(spread_s=0.0)
        if self._task is not None:
            await end(self._task)

    @property
    def is_alive(self) -> bool:
        """Whether the reader runs; a replica whose reader has ended is not healthy."""
        return self._task is not None and not self._task.done()

    @property
    def clients(self) -> int:
        """How many sockets are open."""
        return len(self._subscriptions)

    @property
    def stretch(self) -> float:
        """By how much every client's pace is stretched, so that all of them together stay within what is sendable."""
        return max(1.0, self._wanted_per_s / FRAMES_PER_S)

    @property
    def backlog_s(self) -> float:
        """How long the proxy is busy with what all clients were sent lately; nobody need wait while it is not."""
        return max(0.0, self._busy_until - asyncio.get_running_loop().time())

    def spent(self, frames: int) -> None:
        """A client was sent so many frames."""
        now = asyncio.get_running_loop().time()
        self._busy_until = max(now, self._busy_until) + frames / FRAMES_PER_S

    def subscribe(self, topics: Topics = EVERYTHING, pace_s: float = 0.2) -> Subscription:
        """Receive events from now on."""
        subscription = Subscription(topics, pace_s)
        self._subscriptions.add(subscription)
        self._wanted_per_s += 1 / pace_s
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Receive no more."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._wanted_per_s -= 1 / subscription.pace_s

    async def replay(self, after: str) -> AsyncIterator[tuple[list[Item], str]]:
        """Events after an id up to now, a chunk at a time and up to which id it goes; without progress that the same
        chunk makes old, and without what was only for those who listened then.

        Waits until the reader has its place: what follows the replay then reaches every subscription.
        """
        await self._placed.wait()
        while entries := await self._stream.read(after, REPLAY_CHUNK):
            newest: dict[str, Item] = {}
            for entry in entries:
                if entry.event is not None and not isinstance(entry.event, Draining):
                    put(newest, item_of(entry.event))
            after = entries[-1].id
            yield list(newest.values()), after

    async def is_gone(self, after: str) -> bool:
        """Whether events after this id are missing from the stream."""
        return await self._stream.is_gone(after)

    async def bring_up(self, subscription: Subscription) -> None:
        """Put a snapshot and what came after it in place of what is unsent.

        Raises:
            SQLAlchemyError, OSError: the database is away.
        """
        told = await self._snapshot(SNAPSHOT_LIFE_S)
        later = self._after(told)
        if len({item.key for item in later}) > LENGTH_AFTER_CUT:
            # So much has happened since that the queue would be cut again at once.
            told = await self._snapshot(SHORT_SNAPSHOT_LIFE_S)
            later = self._after(told)
        subscription.restart(told.narrowed(subscription.topics), later)

    def _after(self, told: Told) -> list[Item]:
        return [item for item in self._recent if item.number > told.item.number]

    async def _snapshot(self, life_s: float) -> Told:
        """A snapshot at most so old that the recent events reach back to; many who ask share one query."""
        loop = asyncio.get_running_loop()
        async with self._snapshot_turn:
            while True:
                if self._told is not None:
                    made_at, told = self._told
                    if loop.time() - made_at < life_s and told.item.number >= self._recent_from:
                        cache_asked("snapshot", hit=True)
                        return told
                cache_asked("snapshot", hit=False)
                # The id first: whatever the query does not see yet then comes after it.
                upto = self.last_id
                async with asyncio.timeout(SNAPSHOT_PATIENCE_S):
                    rows = list(await self._read_jobs())
                self._told = loop.time(), Told.of(rows, upto)

    async def _follow(self) -> None:
        while True:
            try:
                await self._take_place()
                async for entries in self._stream.follow_entries(self.last_id):
                    self._take(entries)
                    await asyncio.sleep(GATHER_S)
            except (RedisError, OSError) as error:
                log.warning("event stream lost", reason=str(error))
                await asyncio.sleep(RETRY_S)

    async def _take_place(self) -> None:
        """Begin at the newest entry; after an interruption, tell everybody when entries are gone meanwhile."""
        newest = await self._stream.newest_id()
        if not self._placed.is_set():
            self.last_id = newest
            self._placed.set()
            self._lose()  # who came before has a snapshot of unknown place
        elif await self._stream.is_gone(self.last_id):
            # A server that lost everything, its clock too, would hand out smaller ids.
            self.last_id = min(self.last_id, newest, key=id_key)
            self._seqs.clear()
            self._lose()

    def _take(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.last_id = entry.id
            event = entry.event
            if event is None:
                self._unreadable(entry.id)
                continue
            event_arrived(event.at)
            expected = self._seqs.get(event.topic, event.seq - 1) + 1
            self._seqs[event.topic] = event.seq
            if event.seq != expected:
                log.warning("events lost", topic=event.topic, expected=expected, got=event.seq)
                self._lose()
            item = item_of(event)
            if isinstance(event, Draining):
                self._drain(DRAIN_SPREAD_S)  # concerns only those who are here now
            else:
                self._remember(item)
            for subscription in self._subscriptions:
                subscription.offer(item)

    def _remember(self, item: Item) -> None:
        self._recent.append(item)
        self._recent_characters += len(item.text)
        while len(self._recent) > RECENT or self._recent_characters > RECENT_CHARACTERS:
            oldest = self._recent.popleft()
            self._recent_from = oldest.number
            self._recent_characters -= len(oldest.text)

    def _lose(self) -> None:
        """Everybody needs to be told where things stand."""
        self._recent.clear()
        self._recent_characters = 0
        self._recent_from = id_key(self.last_id)
        self._told = None
        for subscription in self._subscriptions:
            subscription.lose()

    def _unreadable(self, entry_id: str) -> None:
        """An entry of a newer version, or none of ours: the snapshot that follows a gap tells what it said."""
        self._seqs.clear()
        if self._unreadable_timer is None:
            log.error("event stream holds an entry that cannot be read", id=entry_id)
            loop = asyncio.get_running_loop()
            self._unreadable_timer = loop.call_later(UNREADABLE_EVERY_S, self._tell_unreadable)

    def _tell_unreadable(self) -> None:
        self._unreadable_timer = None
        self._lose()

    def _drain(self, spread_s: float) -> None:
        """Send every client on, spread out: all at once they would fall on the next replica together."""
        loop = asyncio.get_running_loop()
        for subscription in self._subscriptions:
            loop.call_later(random.uniform(0.1, 1.0) * spread_s, subscription.is_leaving.set)  # noqa: S311 - no secret
