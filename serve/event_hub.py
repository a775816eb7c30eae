"""One reader of the event stream per API replica, fanned out to bounded queues, one a socket.

Progress of the same job replaces what is still unsent, so a slow client sees the newest state and never grows memory; a
client that still cannot keep up is cut off and comes back with its last id.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress

import structlog
from redis.exceptions import RedisError

from actors.events import Event, EventStream

QUEUE_LENGTH = 256

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
        if self.topic is not None and event.topic != self.topic:
            return
        key = event.id
        if event.type == "job.progressed":
            key = f"progress:{event.data['job_id']}"
            self._unsent.pop(key, None)
        elif len(self._unsent) >= QUEUE_LENGTH:
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
        self.last_id = "0-0"

    async def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """End the reader."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

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
        """Events after an id up to now, and whether some are gone from the stream."""
        return await self._stream.replay(after, "+")

    async def _follow(self) -> None:
        is_placed = False
        while True:
            try:
                if not is_placed:
                    self.last_id = await self._stream.newest_id()
                    is_placed = True
                async for event in self._stream.follow(self.last_id):
                    self.last_id = event.id
                    for subscription in self._subscriptions:
                        subscription.offer(event)
            except (RedisError, OSError) as error:
                log.warning("event stream lost", reason=str(error))
                await asyncio.sleep(0.5)
