"""The factory calendar: indices, buckets, days not worked."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.calendar import Calendar, in_bucket, monday_of

MONDAY = date(2026, 11, 23)


def days(*values):
    return np.array(values, dtype="datetime64[D]")


def test_buckets_are_the_working_days_of_whole_weeks():
    calendar = Calendar(date(2026, 11, 25), 2, frozenset({date(2026, 12, 1)}))
    assert [str(day) for day in calendar.days] == [
        "2026-11-25",
        "2026-11-26",
        "2026-11-27",
        "2026-11-30",
        "2026-12-02",
        "2026-12-03",
        "2026-12-04",
    ]
    assert calendar.week_of_bucket.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert calendar.days_in_week.tolist() == [5, 4]
    assert calendar.days_left_in_week.tolist() == [3, 4]


def test_on_a_weekend_bucket_0_is_the_next_working_day():
    calendar = Calendar(date(2026, 11, 28), 1)
    assert str(calendar.days[0]) == "2026-11-30"
    assert str(calendar.week_starts[0]) == "2026-11-30"
    assert calendar.buckets == 5


def test_need_on_a_day_not_worked_goes_back_and_receipt_goes_forward():
    calendar = Calendar(MONDAY, 3, frozenset({date(2026, 11, 27)}))
    saturday = days(date(2026, 11, 28))
    assert calendar.index_of_requirement(saturday).tolist() == [3]  # Thursday: Friday is a holiday
    assert calendar.index_of_receipt(saturday).tolist() == [4]  # Monday


def test_past_dates_fall_into_bucket_0_and_keep_their_lateness():
    calendar = Calendar(MONDAY, 1)
    index = calendar.index_of_requirement(days(date(2026, 11, 20), date(2026, 11, 22), date(2026, 11, 13)))
    assert index.tolist() == [-1, -1, -6]
    assert in_bucket(index).tolist() == [0, 0, 0]


def test_offset_counts_working_days_both_ways():
    calendar = Calendar(MONDAY, 1, frozenset({date(2026, 12, 1)}))
    start = days(MONDAY, MONDAY, date(2026, 12, 2))
    moved = calendar.offset(start, np.array([5, 6, -2]))
    assert [str(day) for day in moved] == ["2026-11-30", "2026-12-02", "2026-11-27"]


def test_a_saturday_can_be_worked_and_goes_before_a_holiday():
    saturday, christmas = date(2026, 11, 28), date(2026, 12, 1)
    calendar = Calendar(MONDAY, 2, frozenset({christmas, saturday}), working_days=frozenset({saturday}))
    assert saturday in calendar.days.tolist()
    assert christmas not in calendar.days.tolist()
    assert calendar.days_in_week.tolist() == [6, 4]
    assert calendar.days_per_week == 5
    assert calendar.index_of_receipt(days(saturday)).tolist() == [5]
    # Six working days on: Tuesday to Saturday, then Monday.
    assert calendar.day_of(np.array([6])).tolist() == [date(2026, 11, 30)]
    assert Calendar(saturday, 1, working_days=frozenset({saturday})).days.tolist() == [saturday]


@given(
    today=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    weeks=st.integers(1, 10),
    closed=st.sets(st.integers(0, 60), max_size=12),
    extra=st.sets(st.integers(-20, 60), max_size=4),
    far=st.integers(-40, 90),
)
def test_index_and_date_are_inverse_and_rolling_is_one_sided(today, weeks, closed, extra, far):
    holidays, worked = (frozenset(today + timedelta(days=gap) for gap in gaps) for gaps in (closed, extra))
    calendar = Calendar(today, weeks, holidays, working_days=worked)
    buckets = np.arange(calendar.buckets)
    assert np.array_equal(calendar.day_of(buckets), calendar.days)
    assert np.array_equal(calendar.index_of_requirement(calendar.days), buckets)
    assert np.array_equal(calendar.index_of_receipt(calendar.days), buckets)
    day = days(today + timedelta(days=far))
    need, receipt = calendar.index_of_requirement(day), calendar.index_of_receipt(day)
    assert calendar.day_of(need)[0] <= day[0] <= calendar.day_of(receipt)[0]
    assert receipt[0] - need[0] in (0, 1)  # the same working day or two neighbours


def test_monday_of_every_weekday():
    week = np.arange(np.datetime64("1969-12-29"), np.datetime64("1970-01-05"))
    assert set(monday_of(week).tolist()) == {date(1969, 12, 29)}


def test_a_calendar_without_working_days_or_weeks_is_refused():
    with pytest.raises(ValueError, match="at least one week"):
        Calendar(MONDAY, 0)
    with pytest.raises(ValueError, match="no working day"):
        Calendar(MONDAY, 1, weekmask="0000000")
