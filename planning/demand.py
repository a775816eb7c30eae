"""Independent demand per bucket: weekly forecasts spread over working days, consumed by customers' firm orders."""

import numpy as np

from planning.arrays import QUANTITY_TOLERANCE, FloatArray, IntArray
from planning.calendar import Calendar


def weekly_forecast(row: IntArray, week: IntArray, mean: FloatArray, calendar: Calendar, count: int) -> FloatArray:
    """Expected demand still to come in each week, [weeks, items]; weeks outside the horizon are left out.

    Of the first week only the share of the working days that are left remains; what should have sold on its past days
    has sold or not. A week in which the factory is closed is added to the week before it: its goods have to be there
    before the gates close.
    """
    inside = (week >= 0) & (week < calendar.horizon_weeks)
    cell = week[inside] * count + row[inside]
    flat = np.bincount(cell, weights=mean[inside], minlength=calendar.horizon_weeks * count)
    expected = flat.astype(np.float64).reshape(calendar.horizon_weeks, count)
    expected[0] *= calendar.days_left_in_week[0] / calendar.days_in_week[0]
    for closed in np.flatnonzero(calendar.days_left_in_week == 0)[::-1]:  # backwards: two closed weeks both move on
        expected[closed - 1] += expected[closed]
        expected[closed] = 0.0
    return expected


def independent_demand(
    expected: FloatArray, firm: FloatArray, overdue: FloatArray, calendar: Calendar, firm_horizon_weeks: int
) -> FloatArray:
    """Independent demand, [buckets, items].

    `expected` is [weeks, items], `firm` orders due from today on [buckets, items], `overdue` orders [items]. Inside the
    firm-order horizon a week's demand is the greater of expected forecast and firm orders: the orders stand on their
    own days and only what they leave of the forecast is spread over the week. Beyond it the forecast alone counts.
    Overdue orders fall into bucket 0 on top: they consumed the forecast of days that are gone.
    """
    week = calendar.week_of_bucket
    counted = firm * (week < firm_horizon_weeks)[:, None]
    firm_of_week = np.zeros_like(expected)
    np.add.at(firm_of_week, week, counted)
    unconsumed = np.maximum(expected - firm_of_week, 0.0)
    demand = counted + unconsumed[week] / calendar.days_left_in_week[week][:, None]
    demand[0] += overdue
    return demand


def overdue_days(row: IntArray, days_late: IntArray, quantity: FloatArray, covered: FloatArray) -> IntArray:
    """Working days by which the oldest overdue order that stock does not cover is late, [items]; 0 where none is.

    `row`, `days_late`, `quantity` are the overdue orders, `covered` is what there is at bucket 0, [items]; the oldest
    order is served first.
    """
    order = np.lexsort((-days_late, row))
    row, days_late, quantity = row[order], days_late[order], quantity[order]
    total = np.cumsum(quantity)
    first_of_item = np.searchsorted(row, row, side="left")
    served = total - (total[first_of_item] - quantity[first_of_item])
    waiting = served > covered[row] + QUANTITY_TOLERANCE
    oldest = np.zeros(len(covered), dtype=np.int64)
    np.maximum.at(oldest, row[waiting], days_late[waiting])
    return oldest
