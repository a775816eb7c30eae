"""What runs found, as the API offers it: lists below their run, the registry of models, alerts. All only read."""

from __future__ import annotations

from db import result_records as results
from db.models.alert import ALERT_STATES, SEVERITIES
from db.models.registry import MODEL_KINDS, MODEL_STAGES
from db.models.results import ACTION_KINDS, DEMAND_KINDS, PRIORITIES, SUPPLY_KINDS
from serve.resources.resource import Resource

_ORDER_KINDS = ("purchase", "production")
_FORECASTS = "forecast-runs/{key:str}"
_PLANS = "planning-runs/{key:str}"

RESULTS: tuple[Resource, ...] = (
    Resource(
        "forecast-runs",
        "forecast run",
        "forecast runs",
        results.FORECAST_RUNS,
        about="One forecast of the plant; `as_of` is the last week of history it saw",
        tag="Forecasts",
    ),
    Resource(
        f"{_FORECASTS}/metrics",
        "run metric",
        "run metrics",
        results.FORECAST_METRICS,
        about="Backtest accuracy of a model on a demand class (`all` sums them up)",
        tag="Forecasts",
        within=results.FORECAST_RUNS,
    ),
    Resource(
        f"{_FORECASTS}/series",
        "run series",
        "run series",
        results.FORECAST_SERIES,
        about="How an item was forecast: its class, its model, and why that one",
        tag="Forecasts",
        within=results.FORECAST_RUNS,
    ),
    Resource(
        "planning-runs",
        "planning run",
        "planning runs",
        results.PLANNING_RUNS,
        about="One plan of the plant with its totals and what was wrong in the data",
        tag="Plans",
    ),
    Resource(
        f"{_PLANS}/orders",
        "run order",
        "run orders",
        results.PLANNED_ORDERS,
        about="Purchase and production orders the plan proposes, by urgency",
        tag="Plans",
        within=results.PLANNING_RUNS,
        choices={"kind": _ORDER_KINDS, "priority": PRIORITIES},
    ),
    Resource(
        f"{_PLANS}/action-messages",
        "action message",
        "action messages",
        results.ACTION_MESSAGES,
        about="What the plan asks to change about orders that are placed",
        tag="Plans",
        within=results.PLANNING_RUNS,
        choices={"kind": ACTION_KINDS, "priority": PRIORITIES},
    ),
    Resource(
        f"{_PLANS}/pegging",
        "peg",
        "pegging",
        results.PEGGING,
        about="Which supply is meant for which demand",
        tag="Plans",
        within=results.PLANNING_RUNS,
        choices={"supply_kind": SUPPLY_KINDS, "demand_kind": DEMAND_KINDS},
    ),
    Resource(
        f"{_PLANS}/capacity",
        "capacity load",
        "capacity loads",
        results.CAPACITY_LOADS,
        about="Planned hours against available hours of a work centre in a week",
        tag="Plans",
        within=results.PLANNING_RUNS,
    ),
    Resource(
        f"{_PLANS}/stock-parameters",
        "stock parameter",
        "stock parameters",
        results.STOCK_PARAMETERS,
        about="How items are stocked, and how far their stock reaches without new orders",
        tag="Plans",
        within=results.PLANNING_RUNS,
        kept_under=("item",),
    ),
    Resource(
        "models",
        "model version",
        "model versions",
        results.MODEL_VERSIONS,
        about="Trained versions of models; of a name, the champion is in use",
        tag="Models",
        choices={"kind": MODEL_KINDS, "stage": MODEL_STAGES},
    ),
    Resource(
        "alerts",
        "alert",
        "alerts",
        results.ALERTS,
        about="What a person should look at, the most severe first",
        tag="Alerts",
        choices={"severity": SEVERITIES, "state": ALERT_STATES},
    ),
)
