"""Traces. One trace runs from the request through the job's row, its attempt and the forecaster to the database.

With FMRP_OTLP_ENDPOINT unset nothing is recorded: a request or an attempt gets ids, so that its log lines belong
together, and spans within it cost next to nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags, Tracer

from actors.identity import IDENTITY
from actors.redact import redact_text, remember_secrets
from db import tracing
from settings import Settings

Attribute = str | int | float | bool | None

EXPORT_EVERY_MS = 2000
_NOTHING: AbstractContextManager[Span] = nullcontext(trace.INVALID_SPAN)


class _State:
    """The process's tracer; None while nothing is recorded."""

    tracer: Tracer | None = None
    provider: TracerProvider | None = None


def configure_telemetry(settings: Settings, process: str, *, exporter: SpanExporter | None = None) -> None:
    """Name this process and begin to export its spans, if there is anywhere to send them; later calls only rename it.

    A given exporter is sent every span at once, and replaces what was set up before.
    """
    IDENTITY.process = process
    secrets = (settings.database_url, settings.redis_url, settings.token_secret, *settings.fernet_keys())
    remember_secrets(*(secret.get_secret_value() for secret in secrets if secret is not None))
    if exporter is None and (settings.otlp_endpoint is None or _State.provider is not None):
        return
    shutdown_telemetry()
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.trace_sample_ratio)),
        resource=Resource.create(
            {
                "service.name": f"fmrp-{process}",
                "service.namespace": "fmrp",
                "service.instance.id": IDENTITY.instance,
            }
        ),
    )
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        assert settings.otlp_endpoint is not None
        provider.add_span_processor(_sender(settings.otlp_endpoint))
    _State.provider = provider
    _State.tracer = provider.get_tracer("fmrp")
    tracing.use_tracer(_State.tracer)


def _sender(endpoint: str) -> BatchSpanProcessor:
    """Sends batches from a thread of its own; headers (a collector's token) come from OTEL_EXPORTER_OTLP_HEADERS."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return BatchSpanProcessor(
        OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5), schedule_delay_millis=EXPORT_EVERY_MS
    )


def shutdown_telemetry() -> None:
    """Send what is left and record nothing more. Blocks for some seconds when the collector does not answer."""
    provider, _State.provider, _State.tracer = _State.provider, None, None
    tracing.use_tracer(None)
    if provider is not None:
        provider.shutdown()


def span(name: str, /, **attributes: Attribute) -> AbstractContextManager[Span]:
    """A step of the current trace, or the first of a new one; an exception that leaves it marks it failed."""
    if _State.tracer is None:
        return _NOTHING if trace.get_current_span().get_span_context().is_valid else _IdsOnly(None)
    return _recorded(_State.tracer, name, SpanKind.INTERNAL, None, (), attributes)


def continued(traceparent: str | None, name: str, /, **attributes: Attribute) -> AbstractContextManager[Span]:
    """A step of the trace that `traceparent` names, begun elsewhere; a new trace when it is None or unreadable."""
    return joined(traceparent, name, SpanKind.CONSUMER, **attributes)


def joined(
    traceparent: str | None, name: str, span_kind: SpanKind, /, *linked: str | None, **attributes: Attribute
) -> AbstractContextManager[Span]:
    """As `continued`, for a server or client span too; `linked` are traces that this step serves as well."""
    parent = parse_traceparent(traceparent)
    if _State.tracer is None:
        return _IdsOnly(parent)
    # An empty context and not the current one: the stored trace decides, whatever is going on in this task.
    context = trace.set_span_in_context(NonRecordingSpan(parent), Context()) if parent is not None else Context()
    links = [Link(each) for each in map(parse_traceparent, linked) if each is not None]
    return _recorded(_State.tracer, name, span_kind, context, links, attributes)


def traceparent() -> str | None:
    """The current span in W3C form, to be stored with a job or sent along with a call; None outside any."""
    current = trace.get_current_span().get_span_context()
    if not current.is_valid:
        return None
    return f"00-{current.trace_id:032x}-{current.span_id:016x}-{current.trace_flags:02x}"


def current_ids() -> tuple[str, str] | None:
    """Trace and span id as logs write them; None outside any."""
    current = trace.get_current_span().get_span_context()
    return (f"{current.trace_id:032x}", f"{current.span_id:016x}") if current.is_valid else None


def parse_traceparent(text: str | None) -> SpanContext | None:
    """The span a W3C traceparent names; None when it is none."""
    parts = (text or "").split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return None
    try:
        trace_id, span_id, flags = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except ValueError:
        return None
    found = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & TraceFlags.SAMPLED))
    return found if found.is_valid else None


class _IdsOnly(AbstractContextManager[Span]):
    """A span that is recorded nowhere and only gives its ids. A class, and not a generator: it is on the hot path."""

    __slots__ = ("_parent", "_token")

    def __init__(self, parent: SpanContext | None) -> None:
        self._parent = parent

    def __enter__(self) -> Span:
        parent = self._parent
        trace_id = parent.trace_id if parent is not None else random.getrandbits(128) or 1
        flags = parent.trace_flags if parent is not None else TraceFlags.DEFAULT
        ids = SpanContext(trace_id, random.getrandbits(64) or 1, is_remote=False, trace_flags=TraceFlags(flags))
        span = NonRecordingSpan(ids)
        self._token = otel_context.attach(trace.set_span_in_context(span))
        return span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        otel_context.detach(self._token)


@contextmanager
def _recorded(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    context: Context | None,
    links: list[Link] | tuple[Link, ...],
    attributes: dict[str, Attribute],
) -> Iterator[Span]:
    known = {key if "." in key else f"fmrp.{key}": value for key, value in attributes.items() if value is not None}
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        attributes=known,
        links=links,
        # The library would record messages as they are; ours pass the redaction first.
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            yield opened
        except Exception as error:
            mark_failed(opened, error)
            raise


def mark_failed(opened: Span, error: BaseException) -> None:
    """Say on a span that its step failed, and why."""
    opened.set_status(StatusCode.ERROR, redact_text(f"{type(error).__name__}: {error}")[:1000])
