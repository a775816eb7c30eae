"""The door of every HTTP route: who asks, and whether they have asked too often."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import NotAuthorizedException
from litestar.openapi.spec import Components, SecurityScheme
from litestar.security.jwt import JWTAuth
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from serve.client_address import client_address, limited_address
from serve.problems import TooManyRequests
from serve.rate_limits import RateLimiter, Verdict
from serve.security import User, identify, read_credential

LIMIT_HEADERS = "fmrp_limit_headers"
"""Key of the connection's state under which the headers wait for the answer."""

SECURITY_COMPONENTS = Components(
    security_schemes={
        "BearerToken": SecurityScheme(
            type="http", scheme="bearer", bearer_format="JWT", description="The access token of a log-in."
        ),
        "ApiKey": SecurityScheme(
            type="apiKey", name="X-API-Key", security_scheme_in="header", description="The key of a machine."
        ),
    }
)
SECURITY_REQUIREMENTS: list[dict[str, list[str]]] = [{"BearerToken": []}, {"ApiKey": []}]


class AccessMiddleware:
    """Identifies and counts, side by side: the user's look-up in the database and the limit's in Redis.

    Routes say by `opt` what they need: `exclude_from_auth` takes anybody, `unlimited` is not counted, `cost` counts for
    several. Sockets look at tickets and tokens themselves.
    """

    def __init__(self, app: ASGIApp, auth: JWTAuth[User]) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request on with `user` and `auth` in its scope, or raise."""
        opt = scope["route_handler"].opt
        if scope["type"] == ScopeType.WEBSOCKET:
            if not opt.get("own_check"):
                raise NotAuthorizedException("this socket checks nobody and is closed")
        elif scope["method"] != "OPTIONS":
            await self._enter(scope, opt)
        await self._app(scope, receive, send)

    async def _enter(self, scope: HTTPScope, opt: dict[str, Any]) -> None:
        cost = 0 if opt.get("unlimited") else int(opt.get("cost", 1))
        if opt.get("exclude_from_auth"):
            await self._count_address(scope, cost)
            return
        try:
            credential = read_credential(ASGIConnection[Any, Any, Any, Any](scope).headers, self._auth)
        except NotAuthorizedException:
            await self._count_address(scope, cost)
            raise
        if credential is None:
            await self._count_address(scope, cost)
            raise NotAuthorizedException("log in first: send a bearer token or an API key")
        state = scope["litestar_app"].state
        limiter: RateLimiter = state.limiter
        if (verdict := limiter.take_held(credential.subject, cost)) is not None:
            user = await identify(state.connections, credential)
        else:
            user, verdict = await asyncio.gather(
                identify(state.connections, credential), limiter.take(credential.subject, cost)
            )
        if user is None:
            # Made-up keys each have a bucket of their own, so whoever sends them is counted too.
            await self._count_address(scope, cost)
            raise NotAuthorizedException("this token or key is of nobody who may come in")
        _judge(scope, verdict)
        scope["user"], scope["auth"] = user, credential.token

    async def _count_address(self, scope: HTTPScope, cost: int) -> None:
        if not cost:
            return
        state = scope["litestar_app"].state
        limiter: RateLimiter = state.limiter
        _judge(scope, await limiter.take(f"address:{limited_address(address_of(scope))}", cost))


def address_of(scope: HTTPScope) -> str:
    """The client's address, through as many proxies as the settings trust."""
    peer = scope.get("client")
    forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    trusted: int = scope["litestar_app"].state.settings.trusted_proxies
    return client_address(peer[0] if peer else None, forwarded, trusted)


def _judge(scope: HTTPScope, verdict: Verdict | None) -> None:
    """Note the limit's headers for the answer.

    Raises:
        TooManyRequests: the bucket is empty.
    """
    if verdict is None:
        return
    scope["state"][LIMIT_HEADERS] = verdict.headers()
    if not verdict.is_allowed:
        raise TooManyRequests(
            f"too many requests: wait {verdict.retry_after_s} s",
            headers={"Retry-After": str(verdict.retry_after_s)},
        )
