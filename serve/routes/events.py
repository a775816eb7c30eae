"""Live events over a WebSocket, with replay from the last id a client has seen."""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from litestar import Request, Router, WebSocket, post, websocket
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from actors.events import Event, id_key
from serve.event_hub import EventHub, Lagging, Subscription
from serve.problems import ERRORS
from serve.security import SOCKET, VIEWER, User, authenticate_socket, find_user, issue_ticket

PING_S = 20.0
RECHECK_S = 60.0
# Sockets end after about half an hour, spread out, so that accounts are checked again and replicas can be replaced.
LIFE_S = 1800.0
CLOSE_LOG_IN = 4401
CLOSE_FORBIDDEN = 4403
CLOSE_BAD_REQUEST = 4400
CLOSE_LAGGING = CLOSE_TRY_AGAIN = 1013
CLOSE_RECONNECT = 1012

_EVENT_ID = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")

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
    """Send events as JSON text, first those after `?after=`, then live ones; `?topic=` keeps one topic."""
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
    after = socket.query_params.get("after")
    if after is not None and not is_event_id(after):
        await _refuse(socket, CLOSE_BAD_REQUEST, "after: not an event id")
        return
    await socket.accept()
    hub: EventHub = state.hub
    subscription = hub.subscribe(socket.query_params.get("topic"))
    try:
        await _serve(socket, user, subscription, after)
    finally:
        hub.unsubscribe(subscription)


def is_allowed_origin(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> bool:
    """Programs send no Origin; a browser's must be ours or named in the settings."""
    if origin is None:
        return True
    return origin in allowed or origin.split("://", 1)[-1] == host


def is_event_id(text: str) -> bool:
    """Whether Redis would take the text for a stream id: two 64-bit numbers, the second one optional."""
    found = _EVENT_ID.fullmatch(text)
    return found is not None and all(int(part or 0) < 2**64 for part in found.groups())


async def _refuse(socket: WebSocket[Any, Any, Any], code: int, reason: str) -> None:
    # The close code reaches the client only on an accepted socket; before that it would see a bare HTTP 403.
    await socket.accept()
    await socket.close(code=code, reason=reason)


async def _serve(socket: WebSocket[Any, Any, Any], user: User, subscription: Subscription, after: str | None) -> None:
    """Send until the client leaves, its time is over, its account is switched off, or it cannot keep up."""
    life = LIFE_S * random.uniform(0.9, 1.1)  # noqa: S311 - spreads reconnects, no secret
    sending = asyncio.create_task(_send(socket, socket.app.state.hub, subscription, after))
    leaving = asyncio.create_task(_until_disconnect(socket))
    revoked = asyncio.create_task(_until_revoked(socket, user))
    tasks = {sending, leaving, revoked, asyncio.create_task(asyncio.sleep(life))}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ends:
        if isinstance(error, Exception) and not isinstance(error, (Lagging, WebSocketDisconnect)):
            log.warning("socket ended early", reason=repr(error))
    if leaving in done:
        return
    code, reason = CLOSE_RECONNECT, "reconnect with your last event id"
    if revoked in done:
        code, reason = CLOSE_LOG_IN, "log in again"
    elif sending in done and isinstance(sending.exception(), Lagging):
        code, reason = CLOSE_LAGGING, "too slow: reconnect with your last event id"
    with suppress(WebSocketDisconnect, RuntimeError):
        await socket.close(code=code, reason=reason)


async def _send(socket: WebSocket[Any, Any, Any], hub: EventHub, subscription: Subscription, after: str | None) -> None:
    # The reader may be a moment behind: the client has what is up to `after` already.
    sent = id_key(after) if after is not None else (0, 0)
    if after is not None:
        missed, is_gap = await hub.replay(after)
        if is_gap:
            gap = Event(type="gap", topic=subscription.topic or "", data={"after": after})
            await socket.send_text(msgspec.json.encode(gap).decode())
        for event in missed:
            if subscription.topic in (None, event.topic):
                await socket.send_text(msgspec.json.encode(event).decode())
            sent = id_key(event.id)
    while True:
        try:
            # Not wait_for: in Python 3.11 it can swallow a cancellation that meets an arriving event.
            async with asyncio.timeout(PING_S):
                event = await subscription.next()
        except TimeoutError:
            event = Event(type="ping", topic="", data={}, id="")
        else:
            if event.id and id_key(event.id) <= sent:
                continue
        await socket.send_text(msgspec.json.encode(event).decode())


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
