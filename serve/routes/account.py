"""A user's own account: the password, and the log-ins that go on."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Router, delete, get, post, put
from litestar.datastructures import State
from litestar.exceptions import PermissionDeniedException
from litestar.params import Parameter
from litestar.security.jwt import Token
from sqlalchemy.ext.asyncio import AsyncSession

from actors.owner import Connections
from db.models import TokenFamily, UserAccount
from db.paging import fetch_page
from db.repositories import tokens, users
from serve.parameters import Cursor, Limit, sorts
from serve.passwords import Password, check_password
from serve.problems import ERRORS, Conflict, NotFound
from serve.routes.auth import forget_attempts, limit_attempts, token_maker
from serve.schemas import Listing
from serve.security import NEWCOMER, VIEWER, User, act_for, hash_password, user_of, verify_password
from serve.tokens import SESSION_CLAIM, LoginOut

SessionId = Annotated[uuid.UUID, Parameter(description="Id of a log-in of one's own.")]


class PasswordIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password as it is and as it shall be."""

    old_password: Password
    new_password: Password


class SessionOut(msgspec.Struct, frozen=True):
    """A log-in that goes on. `current` is the one this request belongs to."""

    id: uuid.UUID
    client: str
    address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool


@put(
    "/password",
    opt={**NEWCOMER, "cost": 10},
    responses=ERRORS,
    operation_id="changePassword",
    summary="Change one's own password",
)
async def change_password(request: Request[User, Any, Any], data: PasswordIn, state: State) -> LoginOut:
    """Ends all log-ins of the user and begins a new one, whose tokens are the answer."""
    connections: Connections = state.connections
    user_id = _person(request.user)
    check_password(data.new_password, request.user.email, state.settings.password_min_length, "new_password")
    await limit_attempts(connections, request.user.email)
    async with connections.sessions() as session:
        known = await _account(session, user_id)
    if not await verify_password(data.old_password, known.password_hash):
        raise Conflict("old_password: wrong", {"old_password": "wrong"})
    await forget_attempts(connections, request.user.email)
    password_hash = await hash_password(data.new_password)
    async with connections.sessions.begin() as session:
        await act_for(session, request.user)
        account = await _account(session, user_id, lock=True)
        if account.password_hash != known.password_hash:
            raise Conflict("the password was changed meanwhile: log in again")
        account.password_hash, account.must_change_password = password_hash, False
        await session.flush()
        await tokens.revoke(session, "password changed", user_id=user_id)
        return await token_maker(state).log_in(session, user_of(account), request)


@get("/sessions", opt=VIEWER, responses=ERRORS, operation_id="listSessions", summary="One's own log-ins")
async def list_sessions(
    request: Request[User, Token | None, Any],
    session: AsyncSession,
    sort: Annotated[str | None, sorts(tokens.ORDER)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[SessionOut]:
    """Those that go on, the last used first."""
    query = tokens.statement(_person(request.user))
    page = await fetch_page(session, query, tokens.ORDER, sort=sort, limit=limit, cursor=cursor)
    current = request.auth.extras.get(SESSION_CLAIM) if request.auth is not None else None
    rows = [_session_out(row[0], current) for row in page.rows]
    return Listing(rows, page.next_cursor, page.total)


@delete("/sessions/{session_id:uuid}", opt=VIEWER, responses=ERRORS, operation_id="endSession", summary="End a log-in")
async def end_session(request: Request[User, Any, Any], state: State, session_id: SessionId) -> None:
    """One of one's own. Its access token lives on for the rest of its minutes."""
    connections: Connections = state.connections
    user_id = _person(request.user)
    async with connections.sessions.begin() as session:
        ended = await tokens.revoke(session, "ended by its user", family_id=session_id, user_id=user_id)
    if not ended:
        raise NotFound(f"no log-in {session_id} of yours goes on")


@post(
    "/logout-all", opt=NEWCOMER, responses=ERRORS, status_code=204, operation_id="logOutAll", summary="End all log-ins"
)
async def log_out_all(request: Request[User, Any, Any], state: State) -> None:
    """All of one's own, this one among them. Access tokens live on for the rest of their minutes."""
    connections: Connections = state.connections
    user_id = _person(request.user)
    async with connections.sessions.begin() as session:
        await tokens.revoke(session, "all logged out", user_id=user_id)


def _person(user: User) -> uuid.UUID:
    if user.is_machine:
        raise PermissionDeniedException("an API key has neither password nor log-ins")
    return uuid.UUID(user.id)


async def _account(session: AsyncSession, user_id: uuid.UUID, *, lock: bool = False) -> UserAccount:
    account = await users.get(session, user_id, lock=lock)
    if account is None:
        raise NotFound("your account is no more")
    return account


def _session_out(family: TokenFamily, current: str | None) -> SessionOut:
    fields = {name: getattr(family, name) for name in SessionOut.__struct_fields__ if name != "current"}
    return SessionOut(**fields, current=str(family.id) == current)


router = Router("/auth", route_handlers=[change_password, list_sessions, end_session, log_out_all], tags=["Log-in"])
