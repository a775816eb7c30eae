"""Cancelled orders come off the day of the order; real returns leave demand alone."""

from datetime import date, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.net_cancellations import net_cancellations
from ingestion.targets import TARGETS

START = date(2024, 1, 1)
Line = tuple[str, int, str | None, float]


def frame(lines: list[Line], price: float | None = 2.0) -> pl.DataFrame:
    rows = [(doc, "A", n, START + timedelta(days=day), who, qty, price) for n, (doc, day, who, qty) in enumerate(lines)]
    return pl.DataFrame(rows, schema=TARGETS["sales_lines"].schema(), orient="row")


def demand(*lines: Line) -> dict[int, float]:
    net = net_cancellations(frame(list(lines)))
    return {(day - START).days: quantity for _, day, quantity, _ in net.rows()}


def test_cancellation_comes_off_the_sales_day_and_value() -> None:
    net = net_cancellations(frame([("1", 0, "c", 10.0), ("C2", 3, "c", -4.0)]))
    assert net.rows() == [("A", START, 6.0, 12.0)]


def test_fully_cancelled_day_stays_at_zero() -> None:
    assert demand(("1", 0, "c", 5.0), ("C2", 0, "c", -5.0)) == {0: 0.0}


def test_equal_quantity_first_then_the_latest() -> None:
    sales: list[Line] = [("1", 0, "c", 4.0), ("2", 1, "c", 9.0), ("3", 2, "c", 6.0)]
    assert demand(*sales, ("C4", 5, "c", -4.0)) == {0: 0.0, 1: 9.0, 2: 6.0}
    assert demand(*sales, ("C4", 5, "c", -5.0)) == {0: 4.0, 1: 9.0, 2: 1.0}
    assert demand(*sales, ("C4", 5, "c", -7.0)) == {0: 4.0, 1: 2.0, 2: 6.0}


def test_what_is_taken_off_is_not_taken_twice() -> None:
    assert demand(("1", 0, "c", 5.0), ("C2", 1, "c", -3.0), ("C3", 1, "c", -3.0)) == {0: 2.0}


def test_thirty_days_is_the_limit_and_a_later_match_uses_up_its_sale() -> None:
    assert demand(("1", 0, "c", 5.0), ("C2", 30, "c", -5.0)) == {0: 0.0}
    assert demand(("1", 0, "c", 5.0), ("C2", 31, "c", -5.0)) == {0: 5.0}
    lines: list[Line] = [("1", 0, "c", 5.0), ("2", 20, "c", 8.0), ("C3", 31, "c", -5.0), ("C4", 31, "c", -5.0)]
    assert demand(*lines) == {0: 5.0, 20: 3.0}


def test_other_or_unknown_customer_and_later_sale_do_not_match() -> None:
    assert demand(("1", 0, "c", 5.0), ("C2", 1, "d", -5.0)) == {0: 5.0}
    assert demand(("1", 0, None, 5.0), ("C2", 1, None, -5.0)) == {0: 5.0}
    assert demand(("3", 0, "c", 5.0), ("C2", 0, "c", -5.0)) == {0: 5.0}
    assert demand(("C1", 0, "c", -5.0), ("2", 1, "c", 5.0)) == {1: 5.0}
    assert demand(("SO-900", 0, "c", 5.0), ("CR-12", 0, "c", -5.0)) == {0: 0.0}


def test_no_price_no_revenue_and_no_lines_no_rows() -> None:
    assert net_cancellations(frame([("1", 0, "c", 1.0)], price=None))["revenue"].to_list() == [None]
    empty = net_cancellations(frame([]))
    assert empty.is_empty()
    assert list(empty.schema.items()) == list(TARGETS["demand"].schema().items())


line = st.tuples(
    st.integers(1, 99).map(str), st.integers(0, 60), st.sampled_from(["c", "d", None]), st.integers(-5, 9).map(float)
)


@settings(deadline=None)
@given(st.lists(line, max_size=25), st.randoms(use_true_random=False))
def test_between_gross_less_returns_and_gross_and_free_of_row_order(lines: list[Line], chance: object) -> None:
    numbered = [(f"{n:02}{doc}", *rest) for n, (doc, *rest) in enumerate(lines)]
    made = frame(numbered)  # type: ignore[arg-type]
    net = net_cancellations(made)
    assert (net["quantity"] >= 0).all()
    gross = made.filter(pl.col("quantity") > 0)["quantity"].sum()
    returned = -made.filter(pl.col("quantity") < 0)["quantity"].sum()
    assert gross - returned <= net["quantity"].sum() <= gross
    assert net.equals(net_cancellations(made.sample(fraction=1.0, shuffle=True, seed=1)))
    sale_days = made.filter(pl.col("quantity") > 0)["day"].unique().sort()
    assert net["day"].to_list() == sale_days.to_list()
