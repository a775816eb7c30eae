"""Who may do what: argon2 passwords, short-lived tokens, and a role on every route. What names no role is refused."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from datetime import timedelta
from typing import Any, Literal

import msgspec
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler
from litestar.security.jwt import JWTAuth, Token
from pwdlib import PasswordHash
from redis.asyncio import Redis

from db.engine import SessionFactory
from db.repositories import users
from settings import Settings

Role = Literal["viewer", "operator", "manager", "admin"]
RANK: dict[str, int] = {"viewer": 1, "operator": 2, "manager": 3, "admin": 4}
PUBLIC = {"role": "public", "exclude_from_auth": True}
# The socket handler authenticates by itself before it accepts: a browser cannot set headers on a handshake.
SOCKET = {"role": "viewer", "exclude_from_auth": True, "own_check": True}
VIEWER = {"role": "viewer"}
OPERATOR = {"role": "operator"}
MANAGER = {"role": "manager"}
ADMIN = {"role": "admin"}

ISSUER = "fmrp"
AUDIENCE = "fmrp-api"
TICKET_TTL_S = 30
# argon2 takes 64 MB and a tenth of a second of one core: more than a few at once would be a denial of service.
_HASHING = asyncio.Semaphore(2)
_passwords = PasswordHash.recommended()
_NOBODY = _passwords.hash(secrets.token_hex(16))


class User(msgspec.Struct, frozen=True):
    """The person or machine behind a request."""

    id: str
    email: str
    name: str
    role: str


async def hash_password(password: str) -> str:
    """Argon2 hash, made off the event loop."""
    async with _HASHING:
        return await asyncio.to_thread(_passwords.hash, password)


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Compare in the same time whether or not the account exists (`password_hash` None)."""
    async with _HASHING:
        matches = await asyncio.to_thread(_passwords.verify, password, password_hash or _NOBODY)
    return matches and password_hash is not None


def require_role(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of the whole application.

    Raises:
        PermissionDeniedException: the route names no role, or the user's is below it.
    """
    role = handler.opt.get("role")
    if role == "public" or handler.opt.get("own_check"):
        return
    if role not in RANK:
        raise PermissionDeniedException("this route names no role and is closed")
    user: User = connection.user
    if RANK[user.role] < RANK[role]:
        raise PermissionDeniedException(f"this needs the role {role} or above; you are {user.role}")


def build_auth(settings: Settings) -> JWTAuth[User]:
    """Bearer tokens signed with the settings' secret; the account is looked up at each request, so that a switched-off
    user is out at once."""

    async def retrieve_user(token: Token, connection: ASGIConnection[Any, Any, Any, Any]) -> User | None:
        return await find_user(connection.app.state.connections.reads, token.sub)

    return JWTAuth[User](
        retrieve_user_handler=retrieve_user,
        token_secret=settings.require_token_secret(),
        default_token_expiration=timedelta(seconds=settings.token_ttl_s),
        accepted_issuers=[ISSUER],
        accepted_audiences=[AUDIENCE],
    )


async def find_user(sessions: SessionFactory, user_id: str) -> User | None:
    """The active user with that id."""
    try:
        key = uuid.UUID(user_id)
    except ValueError:
        return None
    async with sessions() as session:
        account = await users.get(session, key)
    if account is None or not account.active:
        return None
    return User(str(account.id), account.email, account.name, account.role)


async def issue_ticket(redis: Redis, user: User) -> str:
    """A single-use pass for one WebSocket handshake, good for half a minute."""
    ticket = secrets.token_urlsafe(24)
    await redis.set(f"fmrp:ticket:{ticket}", user.id, ex=TICKET_TTL_S)
    return ticket


async def authenticate_socket(connection: ASGIConnection[Any, Any, Any, Any], auth: JWTAuth[User]) -> User:
    """The user behind a handshake, by ticket or bearer token.

    Raises:
        NotAuthorizedException: neither is there, or it is used up, expired or forged.
    """
    state = connection.app.state
    user_id: str | None = None
    if ticket := connection.query_params.get("ticket"):
        stored = await state.connections.redis.getdel(f"fmrp:ticket:{ticket}")
        user_id = stored.decode() if stored else None
    elif header := connection.headers.get("authorization"):
        token = Token.decode(
            header.removeprefix("Bearer "),
            secret=auth.token_secret,
            algorithm=auth.algorithm,
            issuer=[ISSUER],
            audience=[AUDIENCE],
        )
        user_id = token.sub
    user = await find_user(state.connections.sessions, user_id) if user_id else None
    if user is None:
        raise NotAuthorizedException("log in first: send a ticket or a bearer token")
    return user
