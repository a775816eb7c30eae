"""How fast and how lean a whole plan is: 20,000 items on 4 levels, about 5 components each, 26 weeks, lot-for-lot.

Run with `python -m bench.planning`. The time per item is compared with that of a plant of 1,000 items in the same run:
a ratio of 1 is linear growth. Each size runs in a process of its own, so that peak memory is its own.
"""

import multiprocessing
import resource
import time
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from planning.inputs import PlanInputs, PlanParameters
from planning.plan import plan

TODAY = date(2026, 11, 23)
WEEKS = 26
LEVELS = 4
COMPONENTS = 5
SIZES = (1_000, 20_000)


@dataclass(frozen=True)
class Measurement:
    """One plan: items, bill lines, orders, seconds of the plan itself, peak resident memory of its process in GiB."""

    items: int
    bom_lines: int
    orders: int
    seconds: float
    peak_gib: float


def factory(count: int, seed: int = 2) -> PlanInputs:
    """A seeded plant of `count` items, a quarter on each level; the first level has a weekly forecast."""
    random = np.random.default_rng(seed)
    codes = [f"ITEM-{number:06d}" for number in range(count)]
    size = count // LEVELS
    parent = np.repeat(np.arange(size * (LEVELS - 1)), COMPONENTS)
    component = (parent // size + 1) * size + random.integers(0, size, len(parent))
    kind = np.repeat(["finished", "semi_finished", "component", "raw_material"], size)
    bought = codes[size * (LEVELS - 1) :]
    weeks = [TODAY + timedelta(days=7 * week) for week in range(WEEKS)]
    return PlanInputs(
        items=pl.DataFrame(
            {
                "code": codes[: size * LEVELS],
                "kind": kind,
                "cost": random.uniform(1, 100, size * LEVELS),
                "lead_time_days": random.integers(1, 15, size * LEVELS),
            }
        ),
        suppliers=pl.DataFrame({"code": ["S-1", "S-2"], "active": [True, True]}),
        supplier_terms=pl.DataFrame({"item": bought, "supplier": "S-1", "price": 2.0, "priority": 1}),
        bom_lines=pl.DataFrame(
            {
                "parent": pl.Series(codes).gather(parent),
                "component": pl.Series(codes).gather(component),
                "quantity_per": random.integers(1, 5, len(parent)).astype(float),
                "scrap_share": random.choice([0.0, 0.02], len(parent)),
            }
        ).unique(["parent", "component"], maintain_order=True),
        stock=pl.DataFrame({"item": codes[: size * LEVELS], "on_hand": random.uniform(0, 200, size * LEVELS)}),
        forecast=pl.DataFrame(
            {
                "item": np.repeat(codes[:size], WEEKS),
                "week": weeks * size,
                "mean": random.gamma(2.0, 20.0, size * WEEKS),
            }
        ),
        work_centres=pl.DataFrame({"code": ["W-1"], "hours_per_day": [16.0], "efficiency": [0.9]}),
        routings=pl.DataFrame(
            {"item": codes[: size * (LEVELS - 1)], "work_centre": "W-1", "setup_hours": 0.5, "unit_hours": 0.01}
        ),
    )


def measure(count: int) -> Measurement:
    """Plan a plant of `count` items once."""
    inputs = factory(count)
    started = time.perf_counter()
    result = plan(inputs, PlanParameters(today=TODAY, horizon_weeks=WEEKS))
    seconds = time.perf_counter() - started
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return Measurement(count, inputs.bom_lines.height, result.orders.height, seconds, peak_gib)


def main() -> None:
    """Print one line per size and the ratio of their times per item."""
    context = multiprocessing.get_context("spawn")
    measured = []
    for count in SIZES:
        with context.Pool(1) as pool:
            measured.append(pool.apply(measure, (count,)))
        last = measured[-1]
        print(
            f"plan {last.items:>6,} items, {last.bom_lines:>6,} bill lines, {last.orders:>9,} orders: "
            f"{last.seconds:6.2f} s, peak {last.peak_gib:.2f} GiB"
        )
    small, large = measured
    ratio = (large.seconds / large.items) / (small.seconds / small.items)
    print(f"time per item, {large.items:,} against {small.items:,} items: x{ratio:.2f} (1.00 = linear growth)")


if __name__ == "__main__":
    main()
