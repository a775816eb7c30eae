"""How long a client of the events is kept: until it leaves, its account is switched off, its time is over, or it takes
nothing any more. The same for sockets and event streams."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from contextlib import suppress
from enum import Enum

import structlog
from litestar.exceptions import WebSocketDisconnect
from sqlalchemy.exc import SQLAlchemyError

from actors.ending import end
from db.engine import SessionFactory
from serve.event_options import WrongOption
from serve.event_queue import Subscription
from serve.event_sender import Blocked, EventSender
from serve.security import User, find_user

RECHECK_S = 60.0
# About half an hour, spread out, so that accounts are checked again and replicas can be replaced.
LIFE_S = 1800.0

log = structlog.get_logger(__name__)


class Ending(Enum):
    """Why a client is served no longer."""

    LEFT = "left"
    REVOKED = "revoked"
    LAGGING = "lagging"
    OVER = "over"
    WRONG = "wrong"


async def serve_client(
    sender: EventSender, leaving: Awaitable[None], subscription: Subscription, user: User, sessions: SessionFactory
) -> tuple[Ending, str]:
    """Send until there is a reason to stop; returns it, with words for the client. `leaving` ends with the client, or
    with the WrongOption it has sent."""
    life_s = LIFE_S * random.uniform(0.9, 1.1)  # noqa: S311 - spreads reconnects, no secret
    sending = asyncio.create_task(sender.run())
    gone = asyncio.ensure_future(leaving)
    revoked = asyncio.create_task(_until_revoked(user, sessions))
    over = asyncio.create_task(_until_over(subscription, life_s))
    tasks: set[asyncio.Future[None]] = {sending, gone, revoked, over}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for error in (None if task.cancelled() else task.exception() for task in tasks):
        if isinstance(error, Exception) and not isinstance(error, (Blocked, WebSocketDisconnect, WrongOption)):
            log.warning("client ended early", reason=repr(error))
    if gone in done:
        wrong = gone.exception()
        return (Ending.WRONG, str(wrong)) if isinstance(wrong, WrongOption) else (Ending.LEFT, "")
    if revoked in done:
        return Ending.REVOKED, "log in again"
    if sending in done and isinstance(sending.exception(), Blocked):
        return Ending.LAGGING, "too slow: reconnect with your last event id"
    return Ending.OVER, "reconnect with your last event id"


async def _until_over(subscription: Subscription, life_s: float) -> None:
    """Ends when the client was served long enough, or the server asks its clients to go."""
    with suppress(TimeoutError):
        async with asyncio.timeout(life_s):
            await subscription.is_leaving.wait()


async def _until_revoked(user: User, sessions: SessionFactory) -> None:
    """Look the account up now and then; ends when it is switched off or gone."""
    while True:
        await asyncio.sleep(RECHECK_S)
        with suppress(SQLAlchemyError, OSError):
            if await find_user(sessions, user.id) is None:
                return
