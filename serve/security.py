"""Who may do what: argon2 passwords, short-lived tokens, keys of machines, and a role on every route. What names no
role is refused."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import msgspec
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler
from litestar.security.jwt import JWTAuth, Token
from pwdlib import PasswordHash
from redis.asyncio import Redis
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from actors.owner import Connections
from actors.telemetry import current_ids
from db.audit import act_as, acting
from db.engine import SessionFactory
from db.models import ApiKey, UserAccount
from db.repositories import api_keys, users
from settings import Settings

Role = Literal["viewer", "operator", "manager", "admin"]
RANK: dict[str, int] = {"viewer": 1, "operator": 2, "manager": 3, "admin": 4}
PUBLIC = {"role": "public", "exclude_from_auth": True}
# Asked every few seconds by machines: counted against nobody's limit.
MONITORED = {**PUBLIC, "unlimited": True}
# The socket handler authenticates by itself before it accepts: a browser cannot set headers on a handshake.
SOCKET = {"role": "viewer", "exclude_from_auth": True, "own_check": True}
VIEWER = {"role": "viewer"}
# What somebody with a one-time password may do before they have chosen their own.
NEWCOMER = {"role": "viewer", "newcomer": True}
OPERATOR = {"role": "operator"}
MANAGER = {"role": "manager"}
ADMIN = {"role": "admin"}

ISSUER = "fmrp"
AUDIENCE = "fmrp-api"
TICKET_TTL_S = 30
KEY_MARK = "fmrp_"
# Ids of users and of keys share one namespace where either may stand: `key:<uuid>` is a machine.
_KEY_ID = "key:"
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
    must_change_password: bool = False

    @property
    def is_machine(self) -> bool:
        """Whether a key speaks, and no person."""
        return self.id.startswith(_KEY_ID)


@dataclass(frozen=True)
class Credential:
    """What a request shows: a token whose signature holds, or the SHA-256 of a key. `subject` names whose it is, for
    limits; whether they still exist is not looked at yet."""

    subject: str
    token: Token | None = None
    key_hash: bytes | None = None


def digest(secret: str) -> bytes:
    """SHA-256 of a secret of 256 random bits, which needs no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


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
        PermissionDeniedException: the route names no role, the user's is below it, or their password is a one-time one.
    """
    role = handler.opt.get("role")
    if role == "public" or handler.opt.get("own_check"):
        return
    if role not in RANK:
        raise PermissionDeniedException("this route names no role and is closed")
    user: User = connection.user
    if RANK[user.role] < RANK[role]:
        raise PermissionDeniedException(f"this needs the role {role} or above; you are {user.role}")
    if user.must_change_password and not handler.opt.get("newcomer"):
        raise PermissionDeniedException("your password was made for you: choose your own first (PUT /auth/password)")


def build_auth(settings: Settings) -> JWTAuth[User]:
    """Makes bearer tokens, signed with the settings' secret. The account is looked up at each request (`identify`), so
    that a switched-off user is out at once."""

    async def retrieve_user(token: Token, connection: ASGIConnection[Any, Any, Any, Any]) -> User | None:
        return await find_user(connection.app.state.connections.reads, token.sub)

    return JWTAuth[User](
        retrieve_user_handler=retrieve_user,
        token_secret=settings.require_token_secret(),
        default_token_expiration=timedelta(seconds=settings.token_ttl_s),
        accepted_issuers=[ISSUER],
        accepted_audiences=[AUDIENCE],
    )


def read_credential(headers: Mapping[str, str], auth: JWTAuth[User]) -> Credential | None:
    """The credential in a request's headers: Authorization (Bearer with a token or a key), else X-API-Key; or None.

    Raises:
        NotAuthorizedException: there is one and it is not ours, forged, or over.
    """
    if header := headers.get("authorization"):
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthorizedException("expected a bearer token or an API key")
        if not secret.startswith(KEY_MARK):
            token = _decoded(secret, auth.token_secret, auth.algorithm)
            if token.exp <= datetime.now(UTC):
                raise NotAuthorizedException("this token is over: log in again, or refresh it")
            return Credential(token.sub, token=token)
    elif (key := headers.get("x-api-key")) is None:
        return None
    else:
        secret = key
    if not secret.startswith(KEY_MARK):
        raise NotAuthorizedException("this is no API key of ours")
    hashed = digest(secret)
    return Credential(f"{_KEY_ID}{hashed.hex()}", key_hash=hashed)


@lru_cache(maxsize=4096)
def _decoded(encoded: str, secret: str, algorithm: str) -> Token:
    """What a token says, its signature checked once; whether its time is over is asked each time by the caller.

    Raises:
        NotAuthorizedException: forged, malformed, or over.
    """
    return Token.decode(encoded, secret=secret, algorithm=algorithm, issuer=[ISSUER], audience=[AUDIENCE])


async def identify(connections: Connections, credential: Credential) -> User | None:
    """The active user, or the live key, behind a credential."""
    if credential.token is not None:
        return await find_user(connections.reads, credential.token.sub)
    assert credential.key_hash is not None
    async with connections.reads() as session:
        found = await api_keys.find_live(session, credential.key_hash)
    if found is None:
        return None
    key, is_stale = found
    if is_stale:
        async with connections.sessions.begin() as session:
            await api_keys.note_use(session, key.id)
    return _machine(key)


async def find_user(sessions: SessionFactory, user_id: str) -> User | None:
    """The active user with that id, or the machine whose key is live."""
    try:
        key = uuid.UUID(user_id.removeprefix(_KEY_ID))
    except ValueError:
        return None
    async with sessions() as session:
        if user_id.startswith(_KEY_ID):
            machine = await api_keys.get_live(session, key)
            return None if machine is None else _machine(machine)
        row = await users.identity(session, key)
    return None if row is None else User(str(key), *row)


def user_of(account: UserAccount) -> User:
    """The user an account stands for."""
    return User(str(account.id), account.email, account.name, account.role, account.must_change_password)


def _machine(key: ApiKey) -> User:
    return User(f"{_KEY_ID}{key.id}", f"api-key:{key.name}", key.name, key.role)


async def act_for(session: AsyncSession, user: User) -> None:
    """Write the changes of this transaction into the audit log as this user's, with the request's trace id."""
    await act_as(session, user.email, _request_id())


def acting_for(user: User) -> tuple[ColumnElement[str], ...]:
    """The same as columns of the transaction's first query, which saves a round trip."""
    return acting(user.email, _request_id())


def _request_id() -> str | None:
    ids = current_ids()
    return ids[0] if ids else None


async def issue_ticket(redis: Redis, user: User) -> str:
    """A single-use pass for one WebSocket handshake, good for half a minute."""
    ticket = secrets.token_urlsafe(24)
    await redis.set(f"fmrp:ticket:{ticket}", user.id, ex=TICKET_TTL_S)
    return ticket


async def authenticate_socket(connection: ASGIConnection[Any, Any, Any, Any], auth: JWTAuth[User]) -> User:
    """The user behind a handshake, by ticket, bearer token or key.

    Raises:
        NotAuthorizedException: none is there, it is used up, expired or forged, or its owner has a one-time password.
    """
    connections = connection.app.state.connections
    user: User | None = None
    if ticket := connection.query_params.get("ticket"):
        stored = await connections.redis.getdel(f"fmrp:ticket:{ticket}")
        user = await find_user(connections.reads, stored.decode()) if stored else None
    elif (credential := read_credential(connection.headers, auth)) is not None:
        user = await identify(connections, credential)
    if user is None or user.must_change_password:
        raise NotAuthorizedException("log in first: send a ticket or a bearer token")
    return user
