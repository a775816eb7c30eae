"""The one door of the planning room: from frames to a plan of dated, prioritised orders."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import polars as pl

from planning.arrays import BoolArray, FloatArray, IntArray, totals_by_cell, totals_by_row
from planning.bom import Structure
from planning.calendar import Calendar, in_bucket
from planning.capacity import capacity_load
from planning.demand import independent_demand, overdue_days, weekly_forecast
from planning.inputs import Findings, PlanInputs, PlanParameters
from planning.items import ItemTable, read_items, to_floats
from planning.mrp import MrpRecords, explode
from planning.priority import PlannedOrders, causes, classify
from planning.results import (
    by_urgency,
    order_frame,
    planned_orders,
    summarise,
    weekly_records,
)
from planning.safety_stock import (
    SafetyStockPolicy,
    economic_order_quantity,
    from_quantile,
    reorder_point,
)
from planning.stock_parameters import WORKING_WEEKS_PER_YEAR, stock_parameters
from planning.structure import read_structure
from planning.supply import Sourcing, read_available, read_dated, read_supplier_terms, scheduled_receipts

Progress = Callable[[float, str], None]

_PRODUCED_KINDS = ["finished", "semi_finished"]


@dataclass(frozen=True)
class Plan:
    """A plan's frames, most urgent order first, and its figures.

    orders(kind, item, supplier?, quantity, release_date, due_date, priority, priority_rank, past_due_days, unit_cost?,
    value?, cause); capacity(work_centre, week, load_hours, capacity_hours, load_share?);
    stock_parameters: see `planning.stock_parameters`; records(item, week, gross, scheduled_receipts,
    projected_on_hand, net, planned_receipts, planned_releases); warnings(item, field, message).
    """

    orders: pl.DataFrame
    capacity: pl.DataFrame
    stock_parameters: pl.DataFrame
    records: pl.DataFrame
    warnings: pl.DataFrame
    summary: dict[str, float | int]


@dataclass(frozen=True)
class _Requirements:
    """Independent demand [buckets, items]; overdue customers' orders: quantity and, where not covered, days late."""

    independent: FloatArray
    overdue: FloatArray
    overdue_days: IntArray


@dataclass(frozen=True)
class _Supply:
    """What there is and what is on the way: available [items], scheduled [buckets, items], open orders with rows."""

    available: FloatArray
    scheduled: FloatArray
    open_orders: pl.DataFrame


def plan(inputs: PlanInputs, parameters: PlanParameters, on_progress: Progress | None = None) -> Plan:
    """Plan all items over all levels; bad data is named in `warnings` item by item and the rest of the plan stands.

    `on_progress` hears the share done, 0 to 1, and the step that follows. Raises ValueError for a frame without its
    required columns and for a horizon or calendar on which nothing can be planned.
    """
    tell = on_progress or _ignore_progress
    tell(0.0, "checking items and bills of material")
    findings = Findings()
    frames = _leave_out_ended_forecasts(inputs.conformed(), parameters, findings)
    calendar = parameters.calendar()
    items = read_items(frames.items, findings)
    structure, is_parent, on_cycle = read_structure(frames.bom_lines, items, calendar, findings)
    tell(0.1, "reading stock, orders and demand")
    supply = _read_supply(frames, items, calendar, findings)
    needs = _read_requirements(frames, parameters, items, calendar, supply, findings)
    sourcing = _sourcing(frames, parameters, items, calendar, is_parent, supply, findings)

    def level_done(level: int) -> None:
        tell(0.2 + 0.3 * (level + 1) / len(structure.levels), f"netted level {level}")

    plannable = items.active & ~on_cycle
    records = explode(structure, needs.independent, supply.scheduled, supply.available, sourcing, plannable, level_done)
    _name_gaps(items, plannable, sourcing, records, findings)
    tell(0.6, "writing orders")
    daily = _daily_demand(records.gross, needs.independent)
    point = reorder_point(daily, records.lead_time, records.safety_stock)
    listed = planned_orders(records)
    orders = _orders(listed, records, structure, needs, supply, sourcing, point, parameters, calendar)
    tell(0.9, "loading work centres")
    capacity = _capacity(listed, records, frames, supply, sourcing, calendar, findings)
    warnings = findings.frame()
    eoq = _order_quantities(daily * calendar.days_per_week * WORKING_WEEKS_PER_YEAR, sourcing.unit_cost(), parameters)
    stocked = stock_parameters(frames, items, records, sourcing, supply.scheduled, daily, point, eoq, calendar)
    result = Plan(
        orders=orders,
        capacity=capacity,
        stock_parameters=stocked,
        records=weekly_records(records, supply.scheduled, items, calendar),
        warnings=warnings,
        summary=summarise(orders, warnings, stocked),
    )
    tell(1.0, "planned")
    return result


def _leave_out_ended_forecasts(frames: PlanInputs, parameters: PlanParameters, findings: Findings) -> PlanInputs:
    """Drop series whose last forecast week is over: what sold years ago says nothing about stock needed now."""
    this_week = parameters.today - timedelta(days=parameters.today.weekday())
    last = frames.forecast.group_by("item").agg(last=pl.col("week").max())
    ended = last.filter(pl.col("last") < this_week)
    if ended.is_empty():
        return frames
    until = dict(ended.iter_rows())
    message = pl.col("item").replace_strict(until, return_dtype=pl.Date).dt.to_string("%Y-%m-%d")
    findings.name(ended["item"], "forecast", pl.format("ended with the week of {}: no demand is planned", message))
    keep = ~pl.col("item").is_in(list(until))
    return replace(frames, forecast=frames.forecast.filter(keep), forecast_series=frames.forecast_series.filter(keep))


def _ignore_progress(share: float, step: str) -> None:
    """Nobody listens."""


def _read_supply(frames: PlanInputs, items: ItemTable, calendar: Calendar, findings: Findings) -> _Supply:
    """Stock and open orders of known items."""
    open_orders = read_dated(frames.open_orders, items, "open_orders", findings)
    return _Supply(
        available=read_available(frames.stock, items, findings),
        scheduled=scheduled_receipts(open_orders, items, calendar),
        open_orders=open_orders,
    )


def _read_requirements(
    frames: PlanInputs,
    parameters: PlanParameters,
    items: ItemTable,
    calendar: Calendar,
    supply: _Supply,
    findings: Findings,
) -> _Requirements:
    """Independent demand of forecast and firm orders."""
    forecast = items.locate(frames.forecast, "item", "forecast", findings)
    mean = to_floats(forecast["mean"])
    unsound = ~(mean >= 0)
    findings.name(forecast["item"].filter(pl.Series(unsound)), "forecast", "mean missing or negative: taken as 0")
    week = calendar.week_index(forecast["week"].to_numpy())
    expected = weekly_forecast(forecast["row"].to_numpy(), week, np.where(unsound, 0.0, mean), calendar, items.count)
    firm = read_dated(frames.firm_orders, items, "firm_orders", findings)
    row, quantity = firm["row"].to_numpy(), firm["quantity"].to_numpy()
    index = calendar.index_of_requirement(firm["due_date"].to_numpy())
    past, inside = index < 0, (index >= 0) & (index < calendar.buckets)
    firm_daily = totals_by_cell(in_bucket(index[inside]), row[inside], quantity[inside], calendar.buckets, items.count)
    overdue = totals_by_row(row[past], quantity[past], items.count)
    covered = supply.available + supply.scheduled[0]
    beyond = inside & (calendar.week_of_bucket[np.where(inside, index, 0)] >= parameters.firm_horizon_weeks)
    unseen = beyond & (expected.sum(axis=0) <= 0)[row]
    findings.name(
        firm["item"].filter(pl.Series(unseen)),
        "firm_orders",
        "beyond the firm-order horizon and no forecast: not planned",
    )
    return _Requirements(
        independent=independent_demand(expected, firm_daily, overdue, calendar, parameters.firm_horizon_weeks),
        overdue=overdue,
        overdue_days=overdue_days(row[past], -index[past], quantity[past], covered),
    )


def _sourcing(
    frames: PlanInputs,
    parameters: PlanParameters,
    items: ItemTable,
    calendar: Calendar,
    is_parent: BoolArray,
    supply: _Supply,
    findings: Findings,
) -> Sourcing:
    """Which items are produced, from whom the others are bought, and what their safety stock is made from.

    Produced are parents of the bill of material, and finished or semi-finished items that nobody supplies.
    """
    terms = read_supplier_terms(frames.supplier_terms, frames.suppliers, items, findings)
    supplied = items.codes.is_in(frames.supplier_terms["item"].implode()).to_numpy()
    made_kind = items.kind.is_in(_PRODUCED_KINDS).to_numpy()
    return Sourcing(
        items=items,
        produced=is_parent | (made_kind & ~supplied),
        terms=terms,
        safety_stock=_safety_stock_policy(frames, parameters, items, calendar, findings),
        available=supply.available,
        on_order=supply.scheduled.sum(axis=0),
    )


def _safety_stock_policy(
    frames: PlanInputs, parameters: PlanParameters, items: ItemTable, calendar: Calendar, findings: Findings
) -> SafetyStockPolicy:
    """Safety-stock data per item; only items with a forecast of their own have any but the manual value.

    Service level: the item's, else the forecast's, else that of its ABC class, else that of class C.
    """
    series = items.locate(frames.forecast_series, "item", "forecast_series", findings).unique(
        "row", keep="first", maintain_order=True
    )
    row = series["row"].to_numpy()
    surplus, level = np.full(items.count, np.nan), items.service_level.copy()
    surplus[row] = from_quantile(to_floats(series["lead_time_quantile"]), to_floats(series["lead_time_mean"]))
    by_class = (
        series["abc"]
        .fill_null("C")
        .replace_strict(
            dict(parameters.service_levels), default=parameters.service_levels.get("C", 0.85), return_dtype=pl.Float64
        )
    )
    fallback = np.full(items.count, parameters.service_levels.get("C", 0.85))
    of_series = to_floats(series["service_level"])
    fallback[row] = np.where((of_series > 0) & (of_series < 1), of_series, by_class.to_numpy())
    history = (
        items.locate(frames.weekly_history, "item", "weekly_history", findings)
        .group_by("row")
        .agg(mean=pl.col("quantity").mean(), sd=pl.col("quantity").std())
    )
    history_row = history["row"].to_numpy()
    weekly_mean, weekly_sd = np.full(items.count, np.nan), np.full(items.count, np.nan)
    weekly_mean[history_row], weekly_sd[history_row] = to_floats(history["mean"]), to_floats(history["sd"])
    own = pl.concat([frames.forecast["item"], frames.forecast_series["item"]])
    has_own = items.codes.is_in(own.implode()).to_numpy()
    return SafetyStockPolicy(
        manual=items.safety_stock,
        quantile_surplus=np.where(has_own, surplus, np.nan),
        weekly_mean=np.where(has_own, weekly_mean, np.nan),
        weekly_sd=np.where(has_own, weekly_sd, np.nan),
        service_level=np.where(np.isnan(level), fallback, level),
        days_per_week=calendar.days_per_week,
    )


def _name_gaps(
    items: ItemTable, plannable: BoolArray, sourcing: Sourcing, records: MrpRecords, findings: Findings
) -> None:
    """Name items planned without a lead time or a supplier, and inactive items that something needs."""
    no_lead_time = plannable & np.isnan(sourcing.known_lead_time())
    findings.name(
        items.codes.filter(pl.Series(no_lead_time)), "lead_time_days", "no lead time: planned with 0 working days"
    )
    no_supplier = plannable & ~sourcing.produced & (sourcing.chosen < 0)
    findings.name(items.codes.filter(pl.Series(no_supplier)), "supplier", "purchased, but no active supplier")
    needed = ~items.active & (records.gross.sum(axis=0) > 0)
    findings.name(items.codes.filter(pl.Series(needed)), "active", "inactive, but needed: not planned")


def _daily_demand(gross: FloatArray, independent: FloatArray) -> FloatArray:
    """Mean gross requirement per working day, [items], up to the last bucket for which demand is known at all."""
    known = np.flatnonzero(independent.any(axis=1))
    until = int(known[-1]) + 1 if len(known) else len(gross)
    return np.asarray(gross[:until].mean(axis=0), dtype=np.float64)


def _order_quantities(annual_demand: FloatArray, unit_cost: FloatArray, parameters: PlanParameters) -> FloatArray:
    """EOQ of every item, NaN where order cost, holding rate or unit cost are not known."""
    if parameters.order_cost is None or parameters.holding_rate is None:
        return np.full(len(annual_demand), np.nan)
    return economic_order_quantity(annual_demand, parameters.order_cost, parameters.holding_rate * unit_cost)


def _orders(
    listed: PlannedOrders,
    records: MrpRecords,
    structure: Structure,
    needs: _Requirements,
    supply: _Supply,
    sourcing: Sourcing,
    point: FloatArray,
    parameters: PlanParameters,
    calendar: Calendar,
) -> pl.DataFrame:
    """The order frame, most urgent first."""
    items = sourcing.items
    firm_buckets = int(np.searchsorted(calendar.week_of_bucket, parameters.firm_horizon_weeks))
    rank = classify(listed, records, supply.scheduled, supply.available, point, firm_buckets)
    lateness = np.where(listed.bucket == 0, needs.overdue_days[listed.row], 0)
    past_due = np.maximum(records.lead_time[listed.row] - listed.bucket + lateness, 0)
    order = by_urgency(listed, rank, records.lead_time, past_due, calendar)
    listed = PlannedOrders(listed.bucket[order], listed.row[order], listed.quantity[order])
    cause = causes(
        listed,
        records,
        structure,
        needs.independent,
        supply.scheduled,
        supply.available,
        needs.overdue,
        needs.overdue_days,
        items.codes,
        calendar,
    )
    chosen = pl.Series(np.where(sourcing.chosen < 0, len(sourcing.terms.row), sourcing.chosen))
    supplier = pl.concat([sourcing.terms.supplier, pl.Series([None], dtype=pl.String)]).gather(chosen)
    return order_frame(
        listed,
        rank[order],
        past_due[order],
        needs.overdue_days,
        cause,
        records,
        items,
        sourcing.produced,
        supplier,
        sourcing.unit_cost(),
        calendar,
    )


def _capacity(
    listed: PlannedOrders,
    records: MrpRecords,
    frames: PlanInputs,
    supply: _Supply,
    sourcing: Sourcing,
    calendar: Calendar,
    findings: Findings,
) -> pl.DataFrame:
    """Load of planned production in the week of its release, and of open production orders in the week of their due."""
    made = sourcing.produced[listed.row]
    row = listed.row[made]
    release = np.maximum(listed.bucket[made] - records.lead_time[row], 0)
    open_production = supply.open_orders.filter(pl.col("kind") == "production")
    index = in_bucket(calendar.index_of_receipt(open_production["due_date"].to_numpy()))
    inside = index < calendar.buckets
    bucket = np.concatenate([release, index[inside]])
    return capacity_load(
        np.concatenate([row, open_production["row"].to_numpy()[inside]]),
        calendar.week_of_bucket[bucket],
        np.concatenate([listed.quantity[made], open_production["quantity"].to_numpy()[inside]]),
        frames.routings,
        frames.work_centres,
        sourcing.items,
        calendar,
        findings,
    )
