"""What a log-in hands out: a short-lived access token, and a refresh token that is exchanged for the next pair.

A refresh token is 256 random bits of which only the SHA-256 is stored. It is good once. One that comes again was
copied, by whom nobody knows, so the whole family that grew from its log-in ends.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from litestar import Request
from litestar.exceptions import NotAuthorizedException
from litestar.security.jwt import JWTAuth
from sqlalchemy.ext.asyncio import AsyncSession

from actors.owner import Connections
from db.repositories import tokens, users
from serve.access import address_of
from serve.security import AUDIENCE, ISSUER, User, digest, user_of
from settings import Settings

SESSION_CLAIM = "sid"
CLIENT_LENGTH = 200

log = structlog.get_logger(__name__)


class UserOut(msgspec.Struct, frozen=True):
    """Who is logged in. With `must_change_password` every route but PUT /auth/password is closed."""

    email: str
    name: str
    role: str
    must_change_password: bool


class LoginOut(msgspec.Struct, frozen=True):
    """A bearer token with its life in seconds, whose it is, and the refresh token, good once for the next pair."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    user: UserOut


def user_out(user: User) -> UserOut:
    """The public part of a user."""
    return UserOut(user.email, user.name, user.role, user.must_change_password)


class TokenMaker:
    """Makes pairs of tokens under the settings of one application."""

    def __init__(self, settings: Settings, auth: JWTAuth[User]) -> None:
        self._ttl = timedelta(days=settings.refresh_ttl_days)
        self._access_ttl_s = settings.token_ttl_s
        self._auth = auth

    async def log_in(self, session: AsyncSession, user: User, request: Request[Any, Any, Any]) -> LoginOut:
        """Begin a family for the user, in the transaction of `session`."""
        secret = secrets.token_urlsafe(32)
        client = request.headers.get("user-agent", "").encode("ascii", "replace").decode()[:CLIENT_LENGTH]
        family = await tokens.open_family(
            session, uuid.UUID(user.id), digest(secret), self._ttl, client=client, address=address_of(request.scope)
        )
        return self._pair(user, family.id, secret)

    async def refresh(self, connections: Connections, refresh_token: str) -> LoginOut:
        """Exchange a refresh token.

        Raises:
            NotAuthorizedException: it is unknown, over or revoked, its owner is switched off, or it was used before,
                which ends its family.
        """
        secret = secrets.token_urlsafe(32)
        async with connections.sessions.begin() as session:
            family = await tokens.rotate(session, digest(refresh_token), digest(secret), self._ttl)
            account = await users.get(session, family.user_id) if family is not None else None
            if family is None:
                await self._end_copied(session, refresh_token)
        # Raised only after the commit: the end of a family must last.
        if family is None or account is None or not account.active:
            raise NotAuthorizedException("this refresh token is no longer good: log in again")
        return self._pair(user_of(account), family.id, secret)

    async def _end_copied(self, session: AsyncSession, refresh_token: str) -> None:
        found = await tokens.family_of(session, digest(refresh_token))
        if found is None:
            return
        family_id, was_used = found
        if was_used and await tokens.revoke(session, "a refresh token was used twice", family_id=family_id):
            log.warning("a refresh token was used twice: its log-in is ended", family=str(family_id))

    def _pair(self, user: User, family_id: uuid.UUID, secret: str) -> LoginOut:
        access = self._auth.create_token(
            user.id, token_issuer=ISSUER, token_audience=AUDIENCE, token_extras={SESSION_CLAIM: str(family_id)}
        )
        life_s = int(self._ttl.total_seconds())
        return LoginOut(access, "Bearer", self._access_ttl_s, secret, life_s, user_out(user))
