"""Speed and accuracy of the forecasting room on one core, against seasonal naive and the moving average.

Run: python -m bench.forecasting [folder with man_weekly.parquet and online_retail_weekly.parquet]
"""

import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from forecasting.run import ForecastResult, forecast
from forecasting.series import monday, prepare

ITEMS = 200
LIMIT_S_PER_100 = 12.5  # 200 items in 25 s
SHARED = Path(__file__).parents[2] / "shared" / "data"


def made_demand(items: int = ITEMS, weeks: int = 104, seed: int = 1) -> pl.DataFrame:
    """Seasonal Poisson-gamma demand with a drift: the only sample with two yearly cycles and a known season."""
    rng = np.random.default_rng(seed)
    start = monday(np.datetime64("2022-01-05").astype(object))
    calendar = pl.date_range(start, start + (weeks - 1) * np.timedelta64(7, "D").astype(object), "1w", eager=True)
    frames = []
    for number in range(items):
        season = 1 + 0.4 * np.sin(2 * np.pi * (np.arange(weeks) / 52 + 0.15 * (number % 2)))
        drift = np.maximum(1 + rng.normal(0, 0.15) * np.arange(weeks) / weeks, 0.1)
        quantity = rng.poisson(rng.gamma(5, 1 / 5, weeks) * 50 * season * drift).astype(float)
        frames.append(pl.DataFrame({"item": f"S{number:04d}", "week": calendar, "quantity": quantity}))
    return pl.concat(frames)


def real_demand(path: Path, item: str, quantity: str, seed: int = 3) -> pl.DataFrame:
    """A sample of items with a year of history and five demands, zero-filled to the newest week."""
    raw = pl.read_parquet(path).select(item=item, week="week", quantity=pl.col(quantity).cast(pl.Float64))
    last = pl.DataFrame({"item": raw["item"].unique(), "week": raw["week"].max(), "quantity": 0.0})
    series = prepare(pl.concat([raw, last])).series
    counts = series.group_by("item").agg(weeks=pl.len(), demands=(pl.col("quantity") > 0).sum()).sort("item")
    sample = counts.filter((pl.col("weeks") >= 52) & (pl.col("demands") >= 5)).sample(ITEMS, seed=seed)
    return series.filter(pl.col("item").is_in(sample["item"].to_list()))


def report(name: str, result: ForecastResult, seconds: float) -> None:
    """Print one sample's speed against the limit, and its measures as a ratio to each baseline."""
    per_100 = seconds / result.series.height * 100
    share = per_100 / LIMIT_S_PER_100
    print(f"\n{name}: {result.series.height} items, {per_100:.2f} s per 100 items ({share:.2f} of the limit)")
    rows = {row["model"]: row for row in result.metrics.filter(demand_class="all").iter_rows(named=True)}
    print(f"  {'model':16s} {'wql':>7s} {'rmsse':>7s} {'wape':>7s} {'bias':>7s} {'cov80':>6s}")
    for model in ("chosen", "seasonal_naive", "moving_average"):
        row = rows[model]
        print("  {model:16s} {wql:7.3f} {rmsse:7.3f} {wape:7.3f} {bias:+7.3f} {coverage_80:6.2f}".format(**row))
    for model in ("seasonal_naive", "moving_average"):
        ratios = (f"{measure} {rows['chosen'][measure] / rows[model][measure]:.3f}" for measure in ("wql", "rmsse"))
        print(f"  chosen / {model}: {', '.join(ratios)}")


def main() -> None:
    """Forecast each sample with its backtest and print the report."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED
    samples = {"made, two seasonal years": made_demand()}
    for name, item, quantity in (("man_weekly", "sku", "y"), ("online_retail_weekly", "sku", "quantity")):
        if (folder / f"{name}.parquet").exists():
            samples[name] = real_demand(folder / f"{name}.parquet", item, quantity)
        else:
            print(f"{name}: not in {folder}, left out")
    forecast(made_demand(items=2))  # imports and first calls are not what is measured
    for name, series in samples.items():
        start = time.perf_counter()
        result = forecast(series)
        report(name, result, time.perf_counter() - start)


if __name__ == "__main__":
    main()
