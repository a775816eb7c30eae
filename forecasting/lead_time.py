"""Demand accumulated over the replenishment lead time: its mean and its service-level quantile.

The quantile of a sum is not the sum of quantiles. Stated approximation: accumulated demand is gamma distributed
(Burgin 1975, "The gamma distribution and inventory control") with
    mean      M = sum of the weekly means over the lead time (last week in part; past the horizon the mean week
              repeats)
    variance  V = sum of weekly variances + (L * s)^2 * alpha / (2 - alpha)
where s^2 is the mean weekly variance over the lead time. The first term takes weeks as independent; the second is the
error of the forecast level itself, common to all weeks of the lead time, for exponential smoothing with alpha = 0.1
(Silver, Pyke & Thomas, ch. 6). The weekly variance is the greater of the variance of the forecast's quantile function
and, for intermittent patterns (ADI >= 1.32 or unclassified), that of the last 52 weeks of demand scaled to the mean:
where demand comes in fewer than one week in ten, all five quantiles are 0 and know nothing of it.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.special import gammaincinv  # type: ignore[import-untyped]

from forecasting.intervals import RECENT_WEEKS, Floats, quantile_moments

SERVICE_LEVELS: Mapping[str, float] = {"A": 0.97, "B": 0.93, "C": 0.85}
# An item without a lead time is replenished within the planning week.
DEFAULT_LEAD_TIME_WEEKS = 1.0
LEVEL_ALPHA = 0.1
QUANTILE_NAMES = ("q10", "q25", "q50", "q75", "q90")


def gamma_quantile(mean: Floats, variance: Floats, level: Floats) -> Floats:
    """Quantile of the gamma distribution with these moments; the mean where the variance is 0, 0 where the mean is."""
    mean, variance, level = (np.asarray(values, dtype=np.float64) for values in (mean, variance, level))
    random = (mean > 0) & (variance > 0)
    safe_mean, safe_variance = np.where(random, mean, 1.0), np.where(random, variance, 1.0)
    # far below one demand per lead time the shape parameter underflows the inverse: the quantile is 0 there anyway
    shape = np.clip(safe_mean**2 / safe_variance, 1e-3, 1e9)
    quantile = gammaincinv(shape, level) * safe_mean / shape
    return np.asarray(np.where(random, quantile, np.maximum(mean, 0.0)), dtype=np.float64)


def lead_time_demand(forecast: pl.DataFrame, series: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Mean and service-level quantile of lead-time demand of each forecast item.

    Args:
        forecast: item, week, mean, q10 .. q90. series: prepared weekly demand, for the variance of rare demand.
        items: item, adi f64?, service_level f64 (0 < level < 1), lead_time_weeks f64 >= 0 (fractions allowed).

    Returns:
        item, lead_time_mean, lead_time_quantile, in the item's unit; sorted by item.
    """
    recent = (
        series.sort("item", "week").group_by("item", maintain_order=True).agg(pl.col("quantity").tail(RECENT_WEEKS))
    )
    recent = recent.select(
        "item",
        recent_mean=pl.col("quantity").list.mean(),
        recent_variance=pl.col("quantity").list.var(ddof=1).fill_null(0.0),
    )
    weekly = _weekly_variance(forecast, items, recent)
    week_number = pl.int_range(pl.len()).over("item").cast(pl.Float64)
    share = (pl.col("lead_time_weeks") - week_number).clip(0.0, 1.0)
    sums = (
        weekly.sort("item", "week")
        .with_columns(share=share)
        .group_by("item")
        .agg(
            pl.col("lead_time_weeks", "service_level").first(),
            within_mean=(pl.col("share") * pl.col("mean")).sum(),
            within_variance=(pl.col("share") * pl.col("variance")).sum(),
            beyond=(pl.col("lead_time_weeks").first() - pl.len()).clip(lower_bound=0.0),
            week_mean=pl.col("mean").mean(),
            week_variance=pl.col("variance").mean(),
        )
        .sort("item")
    )
    sums = sums.with_columns(
        total_mean=pl.col("within_mean") + pl.col("beyond") * pl.col("week_mean"),
        total_variance=pl.col("within_variance") + pl.col("beyond") * pl.col("week_variance"),
    ).with_columns(
        # (L * s)^2 with s^2 = total / L
        total_variance=pl.col("total_variance") * (1.0 + pl.col("lead_time_weeks") * LEVEL_ALPHA / (2.0 - LEVEL_ALPHA))
    )
    quantile = gamma_quantile(*(sums[name].to_numpy() for name in ("total_mean", "total_variance", "service_level")))
    return sums.select("item", lead_time_mean="total_mean").with_columns(lead_time_quantile=pl.Series(quantile))


def _weekly_variance(forecast: pl.DataFrame, items: pl.DataFrame, recent: pl.DataFrame) -> pl.DataFrame:
    """Forecast rows with lead time, service level and variance of each week."""
    rows = forecast.join(items.select("item", "adi", "service_level", "lead_time_weeks"), on="item")
    rows = rows.join(recent, on="item", how="left")
    variance = quantile_moments(rows.select(QUANTILE_NAMES).to_numpy())[1]
    rare = (pl.col("adi") >= 1.32) | pl.col("adi").is_null()
    # squared coefficient of variation of recent demand times the mean asked for: the same shape at another level
    scaled = pl.when(pl.col("recent_mean") > 0).then(
        pl.col("recent_variance") / pl.col("recent_mean") ** 2 * pl.col("mean") ** 2
    )
    return rows.with_columns(variance=pl.Series(variance)).with_columns(
        variance=pl.when(rare).then(pl.max_horizontal("variance", scaled)).otherwise("variance")
    )
