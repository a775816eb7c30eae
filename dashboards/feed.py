"""The one event stream of a dashboard process: follows the jobs topic and keeps the shared job board current."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from dashboards.api_client import ApiClient, ApiProblem
from dashboards.api_types import Event, JobEvent
from dashboards.sessions import SessionStore, SignedIn
from dashboards.state import JobBoard

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 15.0
# The API pings every 20-30 s; twice that without a frame means the path is dead although no side has closed it.
SILENCE_S = 75.0


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
        """One connection: open, read a snapshot, then fold events until it closes."""
        ticket = await api.event_ticket()
        url = api.events_url(ticket, self.last_id)
        async with connect(url, proxy=None, open_timeout=10, max_size=2**20) as socket:
            # The snapshot comes after the socket is open, so nothing falls between the two.
            await self._snapshot(api)
            self.board.set_connection("live")
            await self._listen(api, socket)

    async def _listen(self, api: ApiClient, socket: ClientConnection) -> None:
        while True:
            # Not wait_for: up to Python 3.11 it swallows a cancellation that meets an arriving frame.
            async with asyncio.timeout(self._silence_s):
                frame = await socket.recv()
            event = msgspec.json.decode(frame, type=Event, strict=False)
            if event.type == "gap":
                await self._snapshot(api)
            elif event.type in {"job.progressed", "job.changed"} and event.data is not None:
                self.board.apply(msgspec.convert(event.data, JobEvent, strict=False), event.at)
            if event.id and event.type != "ping":
                self.last_id = event.id

    async def _poll(self, api: ApiClient) -> None:
        """Without a stream the board still moves, by REST, at the pace of the reconnections."""
        try:
            await self._snapshot(api)
        except ApiProblem as problem:
            logger.info("No snapshot while the event stream is down: %s", problem.sentence)

    async def _snapshot(self, api: ApiClient) -> None:
        page = await api.jobs(limit=50)
        self.board.replace(page.items)
