"""The one error envelope of the API: RFC 9457 problem details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.openapi.datastructures import ResponseSpec
from litestar.status_codes import HTTP_401_UNAUTHORIZED, HTTP_500_INTERNAL_SERVER_ERROR
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from actors.cron import BadCron
from actors.job_sources import SourceOff, UnknownSource
from actors.jobs import NotAllowed, UnknownKind
from actors.mappings import BadDefinition, UnknownMapping
from db.paging import BadCursor, BadSort
from db.record_writes import UnknownReference

PROBLEM_JSON = "application/problem+json"

log = structlog.get_logger(__name__)


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details; `errors` names the fields at fault."""

    title: str
    status: int
    detail: str
    instance: str
    type: str = "about:blank"
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET


ERRORS: dict[int, ResponseSpec] = {
    status: ResponseSpec(Problem, generate_examples=False, description=description, media_type=PROBLEM_JSON)
    for status, description in (
        (400, "The request is not what this document asks for; `errors` names the fields"),
        (401, "Not logged in: no token, or one that is forged, expired or of a switched-off account"),
        (403, "The role is not high enough"),
        (404, "What the path, or a cursor, names is not there"),
        (409, "Well-formed, but it does not go with what is stored, or with another field; `errors` names the fields"),
        (412, "Somebody else has changed it since it was read; read it again"),
        (413, "The body is larger than is taken here"),
        (415, "The body is of a type that is not taken here"),
        (429, "Too many requests; wait as long as `Retry-After` says"),
        (500, "A fault of ours; it has been logged"),
        (503, "The database or the event store is away; the same request may work in a moment"),
    )
}
"""What any route of the API may answer instead, for its documentation."""

ERROR_HEADERS: dict[int, tuple[str, str, dict[str, Any]]] = {
    401: ("WWW-Authenticate", "How to log in", {"type": "string", "examples": ["Bearer"]}),
    429: ("Retry-After", "Seconds to wait", {"type": "integer", "minimum": 0, "examples": [60]}),
    503: ("Retry-After", "Seconds to wait", {"type": "integer", "minimum": 0, "examples": [2]}),
}
"""The header that goes with a status: name, description, schema."""

# SQLSTATEs of values PostgreSQL cannot store or compare: a NUL in a text, a cursor whose value is no number or date.
_BAD_VALUES = frozenset({"22003", "22007", "22008", "22021", "22P02", "22P05"})
# Lost to another transaction: the same request works when sent again.
_PASSING = frozenset({"40001", "40P01", "55P03"})
# Connection lost, log-in refused, no such database (yet), out of resources, shut down by an operator.
_AWAY = ("08", "28", "3D", "53", "57P")

# Parameters whose name in the request cannot be, or is not, the name in the code.
_NAMES = {"from_": "from", "job_state": "state", "idempotency_key": "Idempotency-Key"}

_TITLES = {
    400: "Bad request",
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Changed meanwhile",
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
    """409: the request is well-formed, and what is stored or another field is against it. `fields` names those at
    fault, each with what is wrong."""

    status_code = 409

    def __init__(self, detail: str, fields: Mapping[str, str] | None = None) -> None:
        extra = [{"key": field, "message": message} for field, message in (fields or {}).items()]
        super().__init__(detail=detail, extra=extra or None)


class PreconditionFailed(HTTPException):
    """412: the row is not at the revision the request asks for."""

    status_code = 412


class TooLarge(HTTPException):
    """413."""

    status_code = 413


class TooManyRequests(HTTPException):
    """429."""

    status_code = 429


class RuleBroken(ValueError):
    """Values that are each possible, and together or beside what is stored are not; `errors` name the fields."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{each.field}: {each.message}" for each in errors))
        self.errors = list(errors)


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
        errors=errors or msgspec.UNSET,
    )
    return Response(problem, status_code=status, media_type=PROBLEM_JSON, headers=headers)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Anything Litestar or a handler raised on purpose."""
    if error.status_code == HTTP_500_INTERNAL_SERVER_ERROR:
        return on_fault(request, error)
    errors = []
    if isinstance(error, (ValidationException, Conflict)) and isinstance(error.extra, list):
        errors = [
            FieldError(_called(request, str(each.get("key", ""))), str(each.get("message", "")))
            for each in error.extra
            if isinstance(each, dict)
        ]
    headers = {name: str(value) for name, value in (error.headers or {}).items()}
    if error.status_code == HTTP_401_UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    detail = error.detail
    if isinstance(error, RequestEntityTooLarge):
        limit = request.route_handler.resolve_request_max_body_size()
        detail = f"the request is too large: at most {limit:,} bytes are taken here"
    return respond(request, error.status_code, detail, errors, headers)


def _called(request: Request[Any, Any, Any], name: str) -> str:
    """What a parameter is called in the request, by its name in the code, which keeps clear of Litestar's own."""
    known = request.scope.get("route_handler")
    field = known.parsed_fn_signature.parameters.get(name) if known is not None else None
    kwarg = field.kwarg_definition if field is not None else None
    return getattr(kwarg, "query", None) or getattr(kwarg, "header", None) or _NAMES.get(name, name)


def on_bad_request(request: Request[Any, Any, Any], error: ValueError) -> Response[Problem]:
    """An argument our own code refused: the message begins with the field's name."""
    return _refuse(request, 400, error)


def on_no_such_page(request: Request[Any, Any, Any], error: BadCursor) -> Response[Problem]:
    """A cursor in the right alphabet that is none of this list's: the page it names is not there."""
    return _refuse(request, 404, error)


def on_misfit(request: Request[Any, Any, Any], error: ValueError) -> Response[Problem]:
    """A value as the document asks for it that still makes no sense: a day that never comes."""
    return _refuse(request, 409, error)


def _refuse(request: Request[Any, Any, Any], status: int, error: ValueError) -> Response[Problem]:
    text = str(error)
    field, separator, _ = text.partition(": ")
    return respond(request, status, text, [FieldError(field, text)] if separator else None)


def on_conflict(request: Request[Any, Any, Any], error: NotAllowed) -> Response[Problem]:
    """The state of the thing does not allow it."""
    return respond(request, 409, str(error))


def on_broken_rule(request: Request[Any, Any, Any], error: Any) -> Response[Problem]:
    """Values that are each possible but not together, or not beside what is stored."""
    return respond(request, 409, str(error), error.errors)


def on_unknown_reference(request: Request[Any, Any, Any], error: UnknownReference) -> Response[Problem]:
    """A field names something that is not there."""
    return respond(request, 409, str(error), [FieldError(error.field, error.message)])


def on_integrity_error(request: Request[Any, Any, Any], error: IntegrityError) -> Response[Problem]:
    """A constraint of the database: told by the fields it is about."""
    cause = getattr(error.orig, "__cause__", None)
    table, constraint = getattr(cause, "table_name", None) or "", getattr(cause, "constraint_name", None) or ""
    fields = constraint.removeprefix(f"ck_{table}_").removeprefix(f"uq_{table}_")
    if isinstance(cause, asyncpg.UniqueViolationError):
        return respond(request, 409, f"there is such a {table} already", [FieldError(fields, "is taken")])
    if isinstance(cause, asyncpg.CheckViolationError):
        return respond(request, 409, f"{fields}: breaks a rule of {table}", [FieldError(fields, "breaks a rule")])
    if isinstance(cause, asyncpg.ForeignKeyViolationError):
        return respond(request, 409, f"{table} refers to it, or it refers to a row that is gone")
    return on_database_error(request, error)


def on_away(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The database or Redis cannot be reached: the same request may work in a moment."""
    log.warning("backing service away", path=request.url.path, reason=str(error))
    detail = "the database or the event store is not reachable just now; try again"
    return respond(request, 503, detail, headers={"Retry-After": "2"})


def on_database_error(request: Request[Any, Any, Any], error: DBAPIError) -> Response[Problem]:
    """A driver error: a value the database cannot take is 400, a lost connection or race 503, the rest our fault."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state in _BAD_VALUES or isinstance(getattr(error.orig, "__cause__", None), asyncpg.DataError):
        log.info("value refused by the database", path=request.url.path, reason=str(error.orig))
        return respond(request, 400, "a value in the request cannot be read or stored as it is")
    if state in _PASSING or state.startswith(_AWAY):
        return on_away(request, error)
    if error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
        return on_away(request, error)
    return on_fault(request, error)


def on_driver_error(request: Request[Any, Any, Any], error: asyncpg.PostgresError) -> Response[Problem]:
    """What the driver raises before there is a connection SQLAlchemy could speak for."""
    state = error.sqlstate or ""
    return on_away(request, error) if state.startswith(_AWAY) else on_fault(request, error)


def on_fault(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A fault of ours: logged whole, told without details."""
    log.error("request failed", path=request.url.path, exc_info=error)
    return respond(request, HTTP_500_INTERNAL_SERVER_ERROR, "something went wrong on our side; it has been logged")


EXCEPTION_HANDLERS: dict[Any, Any] = {
    HTTPException: on_http_error,
    BadCursor: on_no_such_page,
    BadSort: on_bad_request,
    BadCron: on_misfit,
    UnknownKind: on_bad_request,
    UnknownMapping: on_misfit,
    UnknownSource: on_misfit,
    SourceOff: on_misfit,
    BadDefinition: on_misfit,
    UnknownReference: on_unknown_reference,
    RuleBroken: on_broken_rule,
    IntegrityError: on_integrity_error,
    NotAllowed: on_conflict,
    DBAPIError: on_database_error,
    asyncpg.PostgresError: on_driver_error,
    # Refused, timed out, not resolved, or a Unix socket that is not there: no route reads files of its own.
    OSError: on_away,
    PoolTimeout: on_away,
    RedisError: on_away,
    Exception: on_fault,
}
