"""Yearly seasonality for weekly series: indices pooled over items, refined by an item's own where they repeat.

A season of 52 weeks is not identified by one item's two years, but all items of a plant share much of it (holidays,
the building season). Multiplicative indices as in Dekker, van Donselaar & Ouwehand (2004), "How to use aggregation and
combined forecasting to improve seasonal demand forecasts", IJPE 90(2).
"""

from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np
import polars as pl

from forecasting.intervals import Floats
from forecasting.models import SEASON_WEEKS, History, PerSeries, histories

SEASON_SCHEMA = {"as_of": pl.Date, "position": pl.Int64, "index": pl.Float64}
# Only items that sell most weeks shape the pooled season: a lumpy item's peaks are not seasonal.
MIN_DEMAND_SHARE = 0.7
# Prior weight of "no season", in item-years: ten items over two years outweigh it.
PRIOR_ITEM_YEARS = 8.0
_KERNEL = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0


def positions(last_week: date, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """ISO week of year, 0..51 (week 53 counts as 52), of the `count` weeks that end with last_week."""
    weeks = (last_week - timedelta(weeks=back) for back in range(count - 1, -1, -1))
    return np.array([min(week.isocalendar().week, SEASON_WEEKS) - 1 for week in weeks], dtype=np.int64)


def pooled_season(series: pl.DataFrame, as_of: Iterable[date]) -> pl.DataFrame:
    """Seasonal indices seen from each date, from the weeks up to and including it only.

    Args:
        series: prepared weekly frame of all items. as_of: Mondays.

    Returns:
        as_of, position (0..51), index (mean 1 over the year). A date with no item of a full year has no rows.
    """
    frames = [pl.DataFrame(schema=SEASON_SCHEMA)]
    for day in sorted(set(as_of)):
        index = _pooled_index(histories(series.filter(pl.col("week") <= day)))
        if index is not None:
            frames.append(
                pl.DataFrame({"as_of": [day] * SEASON_WEEKS, "position": np.arange(SEASON_WEEKS), "index": index})
            )
    return pl.concat(frames)


def _pooled_index(items: list[History]) -> Floats | None:
    total, count = np.zeros(SEASON_WEEKS), np.zeros(SEASON_WEEKS)
    for history in items:
        if history.values.size < SEASON_WEEKS or (history.values > 0).mean() < MIN_DEMAND_SHARE:
            continue
        # one promotion must not become the season of every item
        ratios = np.minimum(_detrended(history.values), 4.0)
        at = positions(history.last_week, ratios.size)
        np.add.at(total, at, ratios)
        np.add.at(count, at, 1.0)
    if count.min() < 1:
        return None
    item_years = count.mean()
    return _smoothed(1.0 + (total / count - 1.0) * item_years / (item_years + PRIOR_ITEM_YEARS))


def _detrended(values: Floats) -> Floats:
    """Ratios to the level: the line through the means of the last two years, or the mean of the last year below two.

    Not a regression on all weeks: a season that falls from spring to winter would pass for a trend.
    """
    last = float(values[-SEASON_WEEKS:].mean())
    if values.size < 2 * SEASON_WEEKS:
        return np.asarray(values / max(last, 1e-12), dtype=np.float64)
    before = float(values[-2 * SEASON_WEEKS : -SEASON_WEEKS].mean())
    middle = (last + before) / 2
    # weeks from the middle of the last two years
    time = np.arange(values.size) - (values.size - SEASON_WEEKS - 0.5)
    level = np.maximum(middle + (last - before) / SEASON_WEEKS * time, max(0.2 * middle, 1e-12))
    return np.asarray(values / level, dtype=np.float64)


def _smoothed(index: Floats) -> Floats:
    """Circular 5-week smoothing, kept within 0.2..4, mean 1."""
    padded = np.concatenate([index[-2:], index, index[:2]])
    smooth = np.clip(np.convolve(padded, _KERNEL, mode="valid"), 0.2, 4.0)
    return np.asarray(smooth / smooth.mean(), dtype=np.float64)


def item_index(history: History, pooled: Floats) -> Floats:
    """Index (52,) of one item: pooled, moved towards its own as far as its own years agree with each other.

    The weight is the reliability 2r / (1 + r) of the correlation r between the smoothed deviations of the last two
    years from the pooled index (Spearman-Brown); 0 below two years.
    """
    if history.values.size < 2 * SEASON_WEEKS:
        return pooled
    ratios = np.minimum(_detrended(history.values), 4.0)[-2 * SEASON_WEEKS :]
    at = positions(history.last_week, ratios.size)
    years = []
    for part in (slice(None, SEASON_WEEKS), slice(SEASON_WEEKS, None)):
        year = pooled.copy()  # a year with an ISO week 53 leaves one position out
        year[at[part]] = ratios[part]
        years.append(_smoothed(year) - pooled)
    if min(year.std() for year in years) <= 0:
        return pooled
    agreement = float(np.corrcoef(years[0], years[1])[0, 1])
    weight = 2 * agreement / (1 + agreement) if agreement > 0 else 0.0
    index = np.clip(pooled + weight * (years[0] + years[1]) / 2, 0.2, 4.0)
    return np.asarray(index / index.mean(), dtype=np.float64)


class Seasonal(PerSeries):
    """Another model on the deseasonalised series; mean and quantiles multiplied by the index of their week.

    Args:
        inner: the model for the deseasonalised series; the name becomes "seasonal_" + inner.name.
        season: frame of `pooled_season`. A series uses the newest rows not later than its own last week, so a
            backtest never sees a season learnt from its future; without such rows it is refused.
    """

    def __init__(self, inner: PerSeries, season: pl.DataFrame) -> None:
        self.name = f"seasonal_{inner.name}"
        self._inner = inner
        grouped = season.sort("as_of", "position").group_by("as_of", maintain_order=True).agg("index")
        self._indices = [(day, np.array(index)) for day, index in grouped.iter_rows()]

    def fit(self, history: History, horizon: int, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        known = [index for day, index in self._indices if day <= history.last_week]
        if not known:
            raise ValueError("no item had a full year to learn a season from")
        index = item_index(history, known[-1])
        past = index[positions(history.last_week, history.values.size)]
        flat = History(history.item, history.values / past, history.last_week)
        mean, quantiles = self._inner._checked(flat, horizon, levels)
        future = index[positions(history.last_week + timedelta(weeks=horizon), horizon)]
        return mean * future, quantiles * future[:, None]
