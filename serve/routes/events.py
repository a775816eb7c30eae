"""Live events over a WebSocket, with replay from the last id a client has seen."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from litestar import Request, Router, WebSocket, post, websocket
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from serve.event_hub import EventHub
from serve.event_queue import Subscription
from serve.event_sender import Blocked, EventSender, Options, WrongOption
from serve.problems import ERRORS
from serve.security import SOCKET, VIEWER, User, authenticate_socket, find_user, issue_ticket

RECHECK_S = 60.0
CLOSE_PATIENCE_S = 2.0
# Sockets end after about half an hour, spread out, so that accounts are checked again and replicas can be replaced.
LIFE_S = 1800.0
CLOSE_LOG_IN = 4401
CLOSE_FORBIDDEN = 4403
CLOSE_BAD_REQUEST = 4400
CLOSE_LAGGING = CLOSE_TRY_AGAIN = 1013
CLOSE_RECONNECT = 1012

log = structlog.get_logger(__name__)


class TicketOut(msgspec.Struct, frozen=True):
    """A pass for one handshake."""

    ticket: str


@post(
    "/events/ticket",
    opt=VIEWER,
    responses=ERRORS,
    status_code=200,
    operation_id="getEventTicket",
    summary="A pass for one WebSocket",
)
async def get_ticket(request: Request[User, Any, Any], state: State) -> TicketOut:
    """Single use, good for 30 seconds: connect with `/events?ticket=...`."""
    return TicketOut(await issue_ticket(state.connections.redis, request.user))


@websocket("/events", opt=SOCKET)
async def follow_events(socket: WebSocket[Any, Any, Any]) -> None:
    """Send events as JSON text: those after `?after=`, or else a snapshot of the jobs, then live ones.

    `?topic=` keeps one topic, `?pace_ms=` is the time between two sends under load, and with `?frames=batch` one frame
    holds an array of events.
    """
    state = socket.app.state
    if not is_allowed_origin(socket.headers.get("origin"), socket.headers.get("host"), state.settings.allowed_origins):
        await _refuse(socket, CLOSE_FORBIDDEN, "this origin may not connect")
        return
    try:
        user = await authenticate_socket(socket, state.auth)
    except NotAuthorizedException as error:
        await _refuse(socket, CLOSE_LOG_IN, error.detail)
        return
    except (RedisError, SQLAlchemyError, OSError) as error:
        log.warning("socket refused: backing service away", reason=str(error))
        await _refuse(socket, CLOSE_TRY_AGAIN, "the database or the event store is not reachable just now; try again")
        return
    try:
        options = Options.parse(socket.query_params)
    except WrongOption as wrong:
        await _refuse(socket, CLOSE_BAD_REQUEST, str(wrong))
        return
    await socket.accept()
    hub: EventHub = state.hub
    subscription = hub.subscribe(options.topic, options.pace_s)
    try:
        await _serve(socket, user, subscription, EventSender(socket.send_text, hub, subscription, options))
    finally:
        hub.unsubscribe(subscription)


def is_allowed_origin(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> bool:
    """Programs send no Origin; a browser's must be ours or named in the settings."""
    if origin is None:
        return True
    return origin in allowed or origin.split("://", 1)[-1] == host


async def _refuse(socket: WebSocket[Any, Any, Any], code: int, reason: str) -> None:
    # The close code reaches the client only on an accepted socket; before that it would see a bare HTTP 403.
    await socket.accept()
    await socket.close(code=code, reason=reason)


async def _serve(socket: WebSocket[Any, Any, Any], user: User, subscription: Subscription, sender: EventSender) -> None:
    """Send until the client leaves, its time is over, its account is switched off, or it takes nothing any more."""
    life = LIFE_S * random.uniform(0.9, 1.1)  # noqa: S311 - spreads reconnects, no secret
    sending = asyncio.create_task(sender.run())
    leaving = asyncio.create_task(_until_disconnect(socket))
    revoked = asyncio.create_task(_until_revoked(socket, user))
    over = asyncio.create_task(_until_over(subscription, life))
    tasks: set[asyncio.Task[None]] = {sending, leaving, revoked, over}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ends:
        if isinstance(error, Exception) and not isinstance(error, (Blocked, WebSocketDisconnect)):
            log.warning("socket ended early", reason=repr(error))
    if leaving in done:
        return
    code, reason = CLOSE_RECONNECT, "reconnect with your last event id"
    if revoked in done:
        code, reason = CLOSE_LOG_IN, "log in again"
    elif sending in done and isinstance(sending.exception(), Blocked):
        code, reason = CLOSE_LAGGING, "too slow: reconnect with your last event id"
    # A client that takes nothing does not take its leave either.
    with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(CLOSE_PATIENCE_S):
            await socket.close(code=code, reason=reason)


async def _until_over(subscription: Subscription, life_s: float) -> None:
    """Ends when the socket has lived long enough, or the server asks its clients to go."""
    with suppress(TimeoutError):
        async with asyncio.timeout(life_s):
            await subscription.is_leaving.wait()


async def _until_revoked(socket: WebSocket[Any, Any, Any], user: User) -> None:
    """Look the account up now and then; ends when it is switched off or gone."""
    while True:
        await asyncio.sleep(RECHECK_S)
        with suppress(SQLAlchemyError, OSError):
            if await find_user(socket.app.state.connections.sessions, user.id) is None:
                return


async def _until_disconnect(socket: WebSocket[Any, Any, Any]) -> None:
    """Read and ignore what the client sends; ends when it goes away."""
    with suppress(WebSocketDisconnect):
        while True:
            await socket.receive_data(mode="text")


router = Router("/", route_handlers=[get_ticket, follow_events], tags=["Events"])
