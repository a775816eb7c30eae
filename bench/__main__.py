"""`python -m bench`: every benchmark in turn, each printing its figures as ratios in one run."""

from __future__ import annotations

from bench import database, events, forecasting, observability, planning, queue, transfer


def main() -> None:
    """Run them all."""
    for benchmark in (database, transfer, forecasting, planning, queue, observability, events):
        print(f"\n== {(benchmark.__doc__ or benchmark.__name__).splitlines()[0]}")
        benchmark.main()


if __name__ == "__main__":
    main()
