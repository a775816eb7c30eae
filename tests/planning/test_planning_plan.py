"""A whole plan through the one door: multi-level scenarios, dates, suppliers, capacity."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from planning.inputs import PlanInputs, PlanParameters
from planning.plan import plan as run_plan

MONDAY = date(2026, 11, 23)
ROVER = Path(__file__).parents[3] / "shared" / "data" / "bom_open_source_rover.csv"


def item(code, kind="component", lead_time=0, **rest):
    return {"code": code, "kind": kind, "lead_time_days": lead_time, "cost": 2.0, **rest}


def line(parent, component, per=1.0, **rest):
    return {"parent": parent, "component": component, "quantity_per": per, **rest}


def firm(code, quantity, due):
    return {"item": code, "quantity": float(quantity), "due_date": due}


def stock(code, on_hand, **rest):
    return {"item": code, "on_hand": float(on_hand), **rest}


def ordered(plan, code):
    """{due date: quantity} of an item."""
    return dict(plan.orders.filter(pl.col("item") == code).select("due_date", "quantity").iter_rows())


def only(plan, code):
    """The one order of an item."""
    return plan.orders.filter(pl.col("item") == code).row(0, named=True)


def test_components_of_components_are_ordered_in_one_run_and_lead_times_count_back(make_plan):
    due = MONDAY + timedelta(days=18)  # Friday, bucket 14
    plan = make_plan(
        items=[item("FG", "finished", 3), item("SA", "semi_finished", 4), item("RM", "raw_material", 5)],
        bom_lines=[line("FG", "SA", 2), line("SA", "RM", 3, scrap_share=0.25)],
        firm_orders=[firm("FG", 10, due)],
    )
    assert only(plan, "FG")["release_date"] == date(2026, 12, 8)
    assert ordered(plan, "SA") == {date(2026, 12, 8): 20}
    assert only(plan, "SA")["release_date"] == date(2026, 12, 2)
    assert ordered(plan, "RM") == {date(2026, 12, 2): 20 * 3 / 0.75}
    assert only(plan, "RM")["release_date"] == date(2026, 11, 25)
    assert plan.orders["past_due_days"].sum() == 0


def test_holidays_lengthen_the_way_back(make_plan):
    holidays = frozenset({date(2026, 12, 1)})
    plan = make_plan(
        items=[item("FG", "finished", 3)], firm_orders=[firm("FG", 1, date(2026, 12, 3))], holidays=holidays
    )
    assert only(plan, "FG")["release_date"] == date(2026, 11, 27)


def test_stock_of_every_level_is_used_before_more_is_made(make_plan):
    plan = make_plan(
        items=[item("FG", "finished"), item("SA", "semi_finished"), item("RM", "raw_material")],
        bom_lines=[line("FG", "SA"), line("SA", "RM")],
        stock=[stock("FG", 4), stock("SA", 10, reserved=3.0, quarantined=2.0), stock("RM", 1), stock("RM", 2)],
        firm_orders=[firm("FG", 20, MONDAY)],
    )
    assert [ordered(plan, code) for code in ("FG", "SA", "RM")] == [{MONDAY: 16}, {MONDAY: 11}, {MONDAY: 8}]


def test_one_raw_material_under_two_sub_assemblies_takes_its_minimum_once(make_plan):
    plan = make_plan(
        items=[item("FG", "finished"), item("SA1"), item("SA2"), item("RM", min_order_qty=50.0, order_multiple=20.0)],
        bom_lines=[line("FG", "SA1"), line("FG", "SA2"), line("SA1", "RM", 2), line("SA2", "RM", 3)],
        firm_orders=[firm("FG", 6, MONDAY)],
    )
    assert ordered(plan, "RM") == {MONDAY: 60}  # 12 + 18 = 30, minimum 50, multiple of 20


def test_one_shortage_is_not_ordered_again_later(make_plan):
    days = [MONDAY + timedelta(days=day) for day in range(3)]
    plan = make_plan(items=[item("FG", "finished")], firm_orders=[firm("FG", 10, day) for day in days])
    assert ordered(plan, "FG") == dict.fromkeys(days, 10)


def test_open_orders_count_at_their_date_and_past_due_ones_today(make_plan):
    def open_order(quantity, due):
        return {"kind": "purchase", "item": "RM", "quantity": quantity, "due_date": due}

    plan = make_plan(
        items=[item("RM")],
        open_orders=[open_order(5.0, date(2026, 11, 2)), open_order(4.0, date(2026, 11, 28))],
        firm_orders=[firm("RM", 6, MONDAY), firm("RM", 6, date(2026, 11, 30))],
    )
    assert ordered(plan, "RM") == {MONDAY: 1, date(2026, 11, 30): 2}


def test_components_of_open_production_orders_are_not_asked_for_again(make_plan):
    plan = make_plan(
        items=[item("FG", "finished"), item("RM")],
        bom_lines=[line("FG", "RM")],
        open_orders=[{"kind": "production", "item": "FG", "quantity": 9.0, "due_date": MONDAY}],
        firm_orders=[firm("FG", 9, MONDAY)],
    )
    assert plan.orders.is_empty()


def test_a_past_due_release_is_kept_at_today_with_its_lateness(make_plan):
    plan = make_plan(items=[item("FG", "finished", 4)], firm_orders=[firm("FG", 5, date(2026, 11, 24))])
    order = only(plan, "FG")
    assert (order["release_date"], order["due_date"], order["past_due_days"]) == (MONDAY, date(2026, 11, 24), 3)
    assert plan.summary["past_due"] == 1


def test_overdue_customer_orders_keep_their_date(make_plan):
    plan = make_plan(items=[item("FG", "finished", 2)], firm_orders=[firm("FG", 5, date(2026, 11, 18))])
    order = only(plan, "FG")
    assert (order["release_date"], order["due_date"], order["past_due_days"]) == (MONDAY, date(2026, 11, 18), 5)
    assert order["cause"] == "overdue customer orders"


def test_effectivity_dates_decide_by_the_day_of_release(make_plan):
    plan = make_plan(
        items=[item("FG", "finished", 2), item("OLD"), item("NEW")],
        bom_lines=[
            line("FG", "OLD", valid_from=None, valid_to=date(2026, 11, 25)),
            line("FG", "NEW", valid_from=date(2026, 11, 26), valid_to=None),
        ],
        firm_orders=[firm("FG", 1, date(2026, 11, 27)), firm("FG", 2, date(2026, 11, 30))],
    )
    assert ordered(plan, "OLD") == {date(2026, 11, 25): 1}
    assert ordered(plan, "NEW") == {date(2026, 11, 26): 2}


def test_safety_stock_by_policy(make_plan):
    weeks = [MONDAY + timedelta(days=7 * week) for week in range(4)]
    plan = make_plan(
        items=[
            item("MANUAL", lead_time=5, safety_stock=3.0),
            item("QUANTILE", lead_time=5),
            item("HISTORY", lead_time=20, service_level=0.975),
            item("PART", lead_time=5),
        ],
        forecast=[{"item": "HISTORY", "week": weeks[0], "mean": 0.0}],
        forecast_series=[
            {"item": code, "abc": "A", "lead_time_mean": 10.0, "lead_time_quantile": 16.0}
            for code in ("MANUAL", "QUANTILE")
        ],
        weekly_history=[
            {"item": code, "week": week, "quantity": quantity}
            for code in ("HISTORY", "PART")
            for week, quantity in zip(weeks, (4.0, 8.0, 4.0, 8.0), strict=True)
        ],
    )
    found = dict(plan.stock_parameters.select("item", "safety_stock").iter_rows())
    # 1.96 * sqrt(4 weeks * sd^2), sd of 4, 8, 4, 8 = sqrt(16 / 3); a component without forecast has none
    by_history = 1.959964 * (4 * 16 / 3) ** 0.5
    assert found == pytest.approx({"MANUAL": 3, "QUANTILE": 6, "HISTORY": by_history, "PART": 0})
    assert ordered(plan, "QUANTILE") == {MONDAY: 6}
    assert only(plan, "QUANTILE")["cause"] == "safety stock"


def test_reorder_point_and_eoq(make_plan):
    plan = make_plan(
        items=[item("FG", lead_time=10)],
        forecast=[{"item": "FG", "week": MONDAY + timedelta(days=7 * week), "mean": 25.0} for week in range(4)],
        order_cost=40.0,
        holding_rate=0.2,
    )
    row = plan.stock_parameters.row(0, named=True)
    # 5 a day up to the end of the forecast: 5 * 10; D = 5 * 260, h = 0.2 * 2
    assert row["reorder_point"] == pytest.approx(50)
    assert row["eoq"] == pytest.approx((2 * 1300 * 40 / 0.4) ** 0.5)


SUPPLIERS = [{"code": "S1", "active": True}, {"code": "S2", "active": True}, {"code": "OFF", "active": False}]


def term(supplier, priority, **rest):
    base = {"price": None, "min_order_qty": None, "order_multiple": None, "lead_time_days": None}
    return {"item": "RM", "supplier": supplier, "priority": priority, **base, **rest}


def test_the_first_active_supplier_and_its_terms_win(make_plan):
    plan = make_plan(
        items=[item("RM", lead_time=1, min_order_qty=7.0)],
        suppliers=SUPPLIERS,
        supplier_terms=[term("S2", 3), term("S1", 2, price=1.5, lead_time_days=3, order_multiple=4.0), term("OFF", 1)],
        firm_orders=[firm("RM", 5, date(2026, 11, 30))],
    )
    order = only(plan, "RM")
    assert (order["kind"], order["supplier"], order["quantity"]) == ("purchase", "S1", 8)
    assert (order["unit_cost"], order["value"]) == (1.5, 12)
    assert order["release_date"] == date(2026, 11, 25)
    assert plan.summary["purchase_value"] == 12


@pytest.mark.parametrize(("quantity", "price", "winner"), [(5, 3.0, "S2"), (5, 40.0, "S1"), (200, 3.0, "S1")])
def test_a_minimum_above_the_need_lets_the_next_win_on_cost(make_plan, quantity, price, winner):
    plan = make_plan(
        items=[item("RM")],
        suppliers=SUPPLIERS,
        supplier_terms=[term("S1", 1, price=1.0, min_order_qty=100.0), term("S2", 2, price=price)],
        firm_orders=[firm("RM", quantity, MONDAY)],
    )
    assert only(plan, "RM")["supplier"] == winner


def test_capacity_load_by_hand(make_plan):
    plan = make_plan(
        items=[item("FG", "finished", 5)],
        work_centres=[{"code": "W1", "hours_per_day": 8.0, "efficiency": 0.5}],
        routings=[{"item": "FG", "sequence": 10, "work_centre": "W1", "setup_hours": 1.0, "unit_hours": 0.25}],
        firm_orders=[firm("FG", 40, date(2026, 12, 8)), firm("FG", 8, date(2026, 12, 9))],
        open_orders=[{"kind": "production", "item": "FG", "quantity": 4.0, "due_date": MONDAY}],
        holidays=frozenset({date(2026, 11, 24)}),
        weeks=3,
    )
    load = plan.capacity.sort("week")
    # week 1: the open order, 1 + 4 * 0.25 / 0.5; week 2: (1 + 36 * 0.5) + (1 + 8 * 0.5), as released
    assert load["load_hours"].to_list() == pytest.approx([3, 24, 0])
    assert load["capacity_hours"].to_list() == [32, 40, 40]
    assert load["load_share"].to_list() == pytest.approx([3 / 32, 24 / 40, 0])


def test_weekly_records_add_up(make_plan):
    plan = make_plan(
        items=[item("FG", "finished", 1), item("RM", lead_time=2)],
        bom_lines=[line("FG", "RM", 2)],
        stock=[stock("RM", 30)],
        forecast=[{"item": "FG", "week": MONDAY + timedelta(days=7 * week), "mean": 10.0 + week} for week in range(6)],
        weeks=6,
    )
    for _, record in plan.records.group_by("item"):
        rows = record.sort("week")
        before = rows["projected_on_hand"].shift(1, fill_value=30.0 if rows["item"][0] == "RM" else 0.0)
        flow = rows["scheduled_receipts"] + rows["planned_receipts"] - rows["gross"]
        assert (before + flow).to_list() == pytest.approx(rows["projected_on_hand"].to_list())
    assert plan.records.height == 12


def test_the_same_data_gives_the_same_plan_and_progress_only_rises(make_plan):
    said = []
    plants = {
        "items": [item("FG", "finished", 3), item("RM", lead_time=9)],
        "bom_lines": [line("FG", "RM", 1.5)],
        "forecast": [{"item": "FG", "week": MONDAY + timedelta(days=7 * week), "mean": 7.7} for week in range(8)],
    }
    first, second = make_plan(**plants), make_plan(**plants)
    assert first.orders.equals(second.orders)
    assert first.summary == second.summary
    frames = {name: pl.DataFrame(rows) for name, rows in plants.items()}
    run_plan(PlanInputs(**frames), PlanParameters(today=MONDAY), lambda share, step: said.append((share, step)))
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(step for _, step in said)


@pytest.mark.skipif(not ROVER.exists(), reason=f"the rover's bill of material is not at {ROVER}")
def test_the_rover(make_plan):
    lines = pl.read_csv(ROVER).select(
        "parent", component="child", quantity_per=pl.col("qty_per_parent").cast(pl.Float64)
    )
    codes = sorted({*lines["parent"], *lines["component"]})
    assemblies = set(lines["parent"])
    plan = make_plan(
        items=[item(code, "semi_finished" if code in assemblies else "component", 5) for code in codes],
        bom_lines=lines.to_dicts(),
        firm_orders=[firm("ROVER", 4, date(2026, 12, 11))],
    )
    per_rover = {"ROVER": 1.0}
    for _ in range(2):  # two levels: the needs of one rover, part by part
        totals = {"ROVER": 1.0}
        for row in lines.iter_rows(named=True):
            above = per_rover.get(row["parent"], 0.0)
            totals[row["component"]] = totals.get(row["component"], 0.0) + above * row["quantity_per"]
        per_rover = totals
    found = dict(plan.orders.group_by("item").agg(pl.col("quantity").sum()).iter_rows())
    assert found == pytest.approx({code: 4 * per_unit for code, per_unit in per_rover.items()})
    assert set(plan.orders.filter(pl.col("kind") == "production")["item"]) == assemblies
