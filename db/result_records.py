"""Tables of results, seen from outside: only ever read there."""

from __future__ import annotations

from db.models import (
    ActionMessage,
    Alert,
    CapacityLoad,
    ForecastMetric,
    ForecastRun,
    ForecastSeries,
    ModelVersion,
    Pegging,
    PlannedOrder,
    PlanningRun,
    StockParameter,
)
from db.records import record_table

_ITEM = {"item_name": ("item", "name"), "unit": ("item", "unit")}

FORECAST_RUNS = record_table("forecast_runs", ForecastRun, sorted_by="-created_at", newest_by="created_at")
FORECAST_METRICS = record_table("forecast_metrics", ForecastMetric, sorted_by="model")
FORECAST_SERIES = record_table("forecast_series", ForecastSeries, looked_up=_ITEM, sorted_by="item")
PLANNING_RUNS = record_table("planning_runs", PlanningRun, sorted_by="-created_at", newest_by="created_at")
PLANNED_ORDERS = record_table(
    "planned_orders",
    PlannedOrder,
    looked_up={**_ITEM, "supplier_name": ("supplier", "name")},
    sorted_by="rank",
)
ACTION_MESSAGES = record_table("action_messages", ActionMessage, looked_up=_ITEM, sorted_by="rank")
PEGGING = record_table("pegging", Pegging, looked_up=_ITEM, sorted_by="due_date")
CAPACITY_LOADS = record_table(
    "capacity_loads", CapacityLoad, looked_up={"work_centre_name": ("work_centre", "name")}, sorted_by="week"
)
STOCK_PARAMETERS = record_table("stock_parameters", StockParameter, looked_up=_ITEM, sorted_by="item")
MODEL_VERSIONS = record_table("model_versions", ModelVersion, sorted_by="-created_at")
ALERTS = record_table("alerts", Alert, looked_up={"item_name": ("item", "name")}, sorted_by="-urgency")
