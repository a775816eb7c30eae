from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from made_series import NAN, START, plant, weekly

from forecasting.backtest import backtest, rolling_cutoffs, training_weeks
from forecasting.models import MovingAverage, attempt
from forecasting.run import classify, forecast, statistical_forecasters
from forecasting.season import pooled_season
from forecasting.series import prepare


def weeks_before_end(series: pl.DataFrame, cutoffs: tuple) -> list[int]:
    return [(series["week"].max() - cutoff).days // 7 for cutoff in cutoffs]


@pytest.mark.parametrize(
    ("weeks", "backs"), [(104, [39, 26, 13]), (53, [23, 18, 13]), (32, [18, 13]), (27, [13]), (20, [])]
)
def test_cutoffs_leave_a_whole_horizon_after_and_enough_history_before(weeks: int, backs: list[int]):
    series = weekly({"a": [1.0] * weeks})
    assert weeks_before_end(series, rolling_cutoffs(series, 13)) == backs


@pytest.mark.parametrize("name", sorted(statistical_forecasters(classify(plant(4)).season)))
def test_changing_the_future_of_a_cutoff_cannot_change_the_forecast_from_it(name: str):
    raw = plant(items=4)
    cutoff = raw["week"].max() - timedelta(weeks=26)
    rng = np.random.default_rng(0)
    later = pl.col("week") > cutoff
    wild = pl.Series(rng.choice([NAN, -5.0, 0.0, 1e6], raw.height))
    tampered = raw.with_columns(quantity=pl.when(later).then(wild).otherwise("quantity"))
    forecasts = []
    for frame in (raw, tampered):
        clean = prepare(frame).series
        season = pooled_season(clean, [cutoff, clean["week"].max()])
        training = training_weeks(clean, cutoff)
        forecasts.append(attempt(statistical_forecasters(season)[name], training, 13)[0])
    assert forecasts[0].height == 4 * 13
    assert forecasts[0].equals(forecasts[1])


def test_error_sums_are_those_of_the_forecast_from_the_cutoff():
    series = weekly({"a": [4.0] * 20 + [6.0] * 5})
    cutoff = START + timedelta(weeks=19)
    sums = backtest(series, {"moving_average": ["a"]}, {"moving_average": MovingAverage()}, [cutoff], 3)
    row = sums.row(0, named=True)
    assert (row["weeks"], row["demand"], row["error"], row["sq_error"]) == (3, 18.0, -6.0, 12.0)
    assert row["scale_sq"] is None  # constant in training


def test_items_that_stopped_reporting_or_are_too_young_are_not_scored():
    series = pl.concat(
        [
            weekly({"stopped": [5.0, 6.0] * 15, "whole": [5.0, 6.0] * 30}),
            weekly({"young": [5.0, 6.0] * 10}, START + timedelta(weeks=40)),
        ]
    )
    cutoff = START + timedelta(weeks=46)
    assert set(training_weeks(series, cutoff)["item"]) == {"whole"}


def test_progress_reaches_the_end_and_never_goes_back():
    told: list[float] = []
    forecast(plant(items=4), horizon=4, on_progress=lambda share, step: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0
