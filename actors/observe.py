"""The few calls others make to be seen: at the start of a process, around an attempt, around a forecaster call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.contextvars import bind_contextvars, reset_contextvars

from actors import metrics
from actors.logs import configure_logs
from actors.metrics_exchange import MetricsReporter
from actors.telemetry import configure_telemetry, continued, span
from db.tracing import trace_engine
from settings import Settings


def start_observing(settings: Settings, process: str) -> None:
    """Logs and traces of this process. Call first; again does no harm."""
    configure_logs(settings.log_level, process)
    configure_telemetry(settings, process)


def observe_connections(engine: AsyncEngine, redis: Redis, settings: Settings) -> MetricsReporter:
    """Trace the engine's statements, count its connections, and report this process's counts from now on.

    Call on the process's event loop; stop the reporter before `redis` is closed.
    """
    trace_engine(engine)
    metrics.watch_pool(engine)
    reporter = MetricsReporter(redis, settings.metrics_interval_s)
    reporter.start()
    return reporter


class observed_attempt:  # noqa: N801 - used as a function; a class, since it is on the hot path of short jobs
    """Carry on the job's trace, put its ids on every log line, and count and time the attempt.

    The body sets `kind` and `end` (done, failed, cancelled, superseded ...) as it learns them; `failed` when it raises.
    """

    __slots__ = ("_actor", "_began", "_job", "_opened", "_run", "_span", "_tokens", "_traceparent", "end", "kind")

    def __init__(self, job: object, run: int, *, actor: str, traceparent: str | None, kind: str | None = None) -> None:
        self._job, self._run, self._actor, self._traceparent = str(job), run, actor, traceparent
        self.kind = kind or "unknown"
        self.end = "failed"

    def __enter__(self) -> observed_attempt:
        self._began = time.perf_counter()
        self._tokens = bind_contextvars(job=self._job, run=self._run, actor=self._actor)
        name = f"attempt {self._actor}"
        self._span = continued(self._traceparent, name, job=self._job, run=self._run, actor=self._actor)
        self._opened = self._span.__enter__()
        metrics.child(metrics.RUNNING, self._actor).inc()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        metrics.child(metrics.RUNNING, self._actor).dec()
        end = self.end if kind is None else "failed"
        if self._opened.is_recording():
            self._opened.set_attributes({"fmrp.kind": self.kind, "fmrp.end": end})
        self._span.__exit__(kind, error, trace)
        reset_contextvars(**self._tokens)
        metrics.child(metrics.RUN_TIME, self.kind, end).observe(time.perf_counter() - self._began)


@contextmanager
def observed_call(method: str) -> Iterator[None]:
    """A call to the forecaster: a span in the caller, and its time."""
    began, end = time.perf_counter(), "failed"
    try:
        with span(f"forecaster.{method}"):
            yield
        end = "done"
    finally:
        metrics.FORECASTER_TIME.labels(method, end).observe(time.perf_counter() - began)
