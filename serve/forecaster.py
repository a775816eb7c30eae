"""The forecaster: fits shards for the daily run and answers for series sent along. A plain class; Serve wraps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl
import structlog

from forecasting.models import Forecaster as Model
from forecasting.run import ChunkResult, Classification, classify, forecast, forecast_chunk

AdHoc = tuple[str, date, list[float | None]]

log = structlog.get_logger(__name__)


def load_chronos(path_or_hub_id: str | None) -> Model | None:
    """The configured Chronos model, ready to predict; None when none is configured.

    A model that does not load fails the replica: answering with another one under its name would be worse.
    """
    if path_or_hub_id is None:
        return None
    from forecasting.chronos_model import ChronosForecaster

    model = ChronosForecaster(path_or_hub_id)
    log.info("chronos loaded", model=path_or_hub_id)
    return model


class Forecaster:
    """Holds the loaded models of one replica."""

    def __init__(self, chronos: Model | None = None) -> None:
        self._chronos = chronos

    def warm_up(self) -> None:
        """Import and compile what the first forecast would otherwise wait for."""
        weeks = [date(2024, 1, 1) + timedelta(weeks=week) for week in range(60)]
        series = pl.DataFrame(
            {"item": ["warm-up"] * 60, "week": weeks, "quantity": [float(10 + week % 7) for week in range(60)]}
        )
        forecast(series, horizon=4, chronos=self._chronos)

    def fit_shard(
        self,
        series: pl.DataFrame,
        classification: Classification,
        lead_times: pl.DataFrame,
        horizon: int,
        service_levels: Mapping[str, float],
    ) -> ChunkResult:
        """Forecast one shard of a run; service levels are by ABC class."""
        return forecast_chunk(
            series,
            classification,
            horizon=horizon,
            lead_times=lead_times,
            service_levels=service_levels,
            chronos=self._chronos,
        )

    def predict(self, asked: Sequence[tuple[Sequence[AdHoc], int]]) -> list[list[dict[str, Any]]]:
        """Answer several requests, each (series, horizon), in one pass per horizon.

        Returns, per request and series in the order asked: item, model, reason, rows (week, mean, q10 .. q90).
        """
        answers: list[list[dict[str, Any]]] = [[] for _ in asked]
        for horizon in {horizon for _, horizon in asked}:
            chosen = [number for number, (_, wanted) in enumerate(asked) if wanted == horizon]
            keyed = {
                f"{number}:{position}": each for number in chosen for position, each in enumerate(asked[number][0])
            }
            found = self._predict(keyed, horizon)
            for number in chosen:
                answers[number] = [found[f"{number}:{position}"] for position in range(len(asked[number][0]))]
        return answers

    def _predict(self, keyed: dict[str, AdHoc], horizon: int) -> dict[str, dict[str, Any]]:
        frame = pl.concat(_weekly(key, start, values) for key, (_, start, values) in keyed.items())
        chunk = forecast_chunk(frame, classify(frame, horizon=horizon), horizon=horizon, chronos=self._chronos)
        rows = chunk.forecast.partition_by("item", as_dict=True)
        made = {row["item"]: row for row in chunk.series.iter_rows(named=True)}
        return {
            key: {
                "item": keyed[key][0],
                "model": made[key]["model"],
                "reason": made[key]["reason"],
                "rows": rows[(key,)].drop("item").to_dicts(),
            }
            for key in keyed
        }


def _weekly(key: str, start: date, values: Sequence[float | None]) -> pl.DataFrame:
    weeks = [start + timedelta(weeks=position) for position in range(len(values))]
    return pl.DataFrame(
        {"item": [key] * len(values), "week": weeks, "quantity": list(values)},
        schema={"item": pl.String, "week": pl.Date, "quantity": pl.Float64},
    ).with_columns(pl.col("quantity").fill_null(0.0))
