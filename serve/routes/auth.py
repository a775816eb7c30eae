"""Log-in, the exchange of refresh tokens, and log-out."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

import msgspec
from litestar import Request, Router, get, post
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException
from redis.exceptions import RedisError

from actors.owner import Connections
from db.repositories import tokens, users
from serve.parameters import VISIBLE_ASCII, Text
from serve.passwords import Password
from serve.problems import ERRORS, TooManyRequests
from serve.security import NEWCOMER, PUBLIC, User, digest, user_of, verify_password
from serve.tokens import LoginOut, TokenMaker, UserOut, user_out

ATTEMPTS_A_MINUTE = 10
# A log-in costs a tenth of a second of a core.
LOG_IN = {**PUBLIC, "cost": 10}
ANYBODY: list[dict[str, list[str]]] = [{}]
"""Tells the documentation that neither token nor key is needed."""


class LoginIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credentials."""

    email: Text
    password: Password


class RefreshIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh token of the last answer."""

    refresh_token: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=VISIBLE_ASCII)]


@post(
    "/login",
    opt=LOG_IN,
    responses=ERRORS,
    security=ANYBODY,
    status_code=200,
    operation_id="logIn",
    summary="Log in with e-mail and password",
)
async def log_in(request: Request[Any, Any, Any], data: LoginIn, state: State) -> LoginOut:
    """Exchange e-mail and password for a short-lived bearer token and a refresh token."""
    connections: Connections = state.connections
    await limit_attempts(connections, data.email)
    async with connections.sessions() as session:
        account = await users.find_by_email(session, data.email)
    if not await verify_password(data.password, account.password_hash if account and account.active else None):
        raise NotAuthorizedException("e-mail or password is wrong")
    assert account is not None
    await forget_attempts(connections, data.email)
    async with connections.sessions.begin() as session:
        # Locked: a password changed or an account switched off meanwhile has ended all log-ins, this one as well.
        now = await users.get(session, account.id, lock=True)
        if now is not None and now.active and now.password_hash == account.password_hash:
            return await token_maker(state).log_in(session, user_of(now), request)
    raise NotAuthorizedException("e-mail or password is wrong")


@post(
    "/refresh",
    opt=PUBLIC,
    responses=ERRORS,
    security=ANYBODY,
    status_code=200,
    operation_id="refreshTokens",
    summary="Exchange a refresh token for the next pair",
)
async def refresh(data: RefreshIn, state: State) -> LoginOut:
    """Each refresh token is good once. One that comes again ends its log-in: all tokens that grew from it."""
    return await token_maker(state).refresh(state.connections, data.refresh_token)


@post(
    "/logout",
    opt=PUBLIC,
    responses=ERRORS,
    security=ANYBODY,
    status_code=204,
    operation_id="logOut",
    summary="End one log-in",
)
async def log_out(data: RefreshIn, state: State) -> None:
    """The log-in of that refresh token; whoever has it may, and one that is over or unknown is logged out already."""
    connections: Connections = state.connections
    async with connections.sessions.begin() as session:
        if (found := await tokens.family_of(session, digest(data.refresh_token))) is not None:
            await tokens.revoke(session, "logged out", family_id=found[0])


@get("/me", opt=NEWCOMER, responses=ERRORS, operation_id="whoAmI", summary="Who the token belongs to")
async def who_am_i(request: Request[User, Any, Any]) -> UserOut:
    """The user behind this token, or the machine behind this key."""
    return user_out(request.user)


def token_maker(state: State) -> TokenMaker:
    """The maker of this application's tokens."""
    return TokenMaker(state.settings, state.auth)


async def limit_attempts(connections: Connections, email: str) -> None:
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


async def forget_attempts(connections: Connections, email: str) -> None:
    """After a success the failures before it no longer count."""
    with suppress(RedisError, OSError):
        await connections.redis.delete(_attempts_key(email))


def _attempts_key(email: str) -> str:
    return f"fmrp:login:{email.strip().lower()[:200]}"


router = Router("/auth", route_handlers=[log_in, refresh, log_out, who_am_i], tags=["Log-in"])
