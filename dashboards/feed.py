"""The one event stream of a dashboard process: follows the jobs topic and keeps the shared job board current."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException

from dashboards.api_client import ApiClient, ApiProblem
from dashboards.api_types import Event, JobEvent, events_of, job_event_of, snapshot_of
from dashboards.sessions import SessionStore, SignedIn
from dashboards.state import JobBoard

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 15.0
# The API pings every 20-30 s; twice that without a frame means the path is dead although no side has closed it.
SILENCE_S = 75.0
# The server sends its clients on with this code before it is replaced, and every half hour or so.
SENT_ON = 1012


class SentOn(Exception):
    """The server asks its clients to connect anew."""


class Feed:
    """Connects as any signed-in user, falls back to the next when a token is refused, and resumes after the last id."""

    def __init__(
        self,
        board: JobBoard,
        sessions: SessionStore,
        client_for: Callable[[SignedIn], ApiClient],
        first_delay_s: float = FIRST_DELAY_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.board = board
        self.last_id: str | None = None
        self._sessions = sessions
        self._client_for = client_for
        self._first_delay_s = first_delay_s
        self._silence_s = silence_s
        self._refused: set[str] = set()
        self._someone = asyncio.Event()
        sessions.on_added(self._someone.set)

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        delay_s = self._first_delay_s
        while True:
            signed_in = await self._next_user()
            try:
                await self._follow(self._client_for(signed_in))
            except ApiProblem as problem:
                if problem.status in {401, 403}:
                    self._refused.add(signed_in.key)
                    continue
                logger.warning("Event stream: %s", problem.sentence)
            except SentOn:
                delay_s = self._first_delay_s
                continue
            except (OSError, TimeoutError, WebSocketException, InvalidHandshake, msgspec.MsgspecError) as error:
                logger.warning("Event stream lost (%s): %s", type(error).__name__, error)
            if self.board.connection == "live":
                delay_s = self._first_delay_s
            self.board.set_connection("reconnecting")
            await asyncio.sleep(delay_s)
            await self._poll(self._client_for(signed_in))
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    async def _next_user(self) -> SignedIn:
        """A live log-in whose token was not refused; waits for one."""
        while True:
            self._someone.clear()
            live = self._sessions.live()
            self._refused &= {s.key for s in live}
            for signed_in in live:
                if signed_in.key not in self._refused:
                    return signed_in
            await self._someone.wait()

    async def _follow(self, api: ApiClient) -> None:
        """One connection: the server begins with what was missed or with a snapshot; fold events until it closes."""
        ticket = await api.event_ticket()
        url = api.events_url(ticket, self.last_id)
        # Not compressed: the two are near each other, and deflating every frame would cost more than sending it.
        async with connect(url, proxy=None, open_timeout=10, max_size=2**22, compression=None) as socket:
            self.board.set_connection("live")
            has_heard = False
            try:
                async for frame in self._frames(socket):
                    self._fold(frame)
                    has_heard = True
            except ConnectionClosed as closed:
                # Only after something was heard: a server that sends everybody on at once must not be asked at once.
                if has_heard and closed.rcvd is not None and closed.rcvd.code == SENT_ON:
                    raise SentOn from closed
                raise

    async def _frames(self, socket: ClientConnection) -> AsyncIterator[list[Event]]:
        while True:
            # Not wait_for: up to Python 3.11 it swallows a cancellation that meets an arriving frame.
            async with asyncio.timeout(self._silence_s):
                frame = await socket.recv()
            yield events_of(frame)

    def _fold(self, events: list[Event]) -> None:
        """Bring the board up to date; types nobody knows yet are passed over. A snapshot follows every gap."""
        changes: list[tuple[JobEvent, datetime | None]] = []
        for event in events:
            if event.type == "snapshot":
                changes.clear()
                self.board.replace(snapshot_of(event))
            elif event.type in {"job.progressed", "job.changed"}:
                changes.append((job_event_of(event), event.at))
            if event.id:
                self.last_id = event.id
        if changes:
            self.board.apply(*changes)

    async def _poll(self, api: ApiClient) -> None:
        """Without a stream the board still moves, by REST, at the pace of the reconnections."""
        try:
            page = await api.jobs(limit=50)
        except ApiProblem as problem:
            logger.info("No jobs by REST while the event stream is down: %s", problem.sentence)
            return
        self.board.replace(page.items)
