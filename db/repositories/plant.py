"""The plant as frames: what forecasting and planning read, in the columns the pure rooms expect."""

from __future__ import annotations

import uuid
from typing import Any

import polars as pl
from sqlalchemy.ext.asyncio import AsyncSession

from db.copy import read_frame

_F, _S, _I, _D = pl.Float64, pl.String, pl.Int64, pl.Date

# Frame name -> (schema, query). Inactive items take no part in a plan.
FRAMES: dict[str, tuple[dict[str, Any], str]] = {
    "items": (
        {
            **{"code": _S, "name": _S, "kind": _S, "unit": _S, "category": _S, "cost": _F, "price": _F},
            **{"lead_time_days": _I, "min_order_qty": _F, "order_multiple": _F, "safety_stock": _F},
            **{"service_level": _F, "active": pl.Boolean},
        },
        "SELECT code, name, kind, unit, category, cost, price, lead_time_days, min_order_qty, order_multiple,"
        " safety_stock, service_level, active FROM item WHERE active AND deleted_at IS NULL ORDER BY code",
    ),
    "suppliers": (
        {"code": _S, "name": _S, "email": _S, "lead_time_days": _I, "active": pl.Boolean},
        "SELECT code, name, email, lead_time_days, active FROM supplier WHERE deleted_at IS NULL ORDER BY code",
    ),
    "supplier_terms": (
        {
            **{"item": _S, "supplier": _S, "price": _F, "min_order_qty": _F, "order_multiple": _F},
            **{"lead_time_days": _I, "priority": _I},
        },
        "SELECT i.code, p.code, t.price, t.min_order_qty, t.order_multiple, t.lead_time_days, t.priority"
        " FROM supplier_term t JOIN item i ON i.id = t.item_id JOIN supplier p ON p.id = t.supplier_id"
        " WHERE t.active AND p.deleted_at IS NULL AND current_date BETWEEN coalesce(t.valid_from, current_date)"
        " AND coalesce(t.valid_to, current_date) ORDER BY 1, 7, 2",
    ),
    "bom_lines": (
        {"parent": _S, "component": _S, "quantity_per": _F, "scrap_share": _F, "valid_from": _D, "valid_to": _D},
        "SELECT p.code, c.code, b.quantity_per, b.scrap_share, b.valid_from, b.valid_to FROM bom_line b"
        " JOIN item p ON p.id = b.parent_item_id AND p.bom_version = b.version"
        " JOIN item c ON c.id = b.component_item_id ORDER BY 1, 2",
    ),
    "stock": (
        {"item": _S, "warehouse": _S, "lot": _S, "on_hand": _F, "reserved": _F, "quarantined": _F},
        "SELECT i.code, s.warehouse, s.lot, s.on_hand, s.reserved, s.quarantined FROM stock s"
        " JOIN item i ON i.id = s.item_id ORDER BY 1, 2, 3",
    ),
    "open_orders": (
        {"number": _S, "kind": _S, "item": _S, "supplier": _S, "quantity": _F, "due_date": _D},
        "SELECT o.number, o.kind, i.code, p.code, o.quantity, o.due_date FROM open_order o"
        " JOIN item i ON i.id = o.item_id LEFT JOIN supplier p ON p.id = o.supplier_id ORDER BY 1, 3",
    ),
    "firm_orders": (
        {"number": _S, "line": _I, "item": _S, "customer": _S, "quantity": _F, "due_date": _D},
        "SELECT o.number, o.line, i.code, o.customer, o.quantity, o.due_date FROM firm_order o"
        " JOIN item i ON i.id = o.item_id ORDER BY 1, 2",
    ),
    "work_centres": (
        {"code": _S, "name": _S, "hours_per_day": _F, "efficiency": _F},
        "SELECT code, name, hours_per_day, efficiency FROM work_centre WHERE deleted_at IS NULL ORDER BY code",
    ),
    "routings": (
        {"item": _S, "sequence": _I, "work_centre": _S, "setup_hours": _F, "unit_hours": _F},
        "SELECT i.code, r.sequence, w.code, r.setup_hours, r.unit_hours FROM routing_operation r"
        " JOIN item i ON i.id = r.item_id JOIN work_centre w ON w.id = r.work_centre_id ORDER BY 1, 2",
    ),
}
DEMAND_SCHEMA: dict[str, Any] = {"item": _S, "day": _D, "feed": _S, "quantity": _F, "revenue": _F}
FORECAST_SCHEMA: dict[str, Any] = {
    **{"item": _S, "week": _D, "mean": _F},
    **{f"q{level}": _F for level in (10, 25, 50, 75, 90)},
}
SERIES_SCHEMA: dict[str, Any] = {
    **{"item": _S, "demand_class": _S, "adi": _F, "cv2": _F, "abc": _S, "xyz": _S, "model": _S, "reason": _S},
    **{"service_level": _F, "lead_time_weeks": _F, "lead_time_mean": _F, "lead_time_quantile": _F},
}


async def read_plant(session: AsyncSession) -> dict[str, pl.DataFrame]:
    """Every frame of `FRAMES` by name."""
    return {name: await read_frame(session, query, schema=schema) for name, (schema, query) in FRAMES.items()}


async def read_demand(session: AsyncSession) -> pl.DataFrame:
    """Daily demand of active items, in `DEMAND_SCHEMA`, oldest first."""
    return await read_frame(
        session,
        "SELECT i.code, d.day, d.feed, d.quantity, d.revenue FROM demand d JOIN item i ON i.id = d.item_id"
        " WHERE i.active AND i.deleted_at IS NULL ORDER BY 1, 2",
        schema=DEMAND_SCHEMA,
    )


async def read_lead_times(session: AsyncSession) -> pl.DataFrame:
    """Lead time of each active item in working days: its own, else its first supplier's term or the supplier's."""
    return await read_frame(
        session,
        "SELECT i.code, coalesce(i.lead_time_days, min(coalesce(t.lead_time_days, p.lead_time_days)))::bigint"
        " FROM item i LEFT JOIN supplier_term t ON t.item_id = i.id LEFT JOIN supplier p ON p.id = t.supplier_id"
        " WHERE i.active AND i.deleted_at IS NULL GROUP BY i.id ORDER BY 1",
        schema={"item": _S, "lead_time_days": _I},
    )


async def read_warehouses(session: AsyncSession) -> pl.DataFrame:
    """Active warehouses by code: capacity_m3, used_m3 of what lies there, and how many of its items have no volume."""
    return await read_frame(
        session,
        "SELECT w.code, w.capacity_m3, coalesce(sum(greatest(s.on_hand, 0) * i.volume_m3), 0),"
        " count(DISTINCT i.id) FILTER (WHERE s.on_hand > 0 AND i.volume_m3 IS NULL)"
        " FROM warehouse w LEFT JOIN stock s ON s.warehouse = w.code LEFT JOIN item i ON i.id = s.item_id"
        " WHERE w.active AND w.deleted_at IS NULL GROUP BY w.id ORDER BY 1",
        schema={"warehouse": _S, "capacity_m3": _F, "used_m3": _F, "unmeasured": _I},
    )


async def read_forecast(session: AsyncSession, run_id: uuid.UUID) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The forecast rows and the per-item series rows of a run."""
    rows = await read_frame(
        session,
        "SELECT i.code, f.week, f.mean, f.q10, f.q25, f.q50, f.q75, f.q90 FROM forecast f"
        " JOIN item i ON i.id = f.item_id WHERE f.run_id = $1 ORDER BY 1, 2",
        run_id,
        schema=FORECAST_SCHEMA,
    )
    series = await read_frame(
        session,
        "SELECT i.code, s.demand_class, s.adi, s.cv2, s.abc, s.xyz, s.model, s.reason, s.service_level,"
        " s.lead_time_weeks, s.lead_time_mean, s.lead_time_quantile FROM forecast_series s"
        " JOIN item i ON i.id = s.item_id WHERE s.run_id = $1 ORDER BY 1",
        run_id,
        schema=SERIES_SCHEMA,
    )
    return rows, series


async def read_weekly_history(session: AsyncSession, weeks: int = 52) -> pl.DataFrame:
    """Weekly demand of active items over the last so many weeks with demand: item, week (Monday), quantity."""
    return await read_frame(
        session,
        "SELECT i.code, r.period, sum(r.quantity) FROM demand_week r JOIN item i ON i.id = r.item_id"
        " WHERE i.active AND i.deleted_at IS NULL AND r.period > (SELECT max(period) FROM demand_week) - $1 * 7"
        " GROUP BY 1, 2 ORDER BY 1, 2",
        weeks,
        schema={"item": _S, "week": _D, "quantity": _F},
    )
