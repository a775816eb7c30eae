"""Bad data is named item by item and the rest stands; empty data is no crash; urgency and causes."""

from datetime import date, timedelta

import polars as pl
import pytest

from planning.inputs import COLUMNS, PlanInputs, PlanParameters
from planning.plan import plan

MONDAY = date(2026, 11, 23)


def item(code, kind="finished", lead_time=0, **rest):
    return {"code": code, "kind": kind, "lead_time_days": lead_time, **rest}


def line(parent, component, per=1.0, scrap=0.0):
    return {"parent": parent, "component": component, "quantity_per": per, "scrap_share": scrap}


def firm(code, quantity=1.0, due=MONDAY):
    return {"item": code, "quantity": quantity, "due_date": due}


def named(result):
    return {(row["item"], row["field"]) for row in result.warnings.iter_rows(named=True)}


def test_a_cycle_is_named_and_the_rest_is_planned(make_plan):
    result = make_plan(
        items=[item("TOP"), item("A"), item("B"), item("UNDER"), item("OTHER"), item("PART")],
        bom_lines=[line("TOP", "A"), line("A", "B"), line("B", "A"), line("B", "UNDER"), line("OTHER", "PART", 2)],
        firm_orders=[firm("TOP"), firm("OTHER", 3.0)],
    )
    messages = dict(result.warnings.filter(pl.col("field") == "bom_lines").select("item", "message").iter_rows())
    assert messages == dict.fromkeys(["A", "B"], "on the cycle A > B > A: not planned")
    assert dict(result.orders.select("item", "quantity").iter_rows()) == {"TOP": 1, "OTHER": 3, "PART": 6}


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        ({"items": [item("X", lead_time=None)]}, ("X", "lead_time_days")),
        ({"items": [item("X", lead_time=-2)]}, ("X", "lead_time_days")),
        ({"items": [item("X", order_multiple=0.0)]}, ("X", "order_multiple")),
        ({"items": [item("X", order_multiple=-5.0)]}, ("X", "order_multiple")),
        ({"items": [item("X", min_order_qty=-5.0)]}, ("X", "min_order_qty")),
        ({"items": [item("X", safety_stock=-5.0)]}, ("X", "safety_stock")),
        ({"items": [item("X", service_level=1.5)]}, ("X", "service_level")),
        ({"items": [item("X"), item("X", lead_time=3)]}, ("X", "code")),
        ({"items": [item("X", kind="raw_material")]}, ("X", "supplier")),
        ({"items": [item("X")], "bom_lines": [line("X", "GONE")]}, ("GONE", "bom_lines")),
        ({"items": [item("X")], "bom_lines": [line("GONE", "X")]}, ("GONE", "bom_lines")),
        ({"items": [item("X"), item("Y")], "bom_lines": [line("X", "Y", -1.0)]}, ("X", "quantity_per")),
        ({"items": [item("X"), item("Y")], "bom_lines": [line("X", "Y", 1.0, 1.0)]}, ("X", "scrap_share")),
        ({"items": [item("X")], "stock": [{"item": "X", "on_hand": -3.0}]}, ("X", "on_hand")),
        ({"items": [item("X")], "stock": [{"item": "X", "on_hand": 1.0, "reserved": 2.0}]}, ("X", "reserved")),
        ({"items": [item("X")], "stock": [{"item": "GONE", "on_hand": 1.0}]}, ("GONE", "stock")),
        ({"items": [item("X")], "firm_orders": [firm("GONE")]}, ("GONE", "firm_orders")),
        ({"items": [item("X")], "firm_orders": [firm("X", -1.0)]}, ("X", "firm_orders")),
        ({"items": [item("X")], "firm_orders": [firm("X", due=date(2027, 1, 8))]}, ("X", "firm_orders")),
        ({"items": [item("X")], "forecast": [{"item": "X", "week": MONDAY, "mean": float("nan")}]}, ("X", "forecast")),
        ({"items": [item("X")], "supplier_terms": [{"item": "X", "supplier": "GONE"}]}, ("X", "supplier_terms")),
        (
            {"items": [item("X")], "routings": [{"item": "X", "work_centre": "GONE", "unit_hours": 1.0}]},
            ("X", "routings"),
        ),
        ({"items": [item("X", active=False)], "firm_orders": [firm("X")]}, ("X", "active")),
    ],
)
def test_bad_data_is_named_and_the_rest_stands(make_plan, data, finding):
    data = {**data, "items": [*data["items"], item("GOOD")]}
    data["firm_orders"] = [*data.get("firm_orders", []), firm("GOOD", 7.0)]
    result = make_plan(**data)
    assert finding in named(result)
    assert result.summary["warnings"] == result.warnings.height
    assert result.orders.filter(pl.col("item") == "GOOD")["quantity"].to_list() == [7]
    assert not any(name == "GOOD" for name, _ in named(result))


def test_only_inactive_suppliers_is_no_supplier(make_plan):
    result = make_plan(
        items=[item("RM", "raw_material")],
        suppliers=[{"code": "S", "active": False}],
        supplier_terms=[{"item": "RM", "supplier": "S", "priority": 1}],
        firm_orders=[firm("RM")],
    )
    assert ("RM", "supplier") in named(result)
    assert result.orders.row(0, named=True)["supplier"] is None


def test_nothing_at_all_is_an_empty_plan():
    empty = {name: pl.DataFrame(schema=dict(columns)) for name, columns in COLUMNS.items()}
    for inputs in (PlanInputs(items=pl.DataFrame()), PlanInputs(**empty)):
        result = plan(inputs, PlanParameters(today=MONDAY))
        assert result.orders.is_empty()
        assert result.records.is_empty()
        assert result.warnings.is_empty()
        assert result.summary["orders"] == 0
        assert result.orders.schema["due_date"] == pl.Date
        assert result.orders.schema["supplier"] == pl.String


def test_items_alone_need_nothing(make_plan):
    result = make_plan(items=[item("X"), item("Y", lead_time=4)])
    assert result.orders.is_empty()
    assert result.records.height == 2 * 8


def test_a_frame_without_its_columns_is_refused_by_name():
    inputs = PlanInputs(items=pl.DataFrame({"code": ["X"]}), stock=pl.DataFrame({"item": ["X"]}))
    with pytest.raises(ValueError, match="stock lacks on_hand"):
        plan(inputs, PlanParameters(today=MONDAY))


def test_kinds_of_order(make_plan):
    codes = {"PARENT": "component", "MADE": "semi_finished", "BOUGHT": "finished", "PART": "component"}
    result = make_plan(
        items=[item(code, kind) for code, kind in codes.items()],
        bom_lines=[line("PARENT", "PART")],
        suppliers=[{"code": "S"}],
        supplier_terms=[{"item": "BOUGHT", "supplier": "S", "priority": 1}],
        firm_orders=[firm(code) for code in codes],
    )
    kinds = dict(result.orders.select("item", "kind").iter_rows())
    assert kinds == {"PARENT": "production", "MADE": "production", "BOUGHT": "purchase", "PART": "purchase"}


def test_urgency(make_plan):
    later = {weeks: MONDAY + timedelta(weeks=weeks) for weeks in range(8)}
    result = make_plan(
        items=[
            item("BELOW-ZERO"),
            item("TODAY"),
            item("STOCK-OUT", lead_time=5),
            item("BELOW-SAFETY", lead_time=5, safety_stock=10.0),
            item("SOON", lead_time=5),
            item("LATER", lead_time=5),
        ],
        stock=[
            {"item": "BELOW-ZERO", "on_hand": -1.0},
            {"item": "BELOW-SAFETY", "on_hand": 4.0},
        ],
        firm_orders=[firm("TODAY"), firm("STOCK-OUT", 5.0, MONDAY + timedelta(days=3)), firm("SOON", 5.0, later[2])],
        forecast=[{"item": "LATER", "week": later[7], "mean": 5.0}],
    )
    found = dict(result.orders.unique("item").select("item", "priority").iter_rows())
    assert found == {
        "BELOW-ZERO": "critical",
        "TODAY": "high",  # needed today, but it can still arrive today
        "STOCK-OUT": "critical",
        "BELOW-SAFETY": "high",
        "SOON": "medium",
        "LATER": "low",
    }
    ranks = result.orders["priority_rank"].to_list()
    assert ranks == sorted(ranks)
    assert result.orders.row(0, named=True)["item"] == "STOCK-OUT"  # both critical, this one is late
    assert {name: result.summary[name] for name in ("critical", "high", "medium", "low")} == {
        "critical": 2,
        "high": 2,
        "medium": 1,
        "low": 5,
    }


def test_causes(make_plan):
    result = make_plan(
        items=[
            item("FG-1", lead_time=2),
            item("FG-2", lead_time=2),
            item("PART"),
            item("OWED"),
            item("BUSY"),
            item("SPARE"),
        ],
        bom_lines=[line("FG-1", "PART"), line("FG-2", "PART", 4), line("FG-1", "SPARE", 0.1)],
        stock=[{"item": "OWED", "on_hand": -2.0}],
        firm_orders=[
            firm("FG-1", 150.0, date(2026, 12, 4)),
            firm("FG-2", 120.5, date(2026, 12, 4)),
            firm("SPARE", 20.0, date(2026, 12, 2)),
            firm("BUSY", 9.0),
            firm("BUSY", 1.0, date(2026, 11, 20)),
        ],
    )
    cause = dict(result.orders.select("item", "cause").iter_rows())
    assert cause == {
        "FG-1": "customer demand in week of 2026-11-30",
        "FG-2": "customer demand in week of 2026-11-30",
        "PART": "120.5 of FG-2 due 2026-12-04",  # 482 of the 632
        "OWED": "stock below zero",
        "SPARE": "customer demand in week of 2026-11-30",  # 20 sold as a spare part, 15 for FG-1
        "BUSY": "customer demand in week of 2026-11-23",  # 1 of the 10 is overdue
    }


def test_a_forecast_that_ended_in_the_past_is_named_and_asks_for_no_safety_stock() -> None:
    ended = date(2010, 12, 13)
    inputs = PlanInputs(
        items=pl.DataFrame({"code": ["OLD"], "kind": ["trading_good"]}),
        forecast=pl.DataFrame({"item": ["OLD"], "week": [ended], "mean": [10.0]}),
        forecast_series=pl.DataFrame(
            {"item": ["OLD"], "abc": ["A"], "lead_time_quantile": [50.0], "lead_time_mean": [10.0]}
        ),
    )
    result = plan(inputs, PlanParameters(today=date(2026, 11, 23)))
    assert result.orders.is_empty()
    named = result.warnings.filter(pl.col("field") == "forecast")
    assert named["item"].to_list() == ["OLD"]
    assert "2010-12-13" in named["message"][0]
