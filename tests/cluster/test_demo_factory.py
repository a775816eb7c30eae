"""The demo factory: the same bytes every time, sound structure, the promised kinds of demand, counted defects."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from cluster.demo.closures import bank_holidays, easter
from cluster.demo.defects import EXACT_DUPLICATE
from cluster.demo.factory import generate
from ingestion.ingest import ingest
from ingestion.mapping import load_mappings
from ingestion.suggest import suggest
from ingestion.validate import KnownCodes
from planning.inputs import PlanInputs, PlanParameters
from planning.plan import plan

TODAY = date(2026, 11, 25)  # a Wednesday
LAST_MONDAY = date(2026, 11, 16)  # of the last whole week
REASONS = {
    "unknown kind": "not one of",
    "text in a number": "not a number",
    "unknown supplier": "unknown supplier",
    "unknown component": "unknown item",
    "unknown item": "unknown item",
    "unknown work centre": "unknown work centre",
    "zero quantity": "must be above 0",
    "negative quantity": "must be at least 0",
    "missing date": "missing",
}


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("factory"), today=TODAY)


@pytest.fixture(scope="module")
def ingested(factory):
    """What ingestion makes of each file, in order; known codes grow as they do in the database."""
    mappings = load_mappings()
    known = {"items": pl.Series([], dtype=pl.String), "suppliers": [], "work_centres": []}
    results = {}
    for name, mapping in factory.files:
        result = ingest((factory.directory / name).read_bytes(), name, mappings[mapping], KnownCodes(**known))
        results[name] = result
        if result.target in known:
            known[result.target] = result.rows["code"]
    return results


@pytest.fixture(scope="module")
def tables(ingested):
    """The rows taken, by table."""
    names = {result.target for result in ingested.values()}
    return {name: pl.concat([r.rows for r in ingested.values() if r.target == name]) for name in names}


@pytest.fixture(scope="module")
def weekly(tables):
    """item, week, quantity: every whole week from an item's first sale on, zeros filled in."""
    sums = (
        tables["demand"]
        .group_by("item", week=pl.col("day").dt.truncate("1w"))
        .agg(pl.col("quantity").sum())
        .filter(pl.col("week") <= LAST_MONDAY)
    )
    weeks = pl.DataFrame({"week": pl.date_range(sums["week"].min(), LAST_MONDAY, "1w", eager=True)})
    first = sums.group_by("item").agg(first=pl.col("week").min())
    return (
        first.join(weeks, how="cross")
        .filter(pl.col("week") >= pl.col("first"))
        .join(sums, on=["item", "week"], how="left")
        .select("item", "week", pl.col("quantity").fill_null(0.0))
        .sort("item", "week")
    )


def content(factory):
    return {name: (factory.directory / name).read_bytes() for name, _ in factory.files}


def test_the_files_suggest_the_mappings_they_are_read_with(factory, ingested, tables):
    """Told by headers and values alone, and reading the same rows."""
    known = KnownCodes(**{name: tables[name]["code"] for name in ("items", "suppliers", "work_centres")})
    for name, _ in factory.files:
        content, ending = (factory.directory / name).read_bytes(), name.split(".")[1]
        found = suggest(content, f"data.{ending}", known)
        assert not found.missing, name
        assert not found.unused, name
        assert ingest(content, name, found.mapping, known).rows.equals(ingested[name].rows), name


def test_the_same_arguments_write_the_same_bytes_workbook_included(factory, tmp_path):
    again = generate(tmp_path / "new" / "folder", today=TODAY)
    assert content(again) == content(factory)
    assert (again.rows, again.defects) == (factory.rows, factory.defects)


def test_another_seed_is_another_factory_in_every_file(factory, tmp_path):
    mine, other = content(factory), content(generate(tmp_path, today=TODAY, seed=8))
    assert not [name for name in mine if mine[name] == other[name]]


def test_files_come_in_an_order_in_which_every_code_is_known_before_it_is_used(factory):
    assert [mapping for _, mapping in factory.files] == [
        "erp_items",
        "erp_suppliers",
        "erp_supplier_terms",
        "erp_bom_lines",
        "erp_stock",
        "erp_open_orders",
        "erp_firm_orders",
        "erp_work_centres",
        "erp_routings",
        *["erp_demand"] * 3,
    ]
    assert [name for name, _ in factory.files][-3:] == ["sales_2024.csv", "sales_2025.csv", "sales_2026.csv"]


def test_ingestion_takes_every_row_but_the_counted_defects_for_the_reason_meant(factory, ingested):
    for name, result in ingested.items():
        defects = dict(factory.defects[name])
        assert result.read == factory.rows[name], name
        assert result.merged == defects.pop(EXACT_DUPLICATE, 0), name
        assert result.rejected_count == sum(defects.values()), (name, result.rejected)
        expected = pl.Series(
            [REASONS[cause] for cause, count in defects.items() for _ in range(count)], dtype=pl.String
        )
        for words in expected.unique():
            assert result.rejected["reason"].str.starts_with(words).sum() == (expected == words).sum(), (name, words)


def test_a_few_dozen_rows_are_spoilt_and_every_sales_file_has_some(factory):
    assert 40 <= sum(factory.defect_rows(name) for name, _ in factory.files) <= 60
    sales = [name for name, mapping in factory.files if mapping == "erp_demand"]
    assert all(factory.defect_rows(name) >= 5 for name in sales)
    causes = {cause for name in sales for cause in factory.defects[name]}
    assert causes == {"unknown item", "negative quantity", "missing date", "text in a number", EXACT_DUPLICATE}


def test_items_are_five_hundred_of_five_kinds_with_distinct_names_and_codes(tables):
    items = tables["items"]
    assert dict(items["kind"].value_counts().iter_rows()) == {
        "finished": 150,
        "semi_finished": 90,
        "component": 80,
        "raw_material": 150,
        "packaging": 30,
    }
    assert items["code"].n_unique() == items["name"].n_unique() == 500
    assert items["service_level"].is_not_null().sum() < 20 < items["service_level"].len()
    assert 5 <= items["safety_stock"].is_not_null().sum() <= 25
    assert items["lead_time_days"].null_count() == 0


def depths(lines):
    """Level of each item, 1 for a finished one; an endless walk would be a cycle."""
    children = lines.group_by("parent").agg("component")
    below = dict(children.iter_rows())
    level = dict.fromkeys(set(below) - set(lines["component"]), 1)
    frontier = set(level)
    for depth in range(2, 12):
        frontier = {component for parent in frontier for component in below.get(parent, ())}
        level |= dict.fromkeys(frontier, depth)
        if not frontier:
            return level
    raise AssertionError("the bill of material has a cycle")


def test_bills_of_material_have_four_levels_no_cycle_and_reach_every_item(tables):
    level = depths(tables["bom_lines"])
    assert max(level.values()) == 4
    assert set(level) == set(tables["items"]["code"])
    finished = set(tables["items"].filter(pl.col("kind") == "finished")["code"])
    assert {code for code, depth in level.items() if depth == 1} == finished


def test_parts_of_every_level_are_shared_between_parents(tables):
    kinds = tables["items"].select(component="code", kind="kind")
    parents = (
        tables["bom_lines"].group_by("component").agg(parents=pl.col("parent").n_unique()).join(kinds, on="component")
    )
    shared = parents.group_by("kind").agg(share=(pl.col("parents") > 1).mean())
    shares = dict(shared.iter_rows())
    assert shares["semi_finished"] > 0.6
    assert shares["component"] > 0.6
    assert shares["packaging"] > 0.8
    assert shares["raw_material"] > 0.4


def test_bill_lines_have_scrap_and_some_change_on_a_day_ahead(tables):
    lines = tables["bom_lines"]
    assert 0.1 < (lines["scrap_share"] > 0).mean() < 0.6
    ends, starts = lines.drop_nulls("valid_to"), lines.drop_nulls("valid_from")
    assert ends.height == starts.height > 0
    assert ends["valid_to"].min() > TODAY
    changed = ends.join(starts, on="parent", suffix="_new")
    assert (changed["valid_from_new"] == changed["valid_to"] + timedelta(days=1)).all()


def test_costs_are_positive_and_a_parent_costs_more_than_its_parts(tables):
    items = tables["items"]
    assert (items["cost"] > 0).all()
    valid = tables["bom_lines"].filter(pl.col("valid_from").is_null())
    parts = (
        valid.join(items.select(component="code", part_cost="cost"), on="component")
        .group_by(code="parent")
        .agg(parts=(pl.col("part_cost") * pl.col("quantity_per") / (1 - pl.col("scrap_share"))).sum())
        .join(items, on="code")
    )
    assert parts.height == 150 + 90 + 50
    assert (parts["cost"] > parts["parts"]).all()
    finished = items.filter(pl.col("kind") == "finished")
    assert (finished["price"] > 1.5 * finished["cost"]).all()


def test_purchased_items_have_one_or_two_suppliers_and_made_ones_a_routing(tables):
    made = set(tables["bom_lines"]["parent"])
    terms = tables["supplier_terms"]
    bought = set(tables["items"]["code"]) - made
    assert set(terms["item"]) == bought
    counts = terms.group_by("item").len()["len"]
    assert counts.min() == 1
    assert counts.max() == 2
    active = set(tables["suppliers"].filter("active")["code"])
    assert set(terms.filter(pl.col("priority") == 1)["supplier"]) <= active
    assert set(tables["routings"]["item"]) == made
    assert tables["suppliers"].height == 40
    assert set(tables["routings"]["work_centre"]) == set(tables["work_centres"]["code"])
    assert tables["work_centres"].height == 8


def test_all_four_demand_classes_are_there_in_sensible_shares(weekly):
    """Syntetos, Boylan & Croston (2005): interval between demands 1.32, squared variation of sizes 0.49."""
    sold = pl.col("quantity").filter(pl.col("quantity") > 0)
    stats = weekly.group_by("item").agg(adi=pl.len() / sold.len(), cv2=(sold.std() / sold.mean()) ** 2)
    often, steady = stats["adi"] < 1.32, stats["cv2"] < 0.49
    assert stats.height == 150
    assert 0.30 < (often & steady).mean() < 0.60
    assert 0.10 < (often & ~steady).mean() < 0.35
    assert 0.15 < (~often & steady).mean() < 0.28
    assert 0.10 < (~often & ~steady).mean() < 0.22


def test_sales_cover_the_days_asked_for_and_end_the_day_before_today(tables):
    days = tables["demand"]["day"]
    assert days.max() == TODAY - timedelta(days=1)
    assert TODAY - timedelta(days=730) <= days.min() <= TODAY - timedelta(days=725)
    assert (tables["demand"]["revenue"] > 0).all()


def test_nothing_is_sold_on_weekends_and_bank_holidays_and_little_on_fridays(tables):
    days = tables["demand"].group_by("day").agg(pl.col("quantity").sum())
    assert days["day"].dt.weekday().max() == 5
    assert not set(days["day"]) & {day.item() for day in bank_holidays(date(2024, 1, 1), TODAY)}
    by_weekday = days.group_by(pl.col("day").dt.weekday()).agg(pl.col("quantity").mean()).sort("day")["quantity"]
    assert by_weekday[4] < 0.5 * by_weekday[:4].min()


@pytest.mark.parametrize(
    ("year", "sunday"), [(2000, (4, 23)), (2024, (3, 31)), (2025, (4, 20)), (2026, (4, 5)), (2038, (4, 25))]
)
def test_easter_falls_where_the_almanac_has_it(year, sunday):
    assert easter(year) == date(year, *sunday)


def test_families_sell_in_their_season(tables):
    by_month = (
        tables["demand"]
        .join(tables["items"].select(item="code", category="category"), on="item")
        .group_by("category", winter=pl.col("day").dt.month().is_in([11, 12, 1, 2]))
        .agg(pl.col("quantity").sum())
        .pivot("winter", index="category", values="quantity")
    )
    share = dict(by_month.select("category", pl.col("true") / (pl.col("true") + pl.col("false"))).iter_rows())
    assert share["Winter service"] > 0.5
    assert share["Watering"] < 0.25


def test_some_items_are_new_some_have_ended_and_campaigns_cut_the_price(tables, weekly):
    first = weekly.group_by("item").agg(pl.col("week").min())["week"]
    assert 8 <= (first > TODAY - timedelta(weeks=40)).sum() <= 20
    ended = tables["items"].filter(~pl.col("active"))["code"]
    assert 5 <= len(ended) <= 10
    last = tables["demand"].filter(pl.col("item").is_in(ended.implode())).group_by("item").agg(pl.col("day").max())
    assert last["day"].max() < TODAY - timedelta(days=20)
    paid = tables["demand"].join(tables["items"].select(item="code", price="price"), on="item")
    share = paid["revenue"] / paid["quantity"] / paid["price"]
    assert share.max() < 1.001
    assert 0.02 < (share < 0.85).mean() < 0.25


def test_stock_is_written_with_semicolons_and_decimal_commas(factory):
    lines = (factory.directory / "stock.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Item No.;Warehouse;Qty on Hand;Qty Reserved;Qty Blocked"
    assert not any("." in line for line in lines[1:])
    assert sum("," in line for line in lines[1:]) > 50


def test_open_orders_are_of_both_kinds_and_some_are_past_due(factory, tables):
    orders = tables["open_orders"]
    assert set(orders["kind"]) == {"purchase", "production"}
    bought = orders["kind"] == "purchase"
    assert orders.filter(bought)["supplier"].null_count() == 0
    assert orders.filter(~bought)["supplier"].null_count() == (~bought).sum()
    assert 0.02 < (orders["due_date"] < TODAY).mean() < 0.25
    assert orders["due_date"].dt.weekday().max() <= 5
    raw = pl.read_excel(factory.directory / "open_orders.xlsx")
    assert raw.columns == ["Order No", "Order Type", "Item No.", "Vendor No.", "Open Qty", "Due Date"]
    assert raw.schema["Open Qty"].is_numeric()
    assert raw.schema["Due Date"] == pl.Date


def test_firm_orders_lie_in_the_next_four_weeks_but_for_a_few_overdue(tables):
    orders = tables["firm_orders"]
    assert orders["due_date"].max() <= TODAY + timedelta(weeks=4, days=5)
    assert 1 <= (orders["due_date"] < TODAY).sum() <= 6
    assert orders.height > 300
    one_order = orders.group_by("number").agg(pl.col("customer").n_unique(), pl.col("due_date").n_unique())
    assert one_order["customer"].max() == 1
    assert one_order["due_date"].max() == 1


def test_a_plan_finds_most_items_covered_and_some_urgent(tables, weekly):
    recent = weekly.filter(pl.col("week") > LAST_MONDAY - timedelta(weeks=26))
    weeks = pl.DataFrame({"week": [LAST_MONDAY + timedelta(weeks=week) for week in range(1, 14)]})
    forecast = recent.group_by("item").agg(mean=pl.col("quantity").mean()).join(weeks, how="cross")
    inputs = PlanInputs(
        **{name: tables[name] for name in PlanInputs.__dataclass_fields__ if name in tables},
        forecast=forecast,
        weekly_history=weekly,
    )
    result = plan(inputs, PlanParameters(today=TODAY, horizon_weeks=13))
    urgent = result.orders.filter(pl.col("priority").is_in(["critical", "high"]))
    assert 0.03 < urgent["item"].n_unique() / 500 < 0.15
    assert set(urgent["kind"]) == {"purchase", "production"}
    assert set(result.orders["priority"]) == {"critical", "high", "medium", "low"}
    assert result.orders.filter(pl.col("kind") == "purchase")["item"].n_unique() > 100
    assert set(result.warnings["message"]) <= {"negative stock", "inactive, but needed: not planned"}
    peaks = result.capacity.group_by("work_centre").agg(pl.col("load_share").max())["load_share"]
    assert peaks.max() > 1.0 > peaks.median()


def test_describe_names_every_file_with_its_rows_and_defects(factory):
    text = factory.describe()
    for name, _ in factory.files:
        line = next(line for line in text.splitlines() if line.strip().startswith(name))
        assert f"{factory.rows[name]:,} rows" in line
        assert all(f"{count} x {cause}" in line for cause, count in factory.defects[name].items())


@pytest.mark.parametrize(("items", "days", "today"), [(80, 28, date(2026, 1, 1)), (900, 400, date(2025, 6, 2))])
def test_smaller_and_larger_factories_are_sound_too(tmp_path, items, days, today):
    factory = generate(tmp_path, today=today, items=items, days=days)
    lines = pl.read_csv(tmp_path / "bom_lines.csv", infer_schema=False).filter(
        ~pl.col("component").str.contains("-OLD-")
    )
    codes = pl.read_csv(tmp_path / "items.csv", infer_schema=False).filter(~pl.col("code").str.contains("-9999"))[
        "code"
    ]
    assert codes.n_unique() == len(codes) == items
    level = depths(lines)
    assert max(level.values()) == 4
    assert set(lines["component"]) <= set(codes)
    last = max(
        pl.read_csv(tmp_path / n, infer_schema=False)["day"].max() for n, m in factory.files if m == "erp_demand"
    )
    closed = bank_holidays(today - timedelta(days=30), today)
    assert date.fromisoformat(last) == np.busday_offset(today, -1, roll="forward", holidays=closed).item()


@pytest.mark.parametrize(("items", "days", "words"), [(79, 730, "at least 80 items"), (500, 27, "at least 28 days")])
def test_a_factory_too_small_to_be_one_is_refused(tmp_path, items, days, words):
    with pytest.raises(ValueError, match=words):
        generate(tmp_path / "none", today=TODAY, items=items, days=days)
    assert not (tmp_path / "none").exists()
