"""Independent demand: spreading, consumption by firm orders, overdue orders."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.calendar import Calendar
from planning.demand import independent_demand, overdue_days, weekly_forecast

MONDAY = date(2026, 11, 23)


def spread(calendar, weekly, firm=None, overdue=0.0, firm_weeks=3):
    """Demand of one item from its weekly means and firm orders per bucket."""
    week = np.arange(len(weekly))
    expected = weekly_forecast(np.zeros_like(week), week, np.array(weekly, float), calendar, 1)
    daily = np.zeros((calendar.buckets, 1))
    for bucket, quantity in (firm or {}).items():
        daily[bucket] = quantity
    return independent_demand(expected, daily, np.array([overdue]), calendar, firm_weeks)[:, 0]


def test_a_week_is_spread_over_its_working_days():
    calendar = Calendar(MONDAY, 2, frozenset({date(2026, 12, 1)}))
    assert spread(calendar, [50.0, 40.0]).tolist() == [10] * 5 + [10] * 4


def test_past_days_of_the_current_week_take_their_share_with_them():
    calendar = Calendar(date(2026, 11, 26), 1)  # Thursday: two of five days are left
    assert spread(calendar, [50.0]) == pytest.approx([10.0, 10.0])


def test_a_closed_week_is_needed_in_the_week_before():
    closed = frozenset(date(2026, 11, 30) + timedelta(days=day) for day in range(5))
    calendar = Calendar(MONDAY, 3, closed)
    assert spread(calendar, [50.0, 25.0, 10.0]) == pytest.approx([15.0] * 5 + [2.0] * 5)


def test_inside_the_firm_horizon_the_greater_counts_and_orders_keep_their_days():
    calendar = Calendar(MONDAY, 2)
    more = spread(calendar, [50.0, 0.0], {1: 80.0}, firm_weeks=1)
    assert more.tolist() == [0, 80, 0, 0, 0] + [0] * 5
    less = spread(calendar, [50.0, 0.0], {1: 20.0}, firm_weeks=1)
    assert less.tolist() == [6, 26, 6, 6, 6] + [0] * 5


def test_beyond_the_firm_horizon_the_forecast_alone_counts():
    calendar = Calendar(MONDAY, 2)
    assert spread(calendar, [0.0, 5.0], {6: 100.0}, firm_weeks=1).tolist() == [0] * 5 + [1] * 5


def test_overdue_orders_come_on_top_in_bucket_0():
    assert spread(Calendar(MONDAY, 1), [50.0], {0: 10.0}, overdue=7.0)[0] == 10 + 8 + 7


@given(
    today=st.dates(date(2026, 11, 23), date(2026, 11, 29)),
    weekly=st.lists(st.integers(0, 100), min_size=4, max_size=4),
    firm=st.dictionaries(st.integers(0, 14), st.integers(1, 90), max_size=6),
    firm_weeks=st.integers(0, 4),
)
def test_every_week_totals_the_greater_of_forecast_and_orders(today, weekly, firm, firm_weeks):
    calendar = Calendar(today, 4)
    demand = spread(calendar, weekly, firm, firm_weeks=firm_weeks)
    for week in range(4):
        inside = calendar.week_of_bucket == week
        forecast = weekly[week] * calendar.days_left_in_week[week] / 5
        orders = sum(quantity for bucket, quantity in firm.items() if inside[bucket])
        assert demand[inside].sum() == pytest.approx(max(forecast, orders) if week < firm_weeks else forecast)


def test_lateness_is_that_of_the_oldest_order_stock_does_not_cover():
    row, late = np.array([0, 0, 1, 2]), np.array([9, 4, 3, 5])
    quantity = np.array([10.0, 10.0, 5.0, 8.0])
    # item 0: stock serves the order 9 days late, not the one 4 days late; item 1: served; item 2: nothing there
    assert overdue_days(row, late, quantity, np.array([10.0, 5.0, 0.0])).tolist() == [4, 0, 5]
