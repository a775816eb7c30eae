"""The one door to forecasting: classes of all items, forecasts of a chunk of them, and both put together.

`classify` needs every item (ABC, the pooled season); `forecast_chunk` does not and can run anywhere; `combine` adds
up. Splitting changes nothing: the choice for an item depends on its own backtest and on what `classify` gave.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from forecasting.backtest import CUTOFFS, ERROR_SCHEMA, backtest, rolling_cutoffs, scores
from forecasting.choice import REFERENCE, choose, choose_without_own_cutoff, item_candidates
from forecasting.classes import USUAL_LIMITS, ClassLimits, abc_classes, demand_classes
from forecasting.lead_time import DEFAULT_LEAD_TIME_WEEKS, SERVICE_LEVELS, lead_time_demand
from forecasting.metrics import METRIC_COLUMNS
from forecasting.models import (
    IMAPA,
    TSB,
    AutoETS,
    CrostonSBA,
    Ensemble,
    Forecaster,
    HistoricAverage,
    MovingAverage,
    SeasonalNaive,
    SimpleSmoothing,
    Theta,
    attempt,
)
from forecasting.season import Seasonal, pooled_season
from forecasting.series import prepare

HORIZON_WEEKS = 13
Progress = Callable[[float, str], None]
FORECAST_COLUMNS = ("item", "week", "mean", "q10", "q25", "q50", "q75", "q90")
SERIES_COLUMNS = (
    *("item", "demand_class", "adi", "cv2", "abc", "xyz", "model", "reason"),
    *("service_level", "lead_time_weeks", "lead_time_mean", "lead_time_quantile"),
)


@dataclass(frozen=True)
class Classification:
    """What a chunk must know that only all items together can tell.

    Attributes:
        items: item, demand_class, adi, cv2, abc, xyz, weeks, demands. cutoffs: of the backtest, oldest first.
        season: pooled indices as seen from each cutoff and from the newest week (see `forecasting.season`).
    """

    items: pl.DataFrame
    cutoffs: tuple[date, ...]
    season: pl.DataFrame

    def part(self, items: Sequence[str]) -> "Classification":
        """The same for some items only: what a worker is sent."""
        return Classification(self.items.filter(pl.col("item").is_in(list(items))), self.cutoffs, self.season)


@dataclass(frozen=True)
class ChunkResult:
    """Forecasts of a chunk.

    Attributes:
        forecast: FORECAST_COLUMNS. series: SERIES_COLUMNS. errors: backtest error sums per item, cutoff and model,
            with rows of model "chosen" for what the choice itself would have scored.
    """

    forecast: pl.DataFrame
    series: pl.DataFrame
    errors: pl.DataFrame


@dataclass(frozen=True)
class ForecastResult(ChunkResult):
    """Forecasts of all items; metrics: METRIC_COLUMNS by model and demand class, "all" included."""

    metrics: pl.DataFrame


def statistical_forecasters(season: pl.DataFrame) -> dict[str, Forecaster]:
    """Every statistical model of the room by name; the seasonal one only where a season is known."""
    ensemble = Ensemble("ensemble", [SimpleSmoothing(), IMAPA(), MovingAverage(), HistoricAverage()])
    models = [SeasonalNaive(), MovingAverage(), HistoricAverage(), SimpleSmoothing(), AutoETS(), Theta()]
    everyone = [*models, CrostonSBA(), TSB(), IMAPA(), ensemble]
    if not season.is_empty():
        everyone.append(Seasonal(Theta(), season))
    return {model.name: model for model in everyone}


def classify(
    series: pl.DataFrame,
    revenue: pl.DataFrame | None = None,
    *,
    horizon: int = HORIZON_WEEKS,
    cutoffs: int = CUTOFFS,
    limits: ClassLimits = USUAL_LIMITS,
) -> Classification:
    """Demand classes, cutoffs and the pooled season of all items.

    Args:
        series: item, week, quantity of all items. revenue: item, revenue; without it, or for items it lacks, class C.
        horizon: weeks, as in the forecast. cutoffs: backtest windows wanted. limits: of ABC and XYZ classes.
    """
    clean = prepare(series).series
    classes = demand_classes(clean, limits)
    if revenue is None:
        revenue = pl.DataFrame(schema={"item": pl.String, "revenue": pl.Float64})
    abc = abc_classes(revenue.join(classes, on="item", how="semi"), limits)
    items = classes.join(abc, on="item", how="left").with_columns(pl.col("abc").fill_null("C")).sort("item")
    days = rolling_cutoffs(clean, horizon, cutoffs)
    newest = [] if clean.is_empty() else clean["week"].unique().sort().tail(1).to_list()
    return Classification(items, days, pooled_season(clean, [*days, *newest]))


def forecast_chunk(
    series: pl.DataFrame,
    classification: Classification,
    *,
    horizon: int = HORIZON_WEEKS,
    lead_times: pl.DataFrame | None = None,
    service_levels: Mapping[str, float] = SERVICE_LEVELS,
    chronos: Forecaster | None = None,
    with_backtest: bool = True,
    on_progress: Progress | None = None,
) -> ChunkResult:
    """Forecast the items of `series`, choosing each one's model by its own backtest.

    Args:
        series: item, week, quantity of the chunk. classification: of all items, or its `part` for these.
        lead_times: item, lead_time_weeks; items it lacks take 1 week. service_levels: by ABC class.
        chronos: a learned forecaster to compete for smooth and erratic items. on_progress: told (share, step).

    Raises:
        ValueError: an item of the chunk is not classified.
    """
    prepared = prepare(series)
    clean = prepared.series
    items = classification.items.join(clean.select("item").unique(), on="item", how="semi").sort("item")
    missing = clean.join(items, on="item", how="anti")["item"].unique().sort().to_list()
    if missing:
        raise ValueError(f"not classified: {', '.join(missing[:5])} ({len(missing)} items)")
    forecasters = statistical_forecasters(classification.season)
    if chronos is not None:
        forecasters[chronos.name] = chronos
    seasonal = not classification.season.is_empty()
    options = item_candidates(items, seasonal=seasonal, chronos=chronos.name if chronos else None)
    errors = pl.DataFrame(schema=ERROR_SCHEMA)
    if with_backtest:
        by_model = options.group_by("model", maintain_order=True).agg("item")
        assignments = dict(by_model.iter_rows())
        report = (lambda share, step: on_progress(0.8 * share, step)) if on_progress else None
        errors = backtest(clean, assignments, forecasters, classification.cutoffs, horizon, report)
    choices = choose(errors, options)
    frame, choices = _fit_choices(clean, choices, forecasters, horizon)
    if on_progress:
        on_progress(1.0, f"forecast of {items.height} items")
    rows = _series_rows(items, choices, prepared.notes, lead_times, service_levels)
    rows = rows.join(lead_time_demand(frame, clean, rows), on="item", how="left").select(SERIES_COLUMNS).sort("item")
    chosen = errors.join(choose_without_own_cutoff(errors, options), on=["item", "cutoff", "model"], how="semi")
    chosen = chosen.with_columns(model=pl.lit("chosen"))
    return ChunkResult(frame.select(FORECAST_COLUMNS).sort("item", "week"), rows, pl.concat([errors, chosen]))


def combine(chunks: Sequence[ChunkResult]) -> ForecastResult:
    """One result from the chunks of a run, in any order; an item may be in one chunk only."""
    if not chunks:
        raise ValueError("no chunks to combine")
    frame = pl.concat([chunk.forecast for chunk in chunks]).sort("item", "week")
    rows = pl.concat([chunk.series for chunk in chunks]).sort("item")
    errors = pl.concat([chunk.errors for chunk in chunks]).sort("item", "cutoff", "model")
    metrics = scores(errors, rows).select(METRIC_COLUMNS)
    return ForecastResult(frame, rows, errors, metrics)


def forecast(
    series: pl.DataFrame,
    *,
    horizon: int = HORIZON_WEEKS,
    lead_times: pl.DataFrame | None = None,
    revenue: pl.DataFrame | None = None,
    service_levels: Mapping[str, float] = SERVICE_LEVELS,
    chronos: Forecaster | None = None,
    with_backtest: bool = True,
    on_progress: Progress | None = None,
) -> ForecastResult:
    """Forecast all items: `classify`, `forecast_chunk`, `combine` in sequence. Arguments as there."""
    classification = classify(series, revenue, horizon=horizon)
    chunk = forecast_chunk(
        series,
        classification,
        horizon=horizon,
        lead_times=lead_times,
        service_levels=service_levels,
        chronos=chronos,
        with_backtest=with_backtest,
        on_progress=on_progress,
    )
    return combine([chunk])


def _fit_choices(
    series: pl.DataFrame, choices: pl.DataFrame, forecasters: Mapping[str, Forecaster], horizon: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Forecasts by the chosen models; a failed fit falls back to the moving average and is recorded as that."""
    frames: list[pl.DataFrame] = []
    failures: dict[str, str] = {}
    for model, names in choices.group_by("model", maintain_order=True).agg("item").iter_rows():
        frame, failed = attempt(forecasters[model], series.filter(pl.col("item").is_in(names)), horizon)
        frames.append(frame)
        failures.update(failed)
    if failures:
        again = series.filter(pl.col("item").is_in(list(failures)))
        frames.append(forecasters[REFERENCE].forecast(again, horizon))
    if not frames:
        frames.append(forecasters[REFERENCE].forecast(series, horizon))
    failing = pl.col("item").is_in(list(failures))
    because = pl.col("item").replace_strict(failures, default=None, return_dtype=pl.String)
    choices = choices.with_columns(
        model=pl.when(failing).then(pl.lit(REFERENCE)).otherwise("model"),
        reason=pl.when(failing).then(pl.format("{}; fell back to {}", because, pl.lit(REFERENCE))).otherwise("reason"),
    )
    return pl.concat(frames), choices


def _series_rows(
    items: pl.DataFrame,
    choices: pl.DataFrame,
    notes: Mapping[str, str],
    lead_times: pl.DataFrame | None,
    service_levels: Mapping[str, float],
) -> pl.DataFrame:
    """Items with model, reason (class, choice, repairs), service level and lead time."""
    if lead_times is None:
        lead_times = pl.DataFrame(schema={"item": pl.String, "lead_time_weeks": pl.Float64})
    given = lead_times.group_by("item").agg(pl.col("lead_time_weeks").cast(pl.Float64).max())
    rows = items.join(choices, on="item").join(given, on="item", how="left")
    pattern = (
        pl.when(pl.col("demands") == 0)
        .then(pl.format("no demand in {} weeks", "weeks"))
        .when(pl.col("demand_class") == "insufficient")
        .then(pl.format("one demand in {} weeks", "weeks"))
        .otherwise(pl.format("{} demand, {} weeks", "demand_class", "weeks"))
    )
    note = pl.col("item").replace_strict(dict(notes), default=None, return_dtype=pl.String)
    return rows.with_columns(
        reason=pl.concat_str(pattern, pl.col("reason"), note, separator="; ", ignore_nulls=True),
        service_level=pl.col("abc").replace_strict(dict(service_levels), return_dtype=pl.Float64),
        lead_time_weeks=pl.col("lead_time_weeks").fill_null(DEFAULT_LEAD_TIME_WEEKS).clip(lower_bound=0.0),
    )
