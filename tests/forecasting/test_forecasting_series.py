from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_series import NAN, START, weekly

from forecasting.series import monday, prepare, weekly_series


def daily(rows: list[tuple[str, date, float]]) -> pl.DataFrame:
    schema = {"item": pl.String, "day": pl.Date, "quantity": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_days_are_summed_to_the_week_of_their_monday():
    days = [("a", date(2024, 1, 3), 2.0), ("a", date(2024, 1, 7), 3.0), ("a", date(2024, 1, 8), 4.0)]
    weeks = weekly_series(daily(days), date(2024, 1, 14))
    assert weeks.rows() == [("a", date(2024, 1, 1), 5.0), ("a", date(2024, 1, 8), 4.0)]


def test_weeks_without_sales_are_zero_up_to_the_end_of_the_feed_not_of_the_series():
    weeks = weekly_series(daily([("a", date(2024, 1, 3), 2.0)]), date(2024, 1, 28))
    assert weeks["quantity"].to_list() == [2.0, 0.0, 0.0, 0.0]


def test_each_item_ends_with_its_own_feed_and_never_starts_before_its_first_observation():
    ends = pl.DataFrame({"item": ["a", "b"], "day": [date(2024, 1, 14), date(2024, 1, 21)]})
    demand = daily([("a", date(2024, 1, 1), 1.0), ("b", date(2024, 1, 15), 2.0), ("c", date(2024, 1, 5), 3.0)])
    weeks = weekly_series(demand, ends)
    assert weeks.rows() == [
        ("a", date(2024, 1, 1), 1.0),
        ("a", date(2024, 1, 8), 0.0),
        ("b", date(2024, 1, 15), 2.0),
        ("c", date(2024, 1, 1), 3.0),
    ]


@pytest.mark.parametrize(
    ("end", "weeks"),
    [
        (date(2024, 3, 3), 9),  # Sunday: nine full weeks
        (date(2024, 3, 1), 9),  # Friday counts as complete
        (date(2024, 2, 29), 8),  # Thursday: the ninth week is dropped
        (date(2024, 2, 15), 7),  # a short series keeps its partial week
    ],
)
def test_a_partial_last_week_is_dropped_from_long_series_only(end: date, weeks: int):
    assert weekly_series(daily([("a", date(2024, 1, 1), 1.0)]), end).height == weeks


def test_an_empty_feed_gives_an_empty_weekly_frame():
    weeks = weekly_series(daily([]), date(2024, 1, 7))
    assert weeks.is_empty()
    assert weeks.columns == ["item", "week", "quantity"]


@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 200), st.integers(0, 50)), min_size=1, max_size=40)
)
def test_weekly_totals_keep_every_unit_and_leave_no_gap(rows: list[tuple[str, int, int]]):
    demand = daily([(item, START + timedelta(days=offset), float(quantity)) for item, offset, quantity in rows])
    weeks = weekly_series(demand, START + timedelta(days=209))  # a Sunday, so that no week is partial
    assert weeks["quantity"].sum() == demand["quantity"].sum()
    assert set(weeks["week"].dt.weekday()) == {1}
    gaps = weeks.select(pl.col("week").diff().over("item").dt.total_days()).to_series().drop_nulls()
    assert set(gaps) <= {7}
    assert weeks.group_by("item").agg(pl.col("week").max())["week"].unique().to_list() == [
        monday(START + timedelta(days=209))
    ]


def test_repairs_are_made_and_named():
    frame = pl.concat(
        [
            weekly({"gap": [4.0]}),
            weekly({"gap": [6.0]}, START + timedelta(weeks=3)),
            weekly({"double": [4.0]}),
            weekly({"double": [5.0, -2.0]}),
            weekly({"unknown": [4.0, NAN, 6.0], "fine": [1.0, 2.0]}),
        ]
    )
    before = frame.clone()
    prepared = prepare(frame)
    values = {item: group["quantity"].to_list() for (item,), group in prepared.series.group_by("item")}
    assert values == {
        "gap": [4.0, 0.0, 0.0, 6.0],
        "double": [9.0, 0.0],
        "unknown": [4.0, 4.0, 6.0],
        "fine": [1.0, 2.0],
    }
    assert prepared.notes == {
        "gap": "2 absent weeks taken as 0",
        "double": "1 negative weeks taken as 0; 1 weeks given twice were summed",
        "unknown": "1 weeks without a finite number take the week before",
    }
    assert frame.equals(before, null_equal=True)


def test_leading_zeros_are_cut_and_a_series_without_demand_keeps_one_week():
    prepared = prepare(weekly({"late": [0.0, 0.0, 3.0, 0.0], "never": [0.0, 0.0]})).series
    assert prepared.rows() == [
        ("late", START + timedelta(weeks=2), 3.0),
        ("late", START + timedelta(weeks=3), 0.0),
        ("never", START + timedelta(weeks=1), 0.0),
    ]
