"""The forecaster replica's plain class: shards, ad-hoc series, and a Chronos model from a local checkpoint."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from forecasting.chronos_model import build_tiny_checkpoint
from forecasting.lead_time import SERVICE_LEVELS
from forecasting.run import classify, forecast
from serve.forecaster import Forecaster, load_chronos

MONDAY = date(2025, 1, 6)
WEEKS = 80


@pytest.fixture(scope="module")
def series() -> pl.DataFrame:
    """Three smooth items."""
    rows = [
        {"item": item, "week": MONDAY + timedelta(weeks=week), "quantity": base + float(week % 5)}
        for item, base in (("A", 20.0), ("B", 50.0), ("C", 90.0))
        for week in range(WEEKS)
    ]
    return pl.DataFrame(rows)


def test_shards_give_what_the_whole_gives(series: pl.DataFrame) -> None:
    forecaster = Forecaster()
    classification = classify(series, horizon=6)
    lead_times = pl.DataFrame({"item": ["A", "B", "C"], "lead_time_weeks": [2.0, 2.0, 2.0]})
    parts = [
        forecaster.fit_shard(
            series.filter(pl.col("item").is_in(codes)), classification.part(codes), lead_times, 6, SERVICE_LEVELS
        ).forecast
        for codes in (["A"], ["B", "C"])
    ]
    whole = forecast(series, horizon=6, lead_times=lead_times).forecast
    assert pl.concat(parts).sort("item", "week").equals(whole)


def test_requests_that_arrive_together_are_answered_apart_and_in_order() -> None:
    asked = [
        ([("X", MONDAY, [5.0] * 30), ("Y", MONDAY, [None, 3.0])], 4),
        ([("X", MONDAY, [500.0] * 30)], 7),
    ]
    first, second = Forecaster().predict(asked)
    assert [each["item"] for each in first] == ["X", "Y"]
    assert [len(each["rows"]) for each in first] == [4, 4]
    assert [len(each["rows"]) for each in second] == [7]
    assert first[0]["rows"][0]["mean"] == pytest.approx(5.0, rel=0.2)
    assert second[0]["rows"][0]["mean"] == pytest.approx(500.0, rel=0.2)


def test_a_chronos_checkpoint_competes_through_the_same_door(tmp_path: Path, series: pl.DataFrame) -> None:
    chronos = load_chronos(str(build_tiny_checkpoint(tmp_path / "tiny", seed=1)))
    assert chronos is not None
    result = forecast(series, horizon=6, chronos=chronos)
    assert chronos.name in result.metrics["model"].to_list(), "the learned model took no part in the backtest"
    assert Forecaster(chronos).predict([([("A", MONDAY, [20.0] * 60)], 3)])[0][0]["rows"]


def test_a_checkpoint_that_does_not_load_fails_the_replica(tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError)):
        load_chronos(str(tmp_path / "nothing-here"))
