"""Observes every HTTP request from outside the framework: a span that carries on the caller's trace, and its time.

From outside, since routes that are not there and refused log-ins count as well. Sockets live for half an hour and are
counted by the hub instead.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TypeGuard

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from opentelemetry.trace import Span, SpanKind, StatusCode

from actors.metrics import REQUESTS, child
from actors.telemetry import current_ids, joined

TRACE_HEADER = b"x-trace-id"
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
# Answers for half an hour: what counts is when it begins.
STREAM = "/events/stream"
# Asked every few seconds by machines; nobody looks for their traces.
_UNTRACED = ("/health", "/metrics", STREAM)


def observed(app: ASGIApp) -> ASGIApp:
    """The same application, observed."""

    async def observe(scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_http(scope):
            await app(scope, receive, send)
            return
        began, status = time.perf_counter(), HTTPStatus.INTERNAL_SERVER_ERROR.value
        answered = 0.0

        async def send_observed(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.perf_counter()
                if (ids := current_ids()) is not None:
                    message["headers"] = [*message["headers"], (TRACE_HEADER, ids[0].encode())]
            await send(message)

        try:
            if scope["path"].endswith(_UNTRACED):
                await app(scope, receive, send_observed)
                return
            with joined(_traceparent(scope), scope["method"], SpanKind.SERVER) as span:
                try:
                    await app(scope, receive, send_observed)
                finally:
                    _describe(span, scope, status)
        finally:
            method, route = method_of(scope), route_of(scope)
            ended = answered if answered and scope["path"].endswith(STREAM) else time.perf_counter()
            child(REQUESTS, method, route, f"{status // 100}xx").observe(ended - began)

    return observe


def _is_http(scope: Scope) -> TypeGuard[HTTPScope]:
    return "method" in scope


def method_of(scope: HTTPScope) -> str:
    """The method, as long as it is one: any word may stand there."""
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def route_of(scope: HTTPScope) -> str:
    """The route's pattern; never the path, which holds ids and whatever a caller made up."""
    return scope.get("path_template") or "unmatched"


def _traceparent(scope: HTTPScope) -> str | None:
    found = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
    return found.decode("latin-1") if found is not None else None


def _describe(span: Span, scope: HTTPScope, status: int) -> None:
    if not span.is_recording():
        return
    method, route = method_of(scope), route_of(scope)
    span.update_name(f"{method} {route}")
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_status(StatusCode.ERROR)
