"""What of a plan becomes an alert, and how far stock reaches."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from planning.alerts import COLUMNS, AlertLimits, alerts
from planning.calendar import Calendar
from planning.inputs import PlanInputs, PlanParameters
from planning.plan import plan
from planning.stock_parameters import first_shortage

TODAY = date(2026, 11, 23)  # a Monday


def found(*, limits: AlertLimits = AlertLimits(), **frames: pl.DataFrame) -> pl.DataFrame:  # noqa: B008
    """Alerts of the given frames; the others are empty."""
    empty = {
        "orders": pl.DataFrame(
            schema={
                "item": pl.String,
                "supplier": pl.String,
                "quantity": pl.Float64,
                "release_date": pl.Date,
                "due_date": pl.Date,
                "priority": pl.String,
                "past_due_days": pl.Int64,
            }
        ),
        "capacity": pl.DataFrame(
            schema={"work_centre": pl.String, "week": pl.Date, "load_hours": pl.Float64, "capacity_hours": pl.Float64}
        ),
        "stock_parameters": pl.DataFrame(schema={"item": pl.String, "stock_out_on": pl.Date, "available": pl.Float64}),
        "warnings": pl.DataFrame(schema={"item": pl.String, "field": pl.String, "message": pl.String}),
        "open_orders": pl.DataFrame(
            schema={
                "number": pl.String,
                "kind": pl.String,
                "item": pl.String,
                "supplier": pl.String,
                "quantity": pl.Float64,
                "due_date": pl.Date,
            }
        ),
    }
    return alerts(**{**empty, **frames}, today=TODAY, limits=limits)


def test_nothing_wrong_is_no_alert():
    assert found().is_empty()
    assert dict(found().schema) == COLUMNS


@pytest.mark.parametrize(
    ("load", "capacity", "severity"),
    [
        (40.0, 40.0, None),
        (41.0, 40.0, "info"),
        (45.0, 40.0, "warning"),
        (53.0, 40.0, "critical"),
        (1.0, 0.0, "critical"),
        (0.0, 0.0, None),
    ],
)
def test_overload_by_its_share(load, capacity, severity):
    frame = pl.DataFrame({"work_centre": ["W"], "week": [TODAY], "load_hours": [load], "capacity_hours": [capacity]})
    raised = found(capacity=frame)
    assert raised["severity"].to_list() == ([] if severity is None else [severity])
    if severity:
        assert raised.row(0, named=True)["subject"] == "W 2026-11-23"


def test_overload_begins_where_the_plant_says():
    capacity = pl.DataFrame(
        {"work_centre": ["W", "X"], "week": [TODAY] * 2, "load_hours": [36.0, 61.0], "capacity_hours": [40.0] * 2}
    )
    limits = AlertLimits(full=0.8, high=1.5, extreme=2.0)
    assert found(capacity=capacity, limits=limits)["severity"].to_list() == ["info", "warning"]


def test_warehouses_are_told_before_they_are_full():
    warehouses = pl.DataFrame(
        {
            "warehouse": ["A", "B", "C", "D", "E"],
            "capacity_m3": [100.0, 100.0, 100.0, None, 0.0],
            "used_m3": [90.0, 93.25, 120.0, 5.0, 5.0],
            "unmeasured": [0, 0, 2, 0, 0],
        }
    )
    raised = found(warehouses=warehouses)
    assert raised.select("kind", "subject", "severity", "message").rows() == [
        ("warehouse", "B", "warning", "B: 93.25 of 100 m³ in use (93 %)"),
        ("warehouse", "C", "critical", "C: 120 of 100 m³ in use (120 %), 2 items of unknown volume not counted"),
    ]
    early = AlertLimits(warehouse_warning=0.5, warehouse_critical=0.9)
    assert found(warehouses=warehouses, limits=early)["severity"].to_list() == ["warning", "critical", "critical"]


def test_critical_orders_are_one_stock_out_an_item():
    orders = pl.DataFrame(
        {
            "item": ["A", "A", "B", "C"],
            "supplier": ["S", "S", None, None],
            "quantity": [5.0, 6.0, 1.0, 1.0],
            "release_date": [TODAY] * 4,
            "due_date": [date(2026, 11, 25)] * 4,
            "priority": ["critical", "critical", "high", "low"],
            "past_due_days": [2, 1, 3, 0],
        }
    )
    reach = pl.DataFrame({"item": ["A"], "stock_out_on": [date(2026, 11, 25)], "available": [1.0]})
    raised = found(orders=orders, stock_parameters=reach)
    assert raised.select("kind", "subject", "severity").rows() == [
        ("stock_out", "A", "critical"),
        ("late_release", "B", "warning"),
    ]
    assert raised["message"][0] == "A: stock runs out on 2026-11-25 before a new order can arrive"
    assert raised["day"][0] == date(2026, 11, 25)


def test_placed_orders_past_their_day():
    orders = pl.DataFrame(
        {
            "number": ["P1", "P2", "P3"],
            "kind": ["purchase"] * 3,
            "item": ["A"] * 3,
            "supplier": ["S"] * 3,
            "quantity": [4.0, 4.5, 4.0],
            "due_date": [date(2026, 11, 1), date(2026, 11, 20), TODAY],
        }
    )
    raised = found(open_orders=orders)
    assert raised.select("subject", "severity").rows() == [("P1 A", "warning"), ("P2 A", "info")]
    assert raised["message"].to_list() == [
        "purchase order P1 of 4 A is 22 days overdue",
        "purchase order P2 of 4.5 A is 3 days overdue",
    ]


def test_bad_data_is_one_alert_a_field():
    warnings = pl.DataFrame({"item": ["A", "B", "A"], "field": ["cost", "cost", "on_hand"], "message": ["x", "x", "y"]})
    raised = found(warnings=warnings)
    assert raised.select("subject", "severity", "message").rows() == [
        ("cost", "info", "cost: 2 items, such as A: x"),
        ("on_hand", "info", "on_hand: 1 items, such as A: y"),
    ]


def test_first_shortage_is_the_first_day_that_stock_does_not_meet():
    calendar = Calendar(TODAY, 1)
    gross = np.full((5, 3), 1.0)
    receipts = np.zeros((5, 3))
    receipts[1, 2] = 3.0
    short = first_shortage(np.array([2.0, 5.0, 2.0]), receipts, gross, calendar)
    assert short[0] == np.datetime64("2026-11-25")
    assert np.isnat(short[1:]).all()


def test_a_plan_tells_how_items_are_stocked():
    inputs = PlanInputs(
        items=pl.DataFrame(
            {"code": ["A", "B"], "kind": ["trading_good"] * 2, "cost": [2.0, None], "lead_time_days": [3, 1]}
        ),
        stock=pl.DataFrame(
            {"item": ["A", "A"], "on_hand": [6.0, 4.0], "reserved": [1.0, 0.0], "quarantined": [2.0, 0.0]}
        ),
        forecast=pl.DataFrame({"item": ["A"] * 2, "week": [TODAY, date(2026, 11, 30)], "mean": [10.0, 10.0]}),
        forecast_series=pl.DataFrame({"item": ["A"], "abc": ["A"], "xyz": ["Y"], "demand_class": ["smooth"]}),
    )
    a, b = plan(inputs, PlanParameters(today=TODAY, horizon_weeks=2)).stock_parameters.to_dicts()
    assert (a["abc"], a["xyz"], a["demand_class"], b["abc"]) == ("A", "Y", "smooth", None)
    assert (a["on_hand"], a["available"], a["stock_value"], b["stock_value"]) == (10.0, 7.0, 20.0, None)
    assert (a["daily_demand_mean"], a["coverage_days"], a["lead_time_days"]) == (2.0, 3.5, 3)
    assert a["turnover"] == pytest.approx(2.0 * 260 / 10)
    assert a["stock_out_on"] == date(2026, 11, 26)
    assert (b["coverage_days"], b["turnover"], b["stock_out_on"]) == (None, None, None)
    assert a["service_level"] == 0.97
