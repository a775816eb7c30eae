"""One reader of the event stream per API replica, fanned out to bounded queues, one a socket.

Progress of the same job replaces what is still unsent, so a slow client sees the newest state and never grows memory; a
client that still cannot keep up is cut off and comes back with its last id.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import structlog
from msgspec import MsgspecError
from redis.exceptions import RedisError

from actors.events import Event, EventStream
from actors.metrics import event_arrived

QUEUE_LENGTH = 256
RETRY_S = 0.5
GAP = "gap"

log = structlog.get_logger(__name__)


class Lagging(Exception):
    """The subscriber could not keep up."""


class Subscription:
    """What one client has yet to be sent, oldest first."""

    def __init__(self, topic: str | None) -> None:
        self.topic = topic
        self.is_lagging = False
        self._unsent: OrderedDict[str, Event] = OrderedDict()
        self._news = asyncio.Event()

    def offer(self, event: Event) -> None:
        """Queue an event for this client; unsent progress of the same job makes room for the newer one."""
        if event.type != GAP and self.topic is not None and event.topic != self.topic:
            return
        key = event.id or event.type
        if event.type == "job.progressed" and not self.is_lagging:
            key = f"progress:{event.data.get('job_id')}"
            self._unsent.pop(key, None)
        if len(self._unsent) >= QUEUE_LENGTH:
            self.is_lagging = True
        if not self.is_lagging:
            self._unsent[key] = event
        self._news.set()

    async def next(self) -> Event:
        """Wait for the next event. Raises Lagging once the client has fallen too far behind."""
        while not self._unsent:
            if self.is_lagging:
                raise Lagging
            self._news.clear()
            await self._news.wait()
        return self._unsent.popitem(last=False)[1]


class EventHub:
    """Follows the stream from its newest entry on and hands every event to all subscriptions."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._placed = asyncio.Event()
        self.last_id = "0-0"

    async def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """End the reader. Asked again until it ends: in Python 3.11 an arriving answer can swallow a cancellation."""
        while self.is_alive and self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.2)

    @property
    def is_alive(self) -> bool:
        """Whether the reader runs; a replica whose reader has ended is not healthy."""
        return self._task is not None and not self._task.done()

    @property
    def clients(self) -> int:
        """How many sockets are open."""
        return len(self._subscriptions)

    def subscribe(self, topic: str | None) -> Subscription:
        """Receive events from now on."""
        subscription = Subscription(topic)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Receive no more."""
        self._subscriptions.discard(subscription)

    async def replay(self, after: str) -> tuple[list[Event], bool]:
        """Events after an id up to now, and whether some are gone from the stream.

        Waits until the reader has its place: what follows the replay then reaches every subscription.
        """
        await self._placed.wait()
        return await self._stream.replay(after, "+")

    async def _follow(self) -> None:
        while True:
            try:
                await self._take_place()
                async for event in self._stream.follow(self.last_id):
                    self.last_id = event.id
                    event_arrived(event.at)
                    self._offer(event)
            except (RedisError, OSError) as error:
                log.warning("event stream lost", reason=str(error))
                await asyncio.sleep(RETRY_S)
            except (MsgspecError, LookupError, ValueError) as error:
                # An entry that is no event of ours would stop every reader for good: go on behind it.
                log.error("event stream holds an entry that cannot be read", after=self.last_id, reason=str(error))
                self._placed.clear()
                self._offer(Event(type=GAP, topic="", data={"after": self.last_id}))
                await asyncio.sleep(RETRY_S)

    async def _take_place(self) -> None:
        """Begin at the newest entry; after an interruption, tell everybody when entries are gone meanwhile."""
        newest = await self._stream.newest_id()
        if not self._placed.is_set():
            self.last_id = newest
            self._placed.set()
            return
        _, is_gap = await self._stream.replay(self.last_id, self.last_id)
        if is_gap or (newest == "0-0" and self.last_id != "0-0"):
            self._offer(Event(type=GAP, topic="", data={"after": self.last_id}))

    def _offer(self, event: Event) -> None:
        for subscription in self._subscriptions:
            subscription.offer(event)
