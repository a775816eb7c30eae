"""One contract for every forecaster of the room, learned ones included."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_series import BAD_SERIES, START, plant, weekly

from forecasting.intervals import QUANTILES
from forecasting.models import TSB, Forecaster, HistoricAverage, MovingAverage, SeasonalNaive, attempt
from forecasting.run import classify, statistical_forecasters
from forecasting.series import prepare

SEASON = classify(plant()).season
FORECASTERS = statistical_forecasters(SEASON)
NAMES = sorted([*FORECASTERS, "chronos_2"])
QUANTILE_NAMES = ["q10", "q25", "q50", "q75", "q90"]


@pytest.fixture
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    if request.param == "chronos_2":
        return request.getfixturevalue("tiny_chronos")
    return FORECASTERS[request.param]


def check_contract(frame: pl.DataFrame, series: pl.DataFrame, items: set[str], horizon: int) -> None:
    assert frame.columns == ["item", "week", "mean", *QUANTILE_NAMES]
    assert set(frame["item"]) == items
    ends = series.group_by("item").agg(pl.col("week").max())
    for item, last_week in ends.filter(pl.col("item").is_in(list(items))).iter_rows():
        weeks = frame.filter(pl.col("item") == item)["week"].to_list()
        assert weeks == [last_week + timedelta(weeks=ahead) for ahead in range(1, horizon + 1)]
    values = frame.select("mean", *QUANTILE_NAMES).to_numpy()
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (np.diff(values[:, 1:], axis=1) >= 0).all()


@pytest.mark.parametrize("forecaster", NAMES, indirect=True)
@pytest.mark.parametrize("horizon", [1, 13, 60])
def test_every_model_keeps_the_contract_on_good_series(forecaster: Forecaster, horizon: int):
    series = prepare(plant(items=4)).series
    frame, failures = attempt(forecaster, series, horizon)
    assert failures == {}
    check_contract(frame, series, set(series["item"]), horizon)


@pytest.mark.parametrize("forecaster", NAMES, indirect=True)
def test_every_model_forecasts_bad_series_or_says_why_not(forecaster: Forecaster, capfd: pytest.CaptureFixture[str]):
    series = prepare(weekly(BAD_SERIES)).series
    assert set(series["item"]) == set(BAD_SERIES)
    frame, failures = attempt(forecaster, series, 13)
    check_contract(frame, series, set(BAD_SERIES) - set(failures), 13)
    assert all(forecaster.name in reason for reason in failures.values())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("forecaster", NAMES, indirect=True)
def test_an_items_forecast_does_not_depend_on_its_company_or_on_the_order_of_rows(forecaster: Forecaster):
    series = prepare(plant(items=4)).series
    together = forecaster.forecast(series.reverse(), 5, QUANTILES).filter(pl.col("item") == "I001")
    alone = forecaster.forecast(series.filter(pl.col("item") == "I001"), 5, QUANTILES)
    assert np.allclose(together.select("mean", *QUANTILE_NAMES), alone.select("mean", *QUANTILE_NAMES), rtol=1e-4)


CHEAP = ["croston_sba", "ensemble", "historic_average", "imapa", "moving_average", "seasonal_naive", "ses", "tsb"]


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=70), name=st.sampled_from(CHEAP))
def test_any_demand_keeps_the_contract(values: list[float], name: str):
    series = prepare(weekly({"a": list(values)})).series
    frame, failures = attempt(FORECASTERS[name], series, 4)
    check_contract(frame, series, {"a"} - set(failures), 4)


def test_the_mean_of_an_intermittent_item_is_not_its_median():
    series = weekly({"a": [10.0, 0.0, 0.0, 0.0, 0.0] * 20})
    for name in ("tsb", "imapa", "croston_sba", "historic_average"):
        row = FORECASTERS[name].forecast(series, 1, QUANTILES).row(0, named=True)
        assert row["q10"] == row["q50"] == 0.0, name
        assert row["q90"] > row["mean"] > 1.0, name


def test_baselines_by_hand():
    values = [float(number) for number in range(1, 61)]
    series = weekly({"a": list(values)})
    naive = SeasonalNaive().forecast(series, 3)
    assert naive["mean"].to_list() == values[-52:-49]
    assert naive["week"][0] == START + timedelta(weeks=60)
    assert MovingAverage().forecast(series, 2)["mean"].to_list() == [54.5, 54.5]
    assert HistoricAverage().forecast(series, 1)["mean"].to_list() == [30.5]
    assert SeasonalNaive().forecast(weekly({"a": list(values[:20])}), 1)["mean"].to_list() == [14.0]


def test_tsb_lets_a_dead_item_fade():
    dead = TSB().forecast(weekly({"a": [50.0] * 40 + [0.0] * 60}), 1)["mean"][0]
    assert dead < 1.0


def test_a_seasonal_model_follows_the_year():
    season = 1 + 0.6 * np.sin(2 * np.pi * np.arange(104) / 52)
    rng = np.random.default_rng(3)
    made = {f"s{number}": (100 * season * rng.gamma(50, 1 / 50, 104)).tolist() for number in range(8)}
    series = weekly(made)
    frame = statistical_forecasters(classify(series).season)["seasonal_theta"].forecast(series, 26, QUANTILES)
    truth = 100 * (1 + 0.6 * np.sin(2 * np.pi * (104 + np.arange(26)) / 52))
    mean = frame.group_by("week").agg(pl.col("mean").mean()).sort("week")["mean"].to_numpy()
    assert np.abs(mean - truth).mean() < 12.0  # a flat forecast is off by more than 30


class Broken:
    name = "broken"

    def forecast(self, series: pl.DataFrame, horizon: int, quantiles: tuple[float, ...] = QUANTILES) -> pl.DataFrame:
        raise RuntimeError("out of memory")


def test_a_model_that_raises_is_accounted_for_item_by_item():
    frame, failures = attempt(Broken(), plant(items=2), 3)
    assert frame.is_empty()
    assert failures == {"I000": "broken failed: out of memory", "I001": "broken failed: out of memory"}


def test_rows_that_are_not_finite_are_a_failure_of_their_item():
    class Nan:
        name = "nan"

        def forecast(self, series, horizon, quantiles=QUANTILES):
            frame = MovingAverage().forecast(series, horizon, quantiles)
            bad = pl.when(pl.col("item") == "I000").then(float("nan")).otherwise("mean")
            return frame.with_columns(mean=bad)

    frame, failures = attempt(Nan(), plant(items=2), 3)
    assert set(frame["item"]) == {"I001"}
    assert failures == {"I000": "nan gave no finite forecast"}
