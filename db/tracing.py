"""Spans of what goes to the database: statements of the engine, and bulk COPY, which goes by the bare driver.

The tracer is handed in by the process that sets up telemetry; without one nothing is recorded. Our own listeners, since
opentelemetry-instrumentation-sqlalchemy does not take SQLAlchemy 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode, Tracer
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

LONGEST_STATEMENT = 2000
_SPAN = "_fmrp_span"


class _State:
    tracer: Tracer | None = None


def use_tracer(tracer: Tracer | None) -> None:
    """Record from now on with this tracer, or no more."""
    _State.tracer = tracer


def trace_engine(engine: AsyncEngine) -> None:
    """Make every statement of the engine a span of the trace it belongs to; bound values are left out."""
    if event.contains(engine.sync_engine, "before_cursor_execute", _begin):
        return
    event.listen(engine.sync_engine, "before_cursor_execute", _begin)
    event.listen(engine.sync_engine, "after_cursor_execute", _end)
    event.listen(engine.sync_engine, "handle_error", _fail)


@contextmanager
def database_span(operation: str, target: str) -> Iterator[None]:
    """A span around work of the bare driver, as `database_span("COPY", "staged_demand")`."""
    if _State.tracer is None:
        yield
        return
    attributes = {"db.system.name": "postgresql", "db.operation.name": operation, "db.collection.name": target}
    with _State.tracer.start_as_current_span(
        f"{operation} {target}", kind=SpanKind.CLIENT, attributes=attributes, record_exception=False
    ):
        yield


def _begin(_connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool) -> None:
    if _State.tracer is None or context is None:
        return
    operation = statement.lstrip("( \n").partition(" ")[0].upper()[:20]
    attributes = {
        "db.system.name": "postgresql",
        "db.operation.name": operation,
        "db.query.text": statement[:LONGEST_STATEMENT],
    }
    setattr(context, _SPAN, _State.tracer.start_span(operation, kind=SpanKind.CLIENT, attributes=attributes))


def _end(_connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool) -> None:
    if (opened := getattr(context, _SPAN, None)) is not None:
        opened.end()
        setattr(context, _SPAN, None)


def _fail(failure: ExceptionContext) -> None:
    opened = getattr(failure.execution_context, _SPAN, None)
    if opened is not None:
        # The class only: a message quotes values.
        opened.set_status(StatusCode.ERROR, type(failure.original_exception).__name__)
        opened.end()
        setattr(failure.execution_context, _SPAN, None)
