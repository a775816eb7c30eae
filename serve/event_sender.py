"""Sends one client its events: what it missed, a snapshot where it needs one, then the live ones at its own pace."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from actors.events import Gap, GapData, Ping, id_key
from serve.event_hub import EventHub
from serve.event_options import Options
from serve.event_queue import Item, Subscription, item_of

PING_S = 20.0
# A client that takes nothing for this long is gone, whatever its connection says.
BLOCKED_S = 30.0
RETRY_SNAPSHOT_S = 1.0
# Clients that take one event a frame cost a frame for each, so under load they wait longer, but never longer than this.
LONGEST_PAUSE_S = 1.0
# Clients refuse frames beyond a size, often 1 MiB; a batch is split below that.
LONGEST_BATCH = 400_000
# Ray keeps about 100 bytes for every frame a socket was sent until that socket ends, so it ends after so many: a few
# minutes of a busy client. The client comes back with its last id and misses nothing.
FRAMES_PER_SOCKET = 750
# While the proxy has nothing to do a client waits only this long, so that what comes together goes together.
LEAST_PAUSE_S = 0.005

SendText = Callable[[str], Awaitable[None]]

log = structlog.get_logger(__name__)


class Blocked(Exception):
    """One send has taken too long."""


class EventSender:
    """One client's sending side; `send_text` takes a frame of the shape that the options name."""

    def __init__(self, send_text: SendText, hub: EventHub, subscription: Subscription, options: Options) -> None:
        self._send_text = send_text
        self._hub = hub
        self._subscription = subscription
        self._options = options
        self._not_before = 0.0
        self._frames_left = int(FRAMES_PER_SOCKET * random.uniform(0.9, 1.1))  # noqa: S311 - spreads reconnects

    async def run(self) -> None:
        """Send until cancelled, or until the socket has had its share of frames.

        Raises:
            Blocked: the client takes nothing any more.
        """
        if self._options.after is not None:
            await self._replay(self._options.after)
        elif self._options.is_snapshot:
            self._subscription.ask_for_snapshot()
        loop = asyncio.get_running_loop()
        while self._frames_left > 0:
            try:
                # Not wait_for: in Python 3.11 it can swallow a cancellation that meets an arriving event.
                async with asyncio.timeout(PING_S):
                    await self._subscription.wait()
            except TimeoutError:
                await self._send([item_of(Ping())])
                continue
            # The pause is over before most events come: who slept through it would be woken twice for each.
            if (early_s := self._not_before - loop.time()) > 0:
                await asyncio.sleep(early_s)
            items = await self._next_items()
            await self._send(items)
            self._not_before = loop.time() + self._pause_s(len(items))

    async def _replay(self, after: str) -> None:
        if await self._hub.is_gone(after):
            self._subscription.last_taken = id_key(after)
            self._subscription.lose()
            return
        async for items, upto in self._hub.replay(after):
            await self._send([item for item in items if self._subscription.topics.want(item.channels)])
            self._subscription.skip_to(id_key(upto))

    async def _next_items(self) -> list[Item]:
        """What to send now. Without the database the live events go on, and the snapshot follows later."""
        subscription = self._subscription
        items: list[Item] = []
        if subscription.needs_snapshot:
            gap, subscription.has_gap = self._gap() if subscription.has_gap else [], False
            try:
                await self._hub.bring_up(subscription)
                items = gap
            except (SQLAlchemyError, OSError) as error:
                subscription.has_gap = subscription.has_gap or bool(gap)
                log.warning("no snapshot for a client", reason=str(error))
                await asyncio.sleep(RETRY_SNAPSHOT_S)
        elif subscription.has_gap:
            items, subscription.has_gap = self._gap(), False
        return [*items, *subscription.take()]

    def _gap(self) -> list[Item]:
        major, minor = self._subscription.last_taken
        return [item_of(Gap(topic=self._subscription.topics.label, data=GapData(f"{major}-{minor}")))]

    def _pause_s(self, items: int) -> float:
        pace_s = self._options.pace_s * self._hub.stretch
        if self._options.frames == "single":
            pace_s = max(pace_s, min(pace_s * items, LONGEST_PAUSE_S))
        return min(pace_s, max(LEAST_PAUSE_S, self._hub.backlog_s)) if self._options.is_elastic else pace_s

    async def _send(self, items: Sequence[Item]) -> None:
        try:
            async with asyncio.timeout(BLOCKED_S):
                for frame in frames_of(items, self._options.frames):
                    await self._send_text(frame)
                    self._frames_left -= 1
                    self._hub.spent(1)
        except TimeoutError as error:
            raise Blocked from error


def frames_of(items: Sequence[Item], shape: str) -> Iterator[str]:
    """One event a frame ("single"), JSON arrays of them ("batch"), or chunks of an event stream ("sse"). The latter two
    stay below the longest batch unless a single event is beyond it."""
    if shape == "single":
        yield from (item.text for item in items)
        return
    texts = [item.text for item in items] if shape == "batch" else [_server_sent(item) for item in items]
    for batch in _batches(texts):
        yield f"[{','.join(batch)}]" if shape == "batch" else "".join(batch)


def _server_sent(item: Item) -> str:
    """As in the standard for EventSource. A ping is a comment: it must not look like an event to the page."""
    if item.type == "ping":
        return ": ping\n\n"
    major, minor = item.number
    place = f"id: {major}-{minor}\n" if major else ""
    return f"{place}event: {item.type}\ndata: {item.text}\n\n"


def _batches(texts: list[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    length = 0
    for text in texts:
        if batch and length + len(text) > LONGEST_BATCH:
            yield batch
            batch, length = [], 0
        batch.append(text)
        length += len(text)
    if batch:
        yield batch
