"""The one error envelope of the API: RFC 9457 problem details."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.status_codes import HTTP_500_INTERNAL_SERVER_ERROR
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from actors.jobs import NotAllowed, UnknownKind
from actors.uploads import UnknownMapping
from db.paging import BadCursor, BadSort

PROBLEM_JSON = "application/problem+json"

log = structlog.get_logger(__name__)


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details; `errors` names the fields at fault."""

    title: str
    status: int
    detail: str
    instance: str
    type: str = "about:blank"
    errors: list[FieldError] = []


_TITLES = {
    400: "Bad request",
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not valid",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}


class NotFound(HTTPException):
    """404 with a sentence that names what is missing."""

    status_code = 404


class Conflict(HTTPException):
    """409."""

    status_code = 409


class TooLarge(HTTPException):
    """413."""

    status_code = 413


class TooManyRequests(HTTPException):
    """429."""

    status_code = 429


def respond(
    request: Request[Any, Any, Any],
    status: int,
    detail: str,
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> Response[Problem]:
    """Build the answer for a problem."""
    problem = Problem(
        title=_TITLES.get(status, "Error"),
        status=status,
        detail=detail,
        instance=request.url.path,
        errors=errors or [],
    )
    return Response(problem, status_code=status, media_type=PROBLEM_JSON, headers=headers)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Anything Litestar or a handler raised on purpose."""
    errors = []
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        errors = [
            FieldError(str(each.get("key", "")), str(each.get("message", "")))
            for each in error.extra
            if isinstance(each, dict)
        ]
    headers = {name: str(value) for name, value in (error.headers or {}).items()}
    return respond(request, error.status_code, error.detail, errors, headers)


def on_bad_request(request: Request[Any, Any, Any], error: ValueError) -> Response[Problem]:
    """An argument our own code refused: the message begins with the field's name."""
    text = str(error)
    field, separator, _ = text.partition(": ")
    return respond(request, 400, text, [FieldError(field, text)] if separator else None)


def on_conflict(request: Request[Any, Any, Any], error: NotAllowed) -> Response[Problem]:
    """The state of the thing does not allow it."""
    return respond(request, 409, str(error))


def on_away(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The database or Redis cannot be reached: the same request may work in a moment."""
    log.warning("backing service away", path=request.url.path, reason=str(error))
    return respond(request, 503, "the database is not reachable just now; try again", headers={"Retry-After": "2"})


def on_database_error(request: Request[Any, Any, Any], error: DBAPIError) -> Response[Problem]:
    """A driver error: a lost connection is 503, anything else our fault."""
    if error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
        return on_away(request, error)
    return on_fault(request, error)


def on_fault(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A fault of ours: logged whole, told without details."""
    log.error("request failed", path=request.url.path, exc_info=error)
    return respond(request, HTTP_500_INTERNAL_SERVER_ERROR, "something went wrong on our side; it has been logged")


EXCEPTION_HANDLERS: dict[Any, Any] = {
    HTTPException: on_http_error,
    BadCursor: on_bad_request,
    BadSort: on_bad_request,
    UnknownKind: on_bad_request,
    UnknownMapping: on_bad_request,
    NotAllowed: on_conflict,
    DBAPIError: on_database_error,
    ConnectionError: on_away,
    RedisError: on_away,
    Exception: on_fault,
}
