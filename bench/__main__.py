"""`python -m bench`: every benchmark in turn, each printing its figures as ratios in one run."""

from __future__ import annotations

from bench import (
    api,
    demand_load,
    event_latency,
    events,
    forecasting,
    ingestion,
    observability,
    planning,
    queue,
    series,
    transfer,
)

BENCHMARKS = (
    *(demand_load, ingestion, series, transfer, api, forecasting, planning),
    *(queue, observability, events, event_latency),
)


def main() -> None:
    """Run them all."""
    for benchmark in BENCHMARKS:
        print(f"\n== {(benchmark.__doc__ or benchmark.__name__).splitlines()[0]}")
        benchmark.main()


if __name__ == "__main__":
    main()
