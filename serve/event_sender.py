"""Sends one socket its events: what it missed, a snapshot where it needs one, then the live ones at its own pace."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from actors.events import Gap, GapData, Ping, encode, id_key
from serve.event_hub import EventHub
from serve.event_queue import Subscription

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
PACE_MS = (20, 2000)
DEFAULT_PACE_MS = 200

SendText = Callable[[str], Awaitable[None]]

log = structlog.get_logger(__name__)


class Blocked(Exception):
    """One send has taken too long."""


class WrongOption(ValueError):
    """A query parameter of the handshake says nothing we know; the message names it."""


@dataclass(frozen=True)
class Options:
    """What a client asks for. `after`: the last id it has; None asks for a snapshot instead."""

    topic: str | None = None
    after: str | None = None
    pace_s: float = DEFAULT_PACE_MS / 1000
    is_batch: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Options:
        """Read the handshake's query.

        Raises:
            WrongOption: a value is none of those allowed.
        """
        after = query.get("after")
        if after is not None:
            try:
                id_key(after)
            except ValueError as error:
                raise WrongOption("after: not an event id") from error
        pace = query.get("pace_ms", str(DEFAULT_PACE_MS))
        if not (pace.isascii() and pace.isdigit() and PACE_MS[0] <= int(pace[:5]) <= PACE_MS[1]):
            raise WrongOption(f"pace_ms: expected {PACE_MS[0]} to {PACE_MS[1]}")
        frames = query.get("frames", "single")
        if frames not in ("single", "batch"):
            raise WrongOption("frames: expected single or batch")
        return cls(query.get("topic") or None, after, int(pace) / 1000, frames == "batch")


class EventSender:
    """One socket's sending side."""

    def __init__(self, send_text: SendText, hub: EventHub, subscription: Subscription, options: Options) -> None:
        self._send_text = send_text
        self._hub = hub
        self._subscription = subscription
        self._options = options
        self._frames_left = int(FRAMES_PER_SOCKET * random.uniform(0.9, 1.1))  # noqa: S311 - spreads reconnects

    async def run(self) -> None:
        """Send until cancelled, or until the socket has had its share of frames.

        Raises:
            Blocked: the client takes nothing any more.
        """
        if self._options.after is None:
            self._subscription.ask_for_snapshot()
        else:
            await self._replay(self._options.after)
        while self._frames_left > 0:
            try:
                # Not wait_for: in Python 3.11 it can swallow a cancellation that meets an arriving event.
                async with asyncio.timeout(PING_S):
                    await self._subscription.wait()
            except TimeoutError:
                await self._send([encode(Ping())])
                continue
            texts = await self._next_texts()
            await self._send(texts)
            await asyncio.sleep(self._pause_s(len(texts)))

    async def _replay(self, after: str) -> None:
        if await self._hub.is_gone(after):
            self._subscription.last_taken = id_key(after)
            self._subscription.lose()
            return
        async for items, upto in self._hub.replay(after):
            await self._send([item.text for item in items if self._options.topic in (None, item.topic)])
            self._subscription.skip_to(id_key(upto))

    async def _next_texts(self) -> list[str]:
        """What to send now. Without the database the live events go on, and the snapshot follows later."""
        subscription = self._subscription
        texts: list[str] = []
        if subscription.needs_snapshot:
            gap, subscription.has_gap = self._gap() if subscription.has_gap else [], False
            try:
                await self._hub.bring_up(subscription)
                texts = gap
            except (SQLAlchemyError, OSError) as error:
                subscription.has_gap = subscription.has_gap or bool(gap)
                log.warning("no snapshot for a socket", reason=str(error))
                await asyncio.sleep(RETRY_SNAPSHOT_S)
        elif subscription.has_gap:
            texts, subscription.has_gap = self._gap(), False
        return [*texts, *(item.text for item in subscription.take())]

    def _gap(self) -> list[str]:
        major, minor = self._subscription.last_taken
        return [encode(Gap(topic=self._options.topic or "", data=GapData(f"{major}-{minor}")))]

    def _pause_s(self, frames: int) -> float:
        pace_s = self._options.pace_s * self._hub.stretch
        return pace_s if self._options.is_batch else max(pace_s, min(pace_s * frames, LONGEST_PAUSE_S))

    async def _send(self, texts: list[str]) -> None:
        if not texts:
            return
        try:
            async with asyncio.timeout(BLOCKED_S):
                for text in _batches(texts) if self._options.is_batch else texts:
                    await self._send_text(text)
                    self._frames_left -= 1
        except TimeoutError as error:
            raise Blocked from error


def _batches(texts: list[str]) -> Iterator[str]:
    """JSON arrays of the events, each below the longest batch unless a single event is beyond it."""
    batch: list[str] = []
    length = 0
    for text in texts:
        if batch and length + len(text) > LONGEST_BATCH:
            yield f"[{','.join(batch)}]"
            batch, length = [], 0
        batch.append(text)
        length += len(text)
    yield f"[{','.join(batch)}]"
