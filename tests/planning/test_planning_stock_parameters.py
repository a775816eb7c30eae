"""Safety stock, reorder point, economic order quantity."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.safety_stock import (
    SafetyStockPolicy,
    economic_order_quantity,
    from_quantile,
    from_variability,
    reorder_point,
    z_values,
)

NAN = np.nan


def test_quantile_surplus_is_never_negative_and_unknown_stays_unknown():
    assert from_quantile(np.array([130.0, 90.0]), np.array([100.0, 100.0])).tolist() == [30.0, 0.0]
    assert np.isnan(from_quantile(np.array([NAN]), np.array([100.0]))[0])


def test_variability_by_hand():
    # 1.645 * sqrt(4 * 10^2 + 20^2 * 0.5^2) = 1.645 * sqrt(500)
    stock = from_variability(np.array([1.645]), np.array([4.0]), np.array([20.0]), np.array([10.0]), 0.5)
    assert stock[0] == pytest.approx(1.645 * 500**0.5)


def test_z_of_known_service_levels():
    assert z_values(np.array([0.95, 0.5, 0.95])) == pytest.approx([1.6449, 0.0, 1.6449], abs=1e-4)
    assert np.isnan(z_values(np.array([NAN, 1.0]))).all()


def test_manual_before_quantile_before_variability_before_nothing():
    policy = SafetyStockPolicy(
        manual=np.array([7.0, NAN, NAN, NAN]),
        quantile_surplus=np.array([30.0, 30.0, NAN, NAN]),
        weekly_mean=np.array([5.0, 5.0, 5.0, NAN]),
        weekly_sd=np.array([2.0, 2.0, 2.0, NAN]),
        service_level=np.full(4, NormalDist().cdf(2.0)),
        days_per_week=5,
    )
    # lead time 20 working days = 4 weeks: 2 * sqrt(4 * 2^2) = 8
    assert policy.of(np.arange(4), np.full(4, 20)) == pytest.approx([7.0, 30.0, 8.0, 0.0])


def test_reorder_point():
    assert reorder_point(np.array([3.0]), np.array([10]), np.array([5.0])).tolist() == [35.0]


def test_eoq_by_hand_and_unknown_without_holding_cost():
    # sqrt(2 * 1000 * 50 / 4) = sqrt(25000)
    eoq = economic_order_quantity(np.array([1000.0, 1000.0, 1000.0]), 50.0, np.array([4.0, 0.0, NAN]))
    assert eoq[0] == pytest.approx(25000**0.5)
    assert np.isnan(eoq[1:]).all()


@given(st.floats(1, 1e5), st.floats(1, 1e3), st.floats(0.01, 1e3), st.floats(0.5, 2.0))
def test_eoq_costs_no_more_than_any_other_quantity(annual, order_cost, holding, factor):
    best = economic_order_quantity(np.array([annual]), order_cost, np.array([holding]))[0]

    def cost(quantity):
        return annual / quantity * order_cost + quantity / 2 * holding

    assert cost(best) <= cost(best * factor) * (1 + 1e-9)
