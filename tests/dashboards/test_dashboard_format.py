"""Numbers, dates, texts and fragments of HTML."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards import format as f
from dashboards import fragments
from dashboards.api_types import Job, Metric, Order
from dashboards.login_page import login_html
from dashboards.pages.accuracy import accuracy_table, best_of, gain_over_naive
from dashboards.pages.order_table import order_table

NOW = datetime(2025, 11, 24, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (f.number(1234567.8), "1,234,568"),
        (f.number(0.12345, 3), "0.123"),
        (f.quantity(1200.0), "1,200"),
        (f.quantity(3.75), "3.75"),
        (f.quantity(100.0), "100"),
        (f.quantity(0.0), "0"),
        (f.short_money(950), "950"),
        (f.short_money(12_400), "12.4 k"),
        (f.short_money(999_700), "1.00 M"),
        (f.short_money(1_284_300), "1.28 M"),
        (f.percent(0.183), "18 %"),
        (f.percent(-0.021, 1, signed=True), "-2.1 %"),
        (f.percent(0.021, 1, signed=True), "+2.1 %"),
        (f.day(date(2025, 1, 5)), "5 Jan 2025"),
        (f.short_day(date(2025, 1, 5), date(2025, 11, 24)), "5 Jan"),
        (f.short_day(date(2026, 1, 5), date(2025, 11, 24)), "5 Jan 2026"),
        (f.moment(datetime(2025, 11, 24, 7, 30, tzinfo=timezone(timedelta(hours=1)))), "24 Nov, 06:30 UTC"),
        (f.duration(0.42), "0.4 s"),
        (f.duration(12.2), "12 s"),
        (f.duration(200), "3 min 20 s"),
        (f.duration(3900), "1 h 05 min"),
        (f.ago(NOW - timedelta(seconds=5), NOW), "just now"),
        (f.ago(NOW - timedelta(minutes=5), NOW), "5 min ago"),
        (f.ago(NOW - timedelta(hours=30), NOW), "1 day ago"),
        (f.ago(datetime(2025, 11, 24, 3, 0), NOW), "3 h ago"),
        (f.sentence({"title": "Bad", "detail": "Column x is missing"}), "Column x is missing"),
        (f.model_name("auto_ets"), "AutoETS"),
        (f.label("semi_finished"), "Semi finished"),
    ],
)
def test_values_read_as_planners_write_them(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("rows_per_s", "seconds_left", "expected"),
    [
        (12345.6, 90, "12,346 rows/s · about 1 min 30 s left"),
        (0.0, None, "0 rows/s"),
        (None, 90, "about 1 min 30 s left"),
        (None, None, ""),
    ],
)
def test_a_running_jobs_pace(rows_per_s: float | None, seconds_left: float | None, expected: str) -> None:
    assert f.pace(rows_per_s, seconds_left) == expected


def test_nothing_is_a_dash() -> None:
    for shown in (f.number(None), f.quantity(None), f.short_money(None), f.percent(None), f.day(None), f.text(None)):
        assert shown == f.NONE


@given(st.text())
def test_text_never_lets_markup_through(value: str) -> None:
    shown = f.text(value)
    assert not set(shown) & set("<>\"'")


HOSTILE = '"><img src=x onerror=alert(1)>'


def test_orders_login_and_badges_escape_what_the_api_says() -> None:
    order = Order(
        id=HOSTILE,
        kind="purchase",
        item=HOSTILE,
        quantity=1,
        name=HOSTILE,
        supplier=HOSTILE,
        unit=HOSTILE,
        priority=HOSTILE,
    )
    pieces = (
        order_table([order], NOW.date()),
        fragments.badge(HOSTILE),
        fragments.badge(HOSTILE, plain=True),
        fragments.bar(Job(id="1", state=HOSTILE)),
        fragments.failure(HOSTILE),
        fragments.card(HOSTILE, ""),
        login_html(next_path=HOSTILE, email=HOSTILE, error=HOSTILE),
        accuracy_table([Metric(model=HOSTILE, demand_class=HOSTILE)]),
    )
    for piece in pieces:
        assert "<img" not in piece.lower()


def test_a_bar_shows_whole_percents_within_bounds() -> None:
    assert 'aria-valuenow="100"' in fragments.bar(Job(id="1", state="running", progress=1.7))
    assert 'aria-valuenow="0"' in fragments.bar(Job(id="1", state="running", progress=None))
    assert 'aria-valuenow="100"' in fragments.bar(Job(id="1", state="done", progress=0.2))


METRICS = [
    Metric("seasonal_naive", "smooth", 30, wql=0.20),
    Metric("moving_average", "smooth", 30, wql=0.10),
    Metric("auto_ets", "smooth", 30, wql=0.15),
    Metric("seasonal_naive", "lumpy", 10, wql=0.80),
    Metric("tsb", "lumpy", 10, wql=0.60),
]


def test_gain_is_weighted_by_series_and_never_counts_a_baseline_as_ours() -> None:
    ours, naive = 30 * 0.15 + 10 * 0.60, 30 * 0.20 + 10 * 0.80
    assert gain_over_naive(METRICS) == pytest.approx(1 - ours / naive)
    best = best_of(METRICS[:3])
    assert best is not None
    assert best.model == "auto_ets"


def test_gain_prefers_the_runs_own_overall_row_and_is_none_without_a_baseline() -> None:
    overall = [Metric("chosen", "all", 40, wql=0.3), Metric("seasonal_naive", "all", 40, wql=0.4)]
    assert gain_over_naive([*METRICS, *overall]) == pytest.approx(0.25)
    assert gain_over_naive([Metric("auto_ets", "smooth", 30, wql=0.15)]) is None
    assert gain_over_naive([]) is None
