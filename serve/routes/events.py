"""Live events over a WebSocket, with replay from the last id a client has seen."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import msgspec
from litestar import Request, Router, WebSocket, post, websocket
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect

from actors.events import Event, id_key
from serve.event_hub import EventHub, Lagging, Subscription
from serve.security import SOCKET, VIEWER, User, authenticate_socket, issue_ticket

PING_S = 20.0
# Sockets end after about half an hour, spread out, so that accounts are checked again and replicas can be replaced.
LIFE_S = 1800.0
CLOSE_LOG_IN = 4401
CLOSE_FORBIDDEN = 4403
CLOSE_BAD_REQUEST = 4400
CLOSE_LAGGING = 1013
CLOSE_RECONNECT = 1012


class TicketOut(msgspec.Struct, frozen=True):
    """A pass for one handshake."""

    ticket: str


@post("/events/ticket", opt=VIEWER, status_code=200, operation_id="getEventTicket", summary="A pass for one WebSocket")
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
        await authenticate_socket(socket, state.auth)
    except NotAuthorizedException as error:
        await _refuse(socket, CLOSE_LOG_IN, error.detail)
        return
    after = socket.query_params.get("after")
    try:
        id_key(after or "0-0")
    except ValueError:
        await _refuse(socket, CLOSE_BAD_REQUEST, "after: not an event id")
        return
    await socket.accept()
    hub: EventHub = state.hub
    subscription = hub.subscribe(socket.query_params.get("topic"))
    try:
        await _serve(socket, hub, subscription, after)
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


async def _serve(
    socket: WebSocket[Any, Any, Any], hub: EventHub, subscription: Subscription, after: str | None
) -> None:
    life = LIFE_S * random.uniform(0.9, 1.1)  # noqa: S311 - spreads reconnects, no secret
    tasks = [
        asyncio.create_task(_send(socket, hub, subscription, after)),
        asyncio.create_task(_until_disconnect(socket)),
        asyncio.create_task(asyncio.sleep(life)),
    ]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if tasks[1] in done:
        tasks[0].cancelled() or tasks[0].exception() if tasks[0].done() else None
        return
    error = tasks[0].exception() if tasks[0] in done else None
    with suppress(WebSocketDisconnect, RuntimeError):
        if isinstance(error, Lagging):
            await socket.close(code=CLOSE_LAGGING, reason="too slow: reconnect with your last event id")
        else:
            await socket.close(code=CLOSE_RECONNECT, reason="reconnect with your last event id")
    if error is not None and not isinstance(error, (Lagging, WebSocketDisconnect, RuntimeError)):
        raise error


async def _send(socket: WebSocket[Any, Any, Any], hub: EventHub, subscription: Subscription, after: str | None) -> None:
    sent = (0, 0)
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
            if id_key(event.id) <= sent:
                continue
        await socket.send_text(msgspec.json.encode(event).decode())


async def _until_disconnect(socket: WebSocket[Any, Any, Any]) -> None:
    """Read and ignore what the client sends; ends when it goes away."""
    with suppress(WebSocketDisconnect):
        while True:
            await socket.receive_data(mode="text")


router = Router("/", route_handlers=[get_ticket, follow_events], tags=["Events"])
