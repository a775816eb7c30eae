"""Weekly series made for the tests: a seeded plant, and the bad series that every model must survive."""

from datetime import date, timedelta

import numpy as np
import polars as pl

START = date(2024, 1, 1)  # a Monday
NAN, INF = float("nan"), float("inf")


def weekly(values_by_item: dict[str, list[float | None]], start: date = START) -> pl.DataFrame:
    """Weekly frame from values; the first value is the week of `start`."""
    rows = [
        (item, start + timedelta(weeks=number), None if value is None else float(value))
        for item, values in values_by_item.items()
        for number, value in enumerate(values)
    ]
    return pl.DataFrame(rows, schema={"item": pl.String, "week": pl.Date, "quantity": pl.Float64}, orient="row")


def plant(items: int = 12, weeks: int = 104, seed: int = 7) -> pl.DataFrame:
    """Seasonal smooth, erratic, intermittent and lumpy items in turn."""
    rng = np.random.default_rng(seed)
    season = 1 + 0.5 * np.sin(2 * np.pi * np.arange(weeks) / 52)
    made: dict[str, list[float | None]] = {}
    for number in range(items):
        kind = number % 4
        spread = rng.gamma(8, 1 / 8, weeks) if kind in (0, 2) else rng.gamma(0.8, 1 / 0.8, weeks)
        sells = rng.random(weeks) < (1.0 if kind < 2 else 0.3)
        made[f"I{number:03d}"] = np.round(40 * spread * sells * (season if kind < 2 else 1.0)).tolist()
    return weekly(made)


BAD_SERIES: dict[str, list[float | None]] = {
    "all_zero": [0.0] * 30,
    "constant": [7.0] * 60,
    "one_point": [5.0],
    "two_points": [5.0, 0.0],
    "one_demand": [0.0] * 10 + [4.0] + [0.0] * 20,
    "with_nan": [3.0, NAN, 5.0, 4.0] * 15,
    "with_null": [3.0, None, 5.0, 4.0] * 15,
    "all_nan": [NAN] * 20,
    "infinite": [3.0, INF, 5.0, -INF] * 15,
    "negative": [3.0, -8.0, 5.0, 4.0] * 15,
    "huge": [1e12, 2e12, 0.0, 3e12] * 15,
    "tiny": [1e-9, 0.0, 2e-9] * 20,
    "dies": [50.0] * 40 + [0.0] * 60,
    "starts_late": [0.0] * 80 + [10.0, 12.0, 9.0],
    "steep": [float(2**number) for number in range(30)],
}
