from datetime import timedelta

import polars as pl
import pytest
from made_series import START, weekly

from forecasting.metrics import error_sums, scales, summarise


def one_row(mean: float, quantiles: list[float], actual: float, training: list[float]) -> pl.DataFrame:
    forecast = pl.DataFrame({"item": ["a"], "cutoff": [START], "model": ["m"], "week": [START + timedelta(weeks=1)]})
    names = ["q10", "q25", "q50", "q75", "q90"]
    forecast = forecast.with_columns(mean=pl.lit(mean), **{n: pl.lit(q) for n, q in zip(names, quantiles, strict=True)})
    sums = error_sums(forecast, weekly({"a": [0.0, actual]}))
    return sums.join(scales(weekly({"a": list(training)})), on="item").with_columns(demand_class=pl.lit("smooth"))


def test_measures_by_hand():
    # actual 10; pinball x 2: .1*2*(10-2) .25*2*(10-6) .5*2*(10-8) .25*2*(12-10) .1*2*(20-10) = 1.6 2 2 1 2
    row = summarise(one_row(9.0, [2.0, 6.0, 8.0, 12.0, 20.0], 10.0, [1.0, 5.0, 3.0])).filter(demand_class="all")
    got = row.row(0, named=True)
    assert got["wql"] == pytest.approx((1.6 + 2 + 2 + 1 + 2) / 5 / 10)
    assert got["wape"] == pytest.approx(0.1)
    assert got["bias"] == pytest.approx(-0.1)
    assert got["mase"] == pytest.approx(2.0 / 3.0)  # |8 - 10| / mean(4, 2)
    assert got["rmsse"] == pytest.approx((1.0 / 10.0) ** 0.5)  # (9 - 10)^2 / mean(16, 4)
    assert got["coverage_80"] == 1.0
    assert (got["series"], got["unscaled"]) == (1, 0)


def test_a_constant_training_series_is_counted_and_kept_out_of_scaled_measures_only():
    steady = one_row(9.0, [9.0] * 5, 10.0, [4.0, 4.0, 4.0])
    normal = one_row(9.0, [9.0] * 5, 10.0, [1.0, 5.0, 3.0]).with_columns(item=pl.lit("b"))
    got = summarise(pl.concat([steady, normal])).filter(demand_class="all").row(0, named=True)
    assert got["unscaled"] == 1
    assert got["series"] == 2
    assert got["rmsse"] == pytest.approx((1.0 / 10.0) ** 0.5)
    assert got["wape"] == pytest.approx(0.1)
    assert got["coverage_80"] == 0.0
    alone = summarise(steady).row(0, named=True)
    assert alone["rmsse"] is None
    assert alone["mase"] is None


def test_no_demand_means_no_relative_measure_not_a_division_by_zero():
    got = summarise(one_row(1.0, [0.0] * 5, 0.0, [1.0, 2.0])).row(0, named=True)
    assert got["wql"] is None
    assert got["bias"] is None
    assert got["coverage_80"] == 1.0
