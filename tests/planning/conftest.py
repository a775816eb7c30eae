"""Shared ways to state a small plant in a test."""

from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest

from planning.inputs import PlanInputs, PlanParameters
from planning.plan import Plan, plan

TODAY = date(2026, 11, 23)  # a Monday


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., Plan]:
    """Plan a plant given as lists of row dictionaries per frame; `today`, `weeks`, `holidays` ... are parameters."""

    def run(today: date = TODAY, weeks: int = 8, **rest: Any) -> Plan:
        names = PlanInputs.__dataclass_fields__
        frames = {
            name: pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame()
            for name, rows in rest.items()
            if name in names
        }
        parameters = {name: value for name, value in rest.items() if name not in names}
        frames.setdefault("items", pl.DataFrame())
        return plan(PlanInputs(**frames), PlanParameters(today=today, horizon_weeks=weeks, **parameters))

    return run
