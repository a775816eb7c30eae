from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_series import START, weekly

from forecasting.intervals import QUANTILES
from forecasting.lead_time import SERVICE_LEVELS, gamma_quantile, lead_time_demand
from forecasting.models import HistoricAverage


def demand_over(
    weeks: float, level: float, values: list[float], adi: float = 1.0, horizon: int = 4
) -> dict[str, float]:
    series = weekly({"a": list(values)})
    frame = HistoricAverage().forecast(series, horizon, QUANTILES)
    items = pl.DataFrame({"item": ["a"], "adi": [adi], "service_level": [level], "lead_time_weeks": [weeks]})
    return lead_time_demand(frame, series, items).row(0, named=True)


@pytest.mark.parametrize(
    ("weeks", "mean"), [(0.0, 0.0), (0.5, 5.0), (1.0, 10.0), (2.5, 25.0), (4.0, 40.0), (9.5, 95.0)]
)
def test_the_mean_takes_parts_of_weeks_and_goes_past_the_horizon(weeks: float, mean: float):
    assert demand_over(weeks, 0.9, [10.0] * 20)["lead_time_mean"] == pytest.approx(mean)


def test_certain_demand_needs_no_more_than_its_mean():
    assert demand_over(3.0, 0.97, [10.0] * 20)["lead_time_quantile"] == pytest.approx(30.0)


def test_weeks_in_the_lead_time_are_those_just_ahead():
    weeks = [START + timedelta(weeks=number) for number in range(2)]
    flat = {name: [2.0, 8.0] for name in ("mean", "q10", "q25", "q50", "q75", "q90")}
    frame = pl.DataFrame({"item": ["a", "a"], "week": weeks, **flat})
    items = pl.DataFrame({"item": ["a"], "adi": [1.0], "service_level": [0.9], "lead_time_weeks": [1.25]})
    assert lead_time_demand(frame, weekly({"a": [5.0]}), items)["lead_time_mean"][0] == pytest.approx(4.0)


def test_the_quantile_matches_simulated_lead_time_demand():
    rng = np.random.default_rng(5)
    history = rng.gamma(2.0, 10.0, 400)
    got = demand_over(4.0, 0.97, history.tolist())
    truth = np.quantile(rng.gamma(2.0, 10.0, (20000, 4)).sum(axis=1), 0.97)
    # above the truth by the allowance for an uncertain level, and not by much
    assert truth * 0.95 < got["lead_time_quantile"] < truth * 1.3


def test_rare_demand_that_no_weekly_quantile_sees_still_asks_for_stock():
    got = demand_over(4.0, 0.97, [100.0] + [0.0] * 19 + [100.0] + [0.0] * 19, adi=20.0)
    assert got["lead_time_quantile"] > 3 * got["lead_time_mean"] > 0


def test_the_quantile_of_the_sum_is_less_than_the_sum_of_quantiles():
    values = np.random.default_rng(1).gamma(1.0, 10.0, 52).tolist()
    assert (
        demand_over(9.0, 0.97, values)["lead_time_quantile"] < 9 * demand_over(1.0, 0.97, values)["lead_time_quantile"]
    )


@given(mean=st.floats(0.01, 1e6), spread=st.floats(0.0, 30.0), low=st.floats(0.5, 0.9), more=st.floats(0.0, 0.09))
def test_gamma_quantiles_are_finite_nonnegative_and_rise_with_the_level(
    mean: float, spread: float, low: float, more: float
):
    variance = np.full(2, (mean * spread) ** 2)
    lower, upper = gamma_quantile(np.full(2, mean), variance, np.array([low, low + more]))
    assert 0 <= lower <= upper < np.inf


def test_gamma_quantile_of_the_exponential_by_hand():
    assert gamma_quantile(np.array([2.0]), np.array([4.0]), np.array([0.9]))[0] == pytest.approx(2 * np.log(10))
    assert dict(SERVICE_LEVELS) == {"A": 0.97, "B": 0.93, "C": 0.85}
