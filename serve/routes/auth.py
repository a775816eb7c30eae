"""Log-in."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from litestar import Request, Router, get, post
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException
from litestar.security.jwt import JWTAuth
from redis.exceptions import RedisError

from actors.owner import Connections
from db.repositories import users
from serve.parameters import Text
from serve.problems import ERRORS, TooManyRequests
from serve.security import AUDIENCE, ISSUER, PUBLIC, VIEWER, User, verify_password

ATTEMPTS_A_MINUTE = 10


class LoginIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credentials."""

    email: Text
    password: Text


class UserOut(msgspec.Struct, frozen=True):
    """Who is logged in."""

    email: str
    name: str
    role: str


class LoginOut(msgspec.Struct, frozen=True):
    """A bearer token and whose it is."""

    access_token: str
    token_type: str
    expires_in: int
    user: UserOut


def user_out(user: User) -> UserOut:
    """The public part of a user."""
    return UserOut(user.email, user.name, user.role)


@post(
    "/login",
    opt=PUBLIC,
    responses=ERRORS,
    status_code=200,
    operation_id="logIn",
    summary="Log in with e-mail and password",
)
async def log_in(data: LoginIn, state: State) -> LoginOut:
    """Exchange e-mail and password for a short-lived bearer token."""
    connections: Connections = state.connections
    await _limit_attempts(connections, data.email)
    async with connections.sessions() as session:
        account = await users.find_by_email(session, data.email)
    if not await verify_password(data.password, account.password_hash if account and account.active else None):
        raise NotAuthorizedException("e-mail or password is wrong")
    assert account is not None
    await _forget_attempts(connections, data.email)
    auth: JWTAuth[User] = state.auth
    token = auth.create_token(str(account.id), token_issuer=ISSUER, token_audience=AUDIENCE)
    user = User(str(account.id), account.email, account.name, account.role)
    return LoginOut(token, "Bearer", state.settings.token_ttl_s, user_out(user))


@get("/me", opt=VIEWER, responses=ERRORS, operation_id="whoAmI", summary="Who the token belongs to")
async def who_am_i(request: Request[User, Any, Any]) -> UserOut:
    """The user behind this token."""
    return user_out(request.user)


async def _limit_attempts(connections: Connections, email: str) -> None:
    """Ten failures a minute per account. Without Redis nobody is locked out: argon2's cost still slows a guesser."""
    key = _attempts_key(email)
    try:
        async with connections.redis.pipeline(transaction=True) as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, 60)
            tries = int((await pipeline.execute())[0])
    except (RedisError, OSError):
        return
    if tries > ATTEMPTS_A_MINUTE:
        raise TooManyRequests("too many log-in attempts for this account; wait a minute", headers={"Retry-After": "60"})


async def _forget_attempts(connections: Connections, email: str) -> None:
    with suppress(RedisError, OSError):
        await connections.redis.delete(_attempts_key(email))


def _attempts_key(email: str) -> str:
    return f"fmrp:login:{email.strip().lower()[:200]}"


router = Router("/auth", route_handlers=[log_in, who_am_i], tags=["Log-in"])
