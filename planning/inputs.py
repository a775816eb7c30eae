"""What a plan is made from: the frames and their columns, the parameters, and the list of what was wrong in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Final

import polars as pl

from planning.calendar import MONDAY_TO_FRIDAY, Calendar

_TEXT, _NUMBER, _WHOLE, _DAY, _FLAG = pl.String(), pl.Float64(), pl.Int64(), pl.Date(), pl.Boolean()

COLUMNS: Final[Mapping[str, Mapping[str, pl.DataType]]] = {
    "items": {
        "code": _TEXT,
        "kind": _TEXT,
        "cost": _NUMBER,
        "lead_time_days": _WHOLE,
        "min_order_qty": _NUMBER,
        "order_multiple": _NUMBER,
        "safety_stock": _NUMBER,
        "service_level": _NUMBER,
        "active": _FLAG,
    },
    "suppliers": {"code": _TEXT, "lead_time_days": _WHOLE, "active": _FLAG},
    "supplier_terms": {
        "item": _TEXT,
        "supplier": _TEXT,
        "price": _NUMBER,
        "min_order_qty": _NUMBER,
        "order_multiple": _NUMBER,
        "lead_time_days": _WHOLE,
        "priority": _WHOLE,
    },
    "bom_lines": {
        "parent": _TEXT,
        "component": _TEXT,
        "quantity_per": _NUMBER,
        "scrap_share": _NUMBER,
        "valid_from": _DAY,
        "valid_to": _DAY,
    },
    "stock": {"item": _TEXT, "on_hand": _NUMBER, "reserved": _NUMBER, "quarantined": _NUMBER},
    "open_orders": {"kind": _TEXT, "item": _TEXT, "quantity": _NUMBER, "due_date": _DAY},
    "firm_orders": {"item": _TEXT, "quantity": _NUMBER, "due_date": _DAY},
    "work_centres": {"code": _TEXT, "hours_per_day": _NUMBER, "efficiency": _NUMBER},
    "routings": {"item": _TEXT, "work_centre": _TEXT, "setup_hours": _NUMBER, "unit_hours": _NUMBER},
    "forecast": {"item": _TEXT, "week": _DAY, "mean": _NUMBER},
    "forecast_series": {
        "item": _TEXT,
        "abc": _TEXT,
        "xyz": _TEXT,
        "demand_class": _TEXT,
        "lead_time_mean": _NUMBER,
        "lead_time_quantile": _NUMBER,
        "service_level": _NUMBER,
    },
    "weekly_history": {"item": _TEXT, "week": _DAY, "quantity": _NUMBER},
}
"""The columns that planning reads, per frame; more may be there. Nullable ones may be missing altogether."""

_REQUIRED: Final = {
    "items": {"code"},
    "suppliers": {"code"},
    "supplier_terms": {"item", "supplier"},
    "bom_lines": {"parent", "component", "quantity_per"},
    "stock": {"item", "on_hand"},
    "open_orders": {"kind", "item", "quantity", "due_date"},
    "firm_orders": {"item", "quantity", "due_date"},
    "work_centres": {"code", "hours_per_day"},
    "routings": {"item", "work_centre", "unit_hours"},
    "forecast": {"item", "week", "mean"},
    "forecast_series": {"item"},
    "weekly_history": {"item", "week", "quantity"},
}


@dataclass(frozen=True)
class PlanInputs:
    """Everything a plan is made from; each frame may be empty, a frame without any column too."""

    items: pl.DataFrame
    suppliers: pl.DataFrame = field(default_factory=pl.DataFrame)
    supplier_terms: pl.DataFrame = field(default_factory=pl.DataFrame)
    bom_lines: pl.DataFrame = field(default_factory=pl.DataFrame)
    stock: pl.DataFrame = field(default_factory=pl.DataFrame)
    open_orders: pl.DataFrame = field(default_factory=pl.DataFrame)
    firm_orders: pl.DataFrame = field(default_factory=pl.DataFrame)
    work_centres: pl.DataFrame = field(default_factory=pl.DataFrame)
    routings: pl.DataFrame = field(default_factory=pl.DataFrame)
    forecast: pl.DataFrame = field(default_factory=pl.DataFrame)
    forecast_series: pl.DataFrame = field(default_factory=pl.DataFrame)
    weekly_history: pl.DataFrame = field(default_factory=pl.DataFrame)

    def conformed(self) -> "PlanInputs":
        """The same with exactly the columns of COLUMNS; raises ValueError naming the frame and its missing columns."""
        return replace(self, **{f.name: _conform(f.name, getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True)
class PlanParameters:
    """How to plan. `working_days` are worked on a free weekday.

    `order_cost` (money per order) and `holding_rate` (share of cost per year) give the EOQ.
    """

    today: date
    horizon_weeks: int = 26
    firm_horizon_weeks: int = 3
    holidays: frozenset[date] = frozenset()
    weekmask: str = MONDAY_TO_FRIDAY
    working_days: frozenset[date] = frozenset()
    service_levels: Mapping[str, float] = field(default_factory=lambda: {"A": 0.97, "B": 0.93, "C": 0.85})
    order_cost: float | None = None
    holding_rate: float | None = None

    def calendar(self) -> Calendar:
        """The working days; raises ValueError for a calendar on which nothing can be planned."""
        return Calendar(self.today, self.horizon_weeks, self.holidays, self.weekmask, self.working_days)


class Findings:
    """Collects, item by item, what is wrong in the data; the plan goes on without it."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []

    def name(self, items: pl.Series | list[str], field_name: str, message: str | pl.Expr) -> None:
        """Name each of `items` under a field; `message` may be an expression over the column `item`."""
        frame = pl.DataFrame({"item": pl.Series(items, dtype=pl.String)})
        text = pl.lit(message) if isinstance(message, str) else message
        self._frames.append(frame.select("item", field=pl.lit(field_name), message=text))

    def frame(self) -> pl.DataFrame:
        """warnings(item, field, message), each once, by item and field."""
        empty = pl.DataFrame(schema={"item": pl.String, "field": pl.String, "message": pl.String})
        found = pl.concat([empty, *self._frames])
        return found.with_columns(pl.col("item").fill_null("")).unique().sort("item", "field", "message")


def _conform(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Select and cast the columns of a frame; a missing nullable column becomes null."""
    missing = _REQUIRED[name] - set(frame.columns)
    if missing and frame.width:
        raise ValueError(f"the frame {name} lacks {', '.join(sorted(missing))}")
    columns = [
        (pl.col(column) if column in frame.columns else pl.lit(None)).cast(dtype).alias(column)
        for column, dtype in COLUMNS[name].items()
    ]
    return frame.select(columns) if frame.width else pl.DataFrame(schema=dict(COLUMNS[name]))
