"""Forecast accuracy: error sums per item, cutoff and model, and the published measures made from them.

Point measures: RMSSE, WAPE and bias score the mean, which is what is planned; MASE scores the median, the point that
an absolute error asks for (Kolassa 2020). MASE after Hyndman & Koehler (2006), RMSSE after the M5 guide: both scaled by
the one-week naive error of the training weeks. A training series without any change has scale 0: its scaled errors do
not exist, so it is left out of MASE and RMSSE, counted in `unscaled`, and stays in every other measure.
"""

import polars as pl

from forecasting.intervals import QUANTILES, quantile_column

SUMS = ("weeks", "demand", "pinball", "abs_error", "sq_error", "error", "abs_median_error", "covered")
METRIC_COLUMNS = ("model", "demand_class", "series", "wql", "rmsse", "mase", "wape", "bias", "coverage_80")
KEYS = ("item", "cutoff", "model")


def scales(training: pl.DataFrame) -> pl.DataFrame:
    """Naive one-week errors in the training weeks: item, scale_abs (mean |change|), scale_sq (mean change^2).

    Null where there is no change to measure (fewer than two weeks, or a constant series).
    """
    change = pl.col("quantity").diff().over("item")
    stats = (
        training.sort("item", "week")
        .with_columns(change=change)
        .group_by("item")
        .agg(scale_abs=pl.col("change").abs().mean(), scale_sq=(pl.col("change") ** 2).mean())
    )
    return stats.with_columns(pl.when(pl.col(name) > 0).then(name).alias(name) for name in ("scale_abs", "scale_sq"))


def error_sums(forecast: pl.DataFrame, actual: pl.DataFrame) -> pl.DataFrame:
    """Sums over the weeks that both frames have, one row per item, cutoff and model.

    Args:
        forecast: item, cutoff, model, week, mean, q10 .. q90. actual: item, week, quantity.

    Returns:
        item, cutoff, model, weeks, demand (sum of actuals), pinball (sum over weeks of the mean over the five levels
        of twice the pinball loss), abs_error, sq_error, error (mean - actual), abs_median_error, covered (weeks with
        q10 <= actual <= q90).
    """
    actuals = pl.col("quantity")
    losses = [
        2.0 * pl.max_horizontal(level * (actuals - pl.col(name)), (level - 1.0) * (actuals - pl.col(name)))
        for level, name in ((level, quantile_column(level)) for level in QUANTILES)
    ]
    error = pl.col("mean") - actuals
    return (
        forecast.join(actual.select("item", "week", "quantity"), on=["item", "week"])
        .group_by(KEYS)
        .agg(
            weeks=pl.len().cast(pl.Int64),
            demand=actuals.sum(),
            pinball=(pl.sum_horizontal(losses) / len(QUANTILES)).sum(),
            abs_error=error.abs().sum(),
            sq_error=(error**2).sum(),
            error=error.sum(),
            abs_median_error=(pl.col("q50") - actuals).abs().sum(),
            covered=((pl.col("q10") <= actuals) & (actuals <= pl.col("q90"))).sum().cast(pl.Int64),
        )
        .sort(KEYS)
    )


def summarise(errors: pl.DataFrame) -> pl.DataFrame:
    """Measures by model and demand class, and over all classes as class "all".

    Args:
        errors: rows of `error_sums` with demand_class, scale_abs and scale_sq beside them.

    Returns:
        METRIC_COLUMNS and unscaled i64, sorted by model and class. series = distinct items. wql = pinball sum /
        demand sum, wape and bias alike (bias > 0: forecast too high); null where the class had no demand.
        mase, rmsse = mean over item and cutoff of the scaled error; null where nothing could be scaled.
        coverage_80 = share of weeks within q10..q90 (zeros of intermittent items lie on q10 = 0 and count as inside).
    """
    both = pl.concat([errors, errors.with_columns(demand_class=pl.lit("all"))])
    demand = pl.col("demand").sum()

    def per_demand(column: str) -> pl.Expr:
        return pl.when(demand > 0).then(pl.col(column).sum() / demand)

    return (
        both.group_by("model", "demand_class")
        .agg(
            series=pl.col("item").n_unique().cast(pl.Int64),
            wql=per_demand("pinball"),
            rmsse=(pl.col("sq_error") / pl.col("weeks") / pl.col("scale_sq")).sqrt().mean(),
            mase=(pl.col("abs_median_error") / pl.col("weeks") / pl.col("scale_abs")).mean(),
            wape=per_demand("abs_error"),
            bias=per_demand("error"),
            coverage_80=pl.col("covered").sum() / pl.col("weeks").sum(),
            unscaled=pl.col("item").filter(pl.col("scale_sq").is_null()).n_unique().cast(pl.Int64),
        )
        .select(*METRIC_COLUMNS, "unscaled")
        .sort("model", "demand_class")
    )
