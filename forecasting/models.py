"""Statistical forecasters behind one interface, on statsforecast's kernels.

Every model gives the mean and quantiles of weekly demand. Quantiles are mostly not the library's normal intervals: with
the same ETS mean those had 33 % more pinball loss on manufacturer items and 2 % more on retail items (55 and
22 % more on intermittent ones; 5 % less on the 13 smooth retail items), so each model says below where its quantiles
come from. None of them is the mean in disguise, and no mean is a median.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl
from statsforecast import models as library

from forecasting.intervals import QUANTILES, Floats, ordered, quantile_column, scaled_demand, with_errors

SEASON_WEEKS = 52


class Forecaster(Protocol):
    """What the room asks of any model, statistical or learned."""

    name: str

    def forecast(self, series: pl.DataFrame, horizon: int, quantiles: tuple[float, ...] = QUANTILES) -> pl.DataFrame:
        """Forecast each item of a prepared weekly frame for the `horizon` weeks after its own last week.

        Returns:
            item, week, mean and one column per quantile (q10, ...), `horizon` rows an item; finite, >= 0, quantiles
            non-decreasing. An item the model could not fit is absent.
        """
        ...


@dataclass(frozen=True)
class History:
    """One item's weekly demand, oldest first, and the Monday of its last week."""

    item: str
    values: Floats
    last_week: date


def histories(series: pl.DataFrame) -> list[History]:
    """Split a weekly frame by item, in order of first appearance. The values are copies: models may not share them."""
    grouped = series.sort("item", "week").group_by("item", maintain_order=True)
    rows = grouped.agg(pl.col("quantity").cast(pl.Float64), last_week=pl.col("week").last())
    return [
        History(item, np.array(values, dtype=np.float64), last_week)
        for item, values, last_week in rows.select("item", "quantity", "last_week").iter_rows()
    ]


def forecast_frame(
    fitted: Sequence[tuple[History, Floats, Floats]], horizon: int, quantiles: tuple[float, ...]
) -> pl.DataFrame:
    """Long frame from (history, mean (horizon,), quantiles (horizon, levels)); clips at 0 and orders quantiles."""
    names = [quantile_column(level) for level in quantiles]
    if not fitted:
        floats = dict.fromkeys(["mean", *names], pl.Float64)
        return pl.DataFrame(schema={"item": pl.String, "week": pl.Date, **floats})
    last_weeks = np.array([history.last_week for history, _, _ in fitted], dtype="datetime64[D]")
    weeks = last_weeks[:, None] + 7 * np.arange(1, horizon + 1).astype("timedelta64[D]")[None, :]
    sorted_quantiles = ordered(np.concatenate([values for _, _, values in fitted]))
    return pl.DataFrame(
        {
            "item": pl.Series([history.item for history, _, _ in fitted], dtype=pl.String).repeat_by(horizon).explode(),
            "week": pl.Series(weeks.ravel()).cast(pl.Date),
            "mean": np.maximum(np.concatenate([mean for _, mean, _ in fitted]), 0.0),
            **{name: sorted_quantiles[:, column] for column, name in enumerate(names)},
        }
    )


class PerSeries:
    """A model fitted to one series at a time. Subclasses give `point`; quantiles are recent demand scaled to the mean.

    Attributes:
        name: the name recorded beside each forecast. min_weeks: shorter histories are refused, not quietly replaced.
    """

    name: str = ""
    min_weeks: ClassVar[int] = 1

    def point(self, values: Floats, horizon: int) -> Floats:
        """Mean of each of the next `horizon` weeks; `values` holds some demand and at least min_weeks weeks."""
        raise NotImplementedError

    def fit(self, history: History, horizon: int, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Mean (horizon,) and quantiles (horizon, levels)."""
        mean = np.maximum(self.point(history.values, horizon), 0.0)
        return mean, scaled_demand(history.values, mean, levels)

    def forecast_all(
        self, series: pl.DataFrame, horizon: int, quantiles: tuple[float, ...] = QUANTILES
    ) -> tuple[pl.DataFrame, dict[str, str]]:
        """As `forecast`, and why each absent item is absent (item -> sentence)."""
        fitted: list[tuple[History, Floats, Floats]] = []
        failures: dict[str, str] = {}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the library warns per series; what matters is checked below
            for history in histories(series):
                try:
                    fitted.append((history, *self._checked(history, horizon, quantiles)))
                except Exception as error:  # noqa: BLE001 - the library raises bare Exception on series it dislikes
                    failures[history.item] = f"{self.name} failed: {error}"
        return forecast_frame(fitted, horizon, quantiles), failures

    def forecast(self, series: pl.DataFrame, horizon: int, quantiles: tuple[float, ...] = QUANTILES) -> pl.DataFrame:
        """See `Forecaster.forecast`."""
        return self.forecast_all(series, horizon, quantiles)[0]

    def _checked(self, history: History, horizon: int, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        if history.values.size < self.min_weeks:
            raise ValueError(f"needs {self.min_weeks} weeks of history, has {history.values.size}")
        if history.values.max() <= 0:
            return np.zeros(horizon), np.zeros((horizon, len(levels)))
        mean, quantiles = self.fit(history, horizon, levels)
        if not (np.isfinite(mean).all() and np.isfinite(quantiles).all()):
            raise ValueError("the fit gave a value that is not finite")
        return mean, quantiles


class HistoricAverage(PerSeries):
    """Mean of the whole history; with its quantiles, the bootstrap of past weeks. For tiny and for lumpy series."""

    name = "historic_average"

    def point(self, values: Floats, horizon: int) -> Floats:
        return np.full(horizon, values.mean())


class MovingAverage(PerSeries):
    """Mean of the last 12 weeks, a baseline in every table. Quantiles: recent demand scaled to the mean."""

    name = "moving_average"

    def __init__(self, window: int = 12) -> None:
        self.window = window

    def point(self, values: Floats, horizon: int) -> Floats:
        return np.full(horizon, values[-self.window :].mean())


class SeasonalNaive(PerSeries):
    """The same week a year ago, a baseline in every table.

    With less than a year of history, the mean of the last 13 weeks (a stronger baseline than the last value, so
    beating it means more). Quantiles: the mean plus empirical year-on-year errors, or week-on-week errors where fewer
    than 13 of them exist; recent demand scaled to the mean below a year.
    """

    name = "seasonal_naive"

    def fit(self, history: History, horizon: int, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        values = history.values
        if values.size < SEASON_WEEKS:
            mean = np.full(horizon, values[-13:].mean())
            return mean, scaled_demand(values, mean, levels)
        mean = values[-SEASON_WEEKS:][np.arange(horizon) % SEASON_WEEKS]
        errors = values[SEASON_WEEKS:] - values[:-SEASON_WEEKS]
        return mean, with_errors(mean, errors if errors.size >= 13 else np.diff(values), levels)


class LibraryModel(PerSeries):
    """A statsforecast model used for its mean only."""

    _kernel: ClassVar[Any] = None

    def _library(self, weeks: int) -> Any:
        """The library's model for a history of so many weeks."""
        del weeks  # most models do not depend on it
        return self._kernel

    def point(self, values: Floats, horizon: int) -> Floats:
        mean = np.asarray(self._library(values.size).forecast(y=values.copy(), h=horizon)["mean"], dtype=np.float64)
        # a trend may run off on a short, steep history: no forecast exceeds twice the highest week seen
        return np.clip(mean, 0.0, 2.0 * values.max())


class SimpleSmoothing(LibraryModel):
    """Simple exponential smoothing with optimised alpha (Brown 1956). Quantiles: recent demand scaled to the mean."""

    name = "ses"
    min_weeks = 3

    _kernel = library.SimpleExponentialSmoothingOptimized()


class AutoETS(LibraryModel):
    """ETS with additive error, level only or damped trend by AICc (Hyndman et al. 2008).

    No seasonal states: 52 of them are not identified by two years (see `forecasting.season`). The trend is allowed
    from 60 weeks only, as it costs accuracy where there is none to find: level-only ETS was ahead on both real samples,
    by 5 % of WQL on histories under a year. Quantiles: recent demand scaled to the mean.
    """

    name = "auto_ets"
    min_weeks = 8

    def _library(self, weeks: int) -> Any:
        if weeks < 60:
            return library.AutoETS(season_length=1, model="ANN")
        return library.AutoETS(season_length=1, model="AZN", damped=True)


class Theta(LibraryModel):
    """Dynamic optimised theta (Fiorucci et al. 2016). Quantiles: recent demand scaled to the mean."""

    name = "theta"
    min_weeks = 8

    _kernel = library.DynamicOptimizedTheta(season_length=1)


class CrostonSBA(LibraryModel):
    """Croston with the Syntetos-Boylan bias correction (2005). Quantiles: recent demand scaled to the mean."""

    name = "croston_sba"
    min_weeks = 2

    _kernel = library.CrostonSBA()


class TSB(LibraryModel):
    """Teunter-Syntetos-Babai (2011): lets obsolete items fade. Quantiles: recent demand scaled to the mean."""

    name = "tsb"
    min_weeks = 2

    _kernel = library.TSB(alpha_d=0.1, alpha_p=0.1)


class IMAPA(LibraryModel):
    """Smoothing over several temporal aggregations (Petropoulos & Kourentzes 2015). Quantiles as for TSB."""

    name = "imapa"
    min_weeks = 4

    _kernel = library.IMAPA()


class Ensemble(PerSeries):
    """Equal-weight mean of member means; quantiles: recent demand scaled to that mean."""

    def __init__(self, name: str, members: Sequence[PerSeries]) -> None:
        self.name = name
        self.members = tuple(members)

    def fit(self, history: History, horizon: int, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        fits = [member._checked(history, horizon, levels) for member in self.members]
        return np.mean([mean for mean, _ in fits], axis=0), np.mean([quantiles for _, quantiles in fits], axis=0)


def attempt(
    forecaster: Forecaster, series: pl.DataFrame, horizon: int, quantiles: tuple[float, ...] = QUANTILES
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Forecast and account for every item: the good rows, and item -> reason for each item without them.

    A forecaster that raises, leaves items out or returns values that are not finite cannot take the run down.
    """
    if isinstance(forecaster, PerSeries):
        return forecaster.forecast_all(series, horizon, quantiles)
    names = ["mean", *(quantile_column(level) for level in quantiles)]
    items = series["item"].unique().to_list()
    try:
        frame = forecaster.forecast(series, horizon, quantiles)
    except Exception as error:  # noqa: BLE001 - a foreign model may raise anything; its reason is recorded
        return forecast_frame([], horizon, quantiles), dict.fromkeys(items, f"{forecaster.name} failed: {error}")
    usable = frame.select(pl.all_horizontal(pl.col(names).is_finite().fill_null(value=False)).all().over("item"))
    frame = frame.filter(usable.to_series())
    absent = set(items) - set(frame["item"])
    return frame, dict.fromkeys(absent, f"{forecaster.name} gave no finite forecast")
