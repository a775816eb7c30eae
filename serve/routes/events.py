"""Live events over a WebSocket or as server-sent events, with replay from the last id a client has seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Request, Response, Router, WebSocket, get, post, websocket
from litestar.datastructures import State
from litestar.exceptions import (
    NotAuthorizedException,
    PermissionDeniedException,
    ValidationException,
    WebSocketDisconnect,
)
from litestar.params import Parameter
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from actors.events import Subscribed, SubscribedData
from serve.event_hub import EventHub
from serve.event_life import Ending, serve_client
from serve.event_options import PACE_MS, Options, WrongOption
from serve.event_queue import Subscription, item_of
from serve.event_response import MEDIA_TYPE, EventStreamResponse, SendText
from serve.event_sender import EventSender
from serve.event_topics import EXPECTED, Topics, WrongTopic
from serve.problems import ERRORS
from serve.security import SOCKET, VIEWER, User, authenticate_socket, issue_ticket

CLOSE_PATIENCE_S = 2.0
# More than the longest list of topics.
LONGEST_MESSAGE = 8192
CLOSE_BAD_REQUEST = 4400
CLOSE_LOG_IN = 4401
CLOSE_FORBIDDEN = 4403
CLOSE_RECONNECT = 1012
CLOSE_LAGGING = CLOSE_TRY_AGAIN = 1013
CLOSE_CODES = {
    Ending.WRONG: CLOSE_BAD_REQUEST,
    Ending.REVOKED: CLOSE_LOG_IN,
    Ending.LAGGING: CLOSE_LAGGING,
    Ending.OVER: CLOSE_RECONNECT,
}
FOREIGN = "this origin may not connect"

TopicQuery = Annotated[list[str] | None, Parameter(description=f"What to tell of: {EXPECTED}. Without: everything.")]
AfterQuery = Annotated[str | None, Parameter(description="The last id the client has; it is sent what came later.")]
SnapshotQuery = Annotated[bool, Parameter(description="Begin with where all jobs stand, unless `after` is given.")]
PaceQuery = Annotated[
    int | None, Parameter(ge=PACE_MS[0], le=PACE_MS[1], description="Milliseconds between two writes under load.")
]
TicketQuery = Annotated[str | None, Parameter(description="A pass, for EventSource, which cannot send headers.")]
LastEventId = Annotated[
    str | None, Parameter(header="Last-Event-ID", description="As `after`, and goes before it: EventSource sends it.")
]

log = structlog.get_logger(__name__)


class TicketOut(msgspec.Struct, frozen=True):
    """A pass for one handshake."""

    ticket: str


class Wish(msgspec.Struct, frozen=True):
    """What a client may send on its open socket: the topics it wants from now on, instead of those it has."""

    topics: list[str]


@post(
    "/events/ticket",
    opt=VIEWER,
    responses=ERRORS,
    status_code=200,
    operation_id="getEventTicket",
    summary="A pass for one WebSocket or event stream",
)
async def get_ticket(request: Request[User, Any, Any], state: State) -> TicketOut:
    """Single use, good for 30 seconds: connect with `/events?ticket=...` or `/events/stream?ticket=...`."""
    return TicketOut(await issue_ticket(state.connections.redis, request.user))


@websocket("/events", opt=SOCKET)
async def follow_events(socket: WebSocket[Any, Any, Any]) -> None:
    """Send events as JSON text: those after `?after=`, or else a snapshot of the jobs, then live ones.

    `?topic=`, any number of times, names what to tell of, `?pace_ms=` is the time between two sends under load, and
    with `?frames=batch` one frame holds an array of events. A client may change its topics: `{"topics": ["jobs"]}`.
    """
    state = socket.app.state
    if not is_allowed_origin(socket.headers.get("origin"), socket.headers.get("host"), state.settings.allowed_origins):
        await _refuse(socket, CLOSE_FORBIDDEN, FOREIGN)
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
        options = Options.parse(socket.query_params, socket.query_params.getall("topic", []))
    except WrongOption as wrong:
        await _refuse(socket, CLOSE_BAD_REQUEST, str(wrong))
        return
    await socket.accept()
    hub: EventHub = state.hub
    subscription = hub.subscribe(options.topics, options.pace_s)
    sender = EventSender(socket.send_text, hub, subscription, options)
    try:
        listening = _listen(socket, hub, subscription)
        ending, reason = await serve_client(sender, listening, subscription, user, state.connections.sessions)
        if ending is not Ending.LEFT:
            await _close(socket, CLOSE_CODES[ending], reason)
    finally:
        hub.unsubscribe(subscription)


@get(
    "/events/stream",
    opt=SOCKET,
    media_type=MEDIA_TYPE,
    # OpenAPI has no answers without an end: the document tells of it in words (`serve.openapi.TAGS`).
    include_in_schema=False,
)
async def stream_events(
    request: Request[Any, Any, Any],
    state: State,
    topic: TopicQuery = None,
    after: AfterQuery = None,
    snapshot: SnapshotQuery = True,
    pace_ms: PaceQuery = None,
    ticket: TicketQuery = None,  # noqa: ARG001 - documented here, read where log-ins are checked
    last_event_id: LastEventId = None,
) -> Response[str]:
    """The events of `/events` for clients without WebSockets.

    `event` is the type, `id` the place to go on from, `data` the event as JSON. An answer ends after some minutes: go
    on with the last id, and with a new ticket where one is used.
    """
    origin, host = request.headers.get("origin"), request.headers.get("host")
    if not is_allowed_origin(origin, host, state.settings.allowed_origins):
        raise PermissionDeniedException(FOREIGN)
    user = await authenticate_socket(request, state.auth)
    try:
        options = Options(frames="sse").asked(
            last_event_id or after, str(snapshot).lower(), None if pace_ms is None else str(pace_ms), topic or []
        )
    except WrongOption as wrong:
        field, _, message = str(wrong).partition(": ")
        raise ValidationException(str(wrong), extra=[{"key": field, "message": message}]) from wrong
    hub: EventHub = state.hub

    async def serve(send_text: SendText, leaving: Awaitable[None]) -> None:
        subscription = hub.subscribe(options.topics, options.pace_s)
        try:
            sender = EventSender(send_text, hub, subscription, options)
            await serve_client(sender, leaving, subscription, user, state.connections.sessions)
        finally:
            hub.unsubscribe(subscription)

    return EventStreamResponse(serve)


def is_allowed_origin(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> bool:
    """Programs send no Origin; a browser's must be ours or named in the settings."""
    if origin is None:
        return True
    return origin in allowed or origin.split("://", 1)[-1] == host


async def _refuse(socket: WebSocket[Any, Any, Any], code: int, reason: str) -> None:
    # The close code reaches the client only on an accepted socket; before that it would see a bare HTTP 403.
    await socket.accept()
    await socket.close(code=code, reason=_short(reason))


async def _close(socket: WebSocket[Any, Any, Any], code: int, reason: str) -> None:
    # A client that takes nothing does not take its leave either.
    with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(CLOSE_PATIENCE_S):
            await socket.close(code=code, reason=_short(reason))


def _short(reason: str) -> str:
    """A close frame has room for 123 bytes of reason."""
    return reason.encode()[:120].decode(errors="ignore")


async def _listen(socket: WebSocket[Any, Any, Any], hub: EventHub, subscription: Subscription) -> None:
    """Change topics as the client wishes and ignore what else it sends; ends when it goes away.

    Raises:
        WrongOption: it asks for a topic that is none.
    """
    with suppress(WebSocketDisconnect):
        while True:
            wish = _wish_of(await socket.receive_data(mode="text"))
            if wish is None:
                continue
            try:
                topics = Topics.parse(wish.topics)
            except WrongTopic as error:
                raise WrongOption(str(error)) from error
            answer = Subscribed(data=SubscribedData(sorted(topics.names)), id=hub.last_id)
            subscription.change_topics(topics, item_of(answer))


def _wish_of(message: str | bytes) -> Wish | None:
    if len(message) > LONGEST_MESSAGE:
        return None
    try:
        return msgspec.json.decode(message, type=Wish)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


router = Router("/", route_handlers=[get_ticket, follow_events, stream_events], tags=["Events"])
