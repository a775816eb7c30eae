"""Rolling-origin backtests: forecast from past cutoffs with what was known then, and score against what came."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

import polars as pl

from forecasting.metrics import SUMS, error_sums, scales, summarise
from forecasting.models import Forecaster, attempt

CUTOFFS = 3
# A cutoff with less history than this says more about the start-up of a model than about the model.
MIN_TRAINING_WEEKS = 13
ERROR_SCHEMA = {
    "item": pl.String,
    "cutoff": pl.Date,
    "model": pl.String,
    **{name: pl.Int64 if name in ("weeks", "covered") else pl.Float64 for name in SUMS},
    "scale_abs": pl.Float64,
    "scale_sq": pl.Float64,
}


def rolling_cutoffs(series: pl.DataFrame, horizon: int, count: int = CUTOFFS) -> tuple[date, ...]:
    """Last training weeks (Mondays), oldest first; each has `horizon` weeks after it in the longest-running series.

    Windows do not overlap where the longest history leaves a year before the first of them; on shorter histories
    they start a third of a horizon apart, so that three still fit. Fewer than `count` (or none) where history ends.
    """
    if series.is_empty():
        return ()
    first, last = series.select(first=pl.col("week").min(), last=pl.col("week").max()).row(0)
    weeks = (last - first).days // 7 + 1
    step = horizon if weeks >= count * horizon + 52 else -(-horizon // 3)
    backs = [horizon + step * number for number in reversed(range(count))]
    return tuple(last - timedelta(weeks=back) for back in backs if weeks - back >= MIN_TRAINING_WEEKS)


def training_weeks(series: pl.DataFrame, cutoff: date) -> pl.DataFrame:
    """What was known at a cutoff: items that had reported it and had enough history, up to and including it."""
    known = series.filter(pl.col("week") <= cutoff)
    span, last = pl.len().over("item"), pl.col("week").max().over("item")
    return known.filter((span >= MIN_TRAINING_WEEKS) & (last == cutoff))


def backtest(
    series: pl.DataFrame,
    assignments: Mapping[str, Sequence[str]],
    forecasters: Mapping[str, Forecaster],
    cutoffs: Sequence[date],
    horizon: int,
    on_progress: Callable[[float, str], None] | None = None,
) -> pl.DataFrame:
    """Error sums of each model on the items assigned to it.

    Args:
        series: prepared weekly frame. assignments: model name -> items. forecasters: model name -> forecaster.
        cutoffs: see `rolling_cutoffs`. on_progress: told (share done 0..1, step).

    Returns:
        item, cutoff, model, the sums of `error_sums`, scale_abs, scale_sq. A model that could not fit an item at a
        cutoff has no row there; the choice of models asks for complete rows.
    """
    frames = [pl.DataFrame(schema=ERROR_SCHEMA)]
    steps = max(len(cutoffs) * len(assignments), 1)
    for number, cutoff in enumerate(cutoffs):
        training = training_weeks(series, cutoff)
        after = series.filter((pl.col("week") > cutoff) & (pl.col("week") <= cutoff + timedelta(weeks=horizon)))
        scale = scales(training)
        for step, (model, items) in enumerate(assignments.items()):
            chosen = training.filter(pl.col("item").is_in(list(items)))
            if not chosen.is_empty():
                forecast = attempt(forecasters[model], chosen, horizon)[0]
                forecast = forecast.with_columns(cutoff=pl.lit(cutoff), model=pl.lit(model))
                frames.append(error_sums(forecast, after).join(scale, on="item", how="left").select(list(ERROR_SCHEMA)))
            if on_progress:
                on_progress((number * len(assignments) + step + 1) / steps, f"backtest {cutoff} {model}")
    return pl.concat(frames).sort("item", "cutoff", "model")


def scores(errors: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Measures by model and demand class (see `metrics.summarise`). classes: item, demand_class."""
    return summarise(errors.join(classes.select("item", "demand_class"), on="item"))
