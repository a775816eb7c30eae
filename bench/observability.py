"""What watching costs a short job: ids, log fields, spans and counts of one attempt, without and with a collector.

Run with `python -m bench.observability`. The share is of one core at 5,000 jobs a second, what the queue is built for.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from actors import metrics
from actors.metrics_exchange import snapshot
from actors.observe import observed_attempt
from actors.telemetry import configure_telemetry, shutdown_telemetry, span, traceparent
from settings import Settings

JOBS_PER_S = 5_000
ROUNDS = 5
TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


class Nowhere(SpanExporter):
    """Takes spans and drops them: what remains is the cost of making them."""

    def export(self, _spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Drop them."""
        return SpanExportResult.SUCCESS


def attempt() -> None:
    """All that is observed of one short job, in every process that touches it."""
    traceparent()
    with observed_attempt("0190b2f3", 1, actor="noop", traceparent=TRACEPARENT, kind="noop") as seen:
        with span("store", rows=1):
            pass
        seen.end = "done"
    metrics.attempt_begins("noop", 0.01)
    metrics.job_ended("noop", "done")


def best_us(what: Callable[[], object], number: int) -> float:
    """Microseconds of one call, the best of several rounds: others use this machine too."""
    return min(timeit.repeat(what, number=number, repeat=ROUNDS)) / number * 1e6


def main() -> None:
    """Print the figures."""
    shutdown_telemetry()
    without = best_us(attempt, 10_000)
    configure_telemetry(Settings(data_dir=Path("unused")), "bench", exporter=Nowhere())
    recording = best_us(attempt, 2_000)
    shutdown_telemetry()
    for name, cost in (("no collector", without), ("every trace recorded", recording)):
        print(f"{name:24}{cost:8.1f} us a job = {cost * JOBS_PER_S / 1e6:6.1%} of a core at {JOBS_PER_S:,} jobs/s")
    print(f"{'snapshot of all counts':24}{best_us(snapshot, 50):8.1f} us, once in 5 s")


if __name__ == "__main__":
    main()
