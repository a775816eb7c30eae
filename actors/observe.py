"""The few calls others make to be seen: at the start of a process, around an attempt, around a forecaster call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from actors import metrics
from actors.logs import bound_ids, configure_logs
from actors.telemetry import configure_telemetry, continued, span
from settings import Settings


@dataclass
class Attempt:
    """How an observed attempt ended; the body sets both as it learns them."""

    kind: str = "unknown"
    end: str = "failed"


def start_observing(settings: Settings, process: str) -> None:
    """Logs and traces of this process. Call first; again does no harm."""
    configure_logs(settings.log_level, process)
    configure_telemetry(settings, process)


@contextmanager
def observed_attempt(
    job: object, run: int, *, actor: str, traceparent: str | None, kind: str | None = None
) -> Iterator[Attempt]:
    """Carry on the job's trace, put its ids on every log line, and count and time the attempt.

    `kind` may be given later, as `attempt.kind`; `attempt.end` (done, failed, cancelled, superseded ...) is set by the
    body.
    """
    attempt = Attempt(kind or "unknown")
    began = time.perf_counter()
    with (
        bound_ids(job=job, run=run, actor=actor),
        continued(traceparent, f"attempt {kind or actor}", job=str(job), run=run, actor=actor) as opened,
    ):
        running = metrics.RUNNING.labels(actor)
        running.inc()
        try:
            yield attempt
        finally:
            running.dec()
            opened.set_attribute("fmrp.kind", attempt.kind)
            opened.set_attribute("fmrp.end", attempt.end)
            metrics.RUN_TIME.labels(attempt.kind, attempt.end).observe(time.perf_counter() - began)


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
