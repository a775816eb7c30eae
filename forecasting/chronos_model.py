"""Chronos-2 and Chronos-Bolt behind the room's interface, from a local path or a hub id.

torch and chronos take seconds to import, so they are imported when a model is loaded, not with this module.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from forecasting.intervals import QUANTILES, Floats, ordered, quantile_moments
from forecasting.models import History, forecast_frame, histories


class ChronosForecaster:
    """A pretrained Chronos-2 or Chronos-Bolt model.

    Quantiles: the model's own, sorted and clipped at 0; levels between them are interpolated, levels outside its
    range refused (a 0.97 from a model trained to 0.9 would be 0.9 in disguise). Mean: the integral of the quantile
    function over (0, 1), see `intervals.quantile_moments`; the library's own "mean" is the median and is not used.

    Args:
        path_or_hub_id: directory of a checkpoint, or a hub id (needs the network or its cache).
        device: torch device, as "cpu" or "cuda". batch_size: series per forward pass; does not change results.

    Raises:
        OSError: no such checkpoint. ValueError: not a Chronos checkpoint with quantiles.
    """

    def __init__(self, path_or_hub_id: str | Path, device: str = "cpu", batch_size: int = 256) -> None:
        with _quiet():
            from chronos import BaseChronosPipeline

            self._pipeline: Any = BaseChronosPipeline.from_pretrained(str(path_or_hub_id), device_map=device)
        if not hasattr(self._pipeline, "quantiles"):
            raise ValueError(f"{path_or_hub_id} is not a Chronos-2 or Chronos-Bolt checkpoint: it has no quantiles")
        self.levels: tuple[float, ...] = tuple(float(level) for level in self._pipeline.quantiles)
        self._is_bolt = type(self._pipeline).__name__ == "ChronosBoltPipeline"
        self.name = "chronos_bolt" if self._is_bolt else "chronos_2"
        self._batch_size = batch_size

    def forecast(self, series: pl.DataFrame, horizon: int, quantiles: tuple[float, ...] = QUANTILES) -> pl.DataFrame:
        """See `models.Forecaster.forecast`. Raises ValueError for a quantile outside the model's own range."""
        if min(quantiles) < self.levels[0] or max(quantiles) > self.levels[-1]:
            raise ValueError(f"{self.name} knows quantiles {self.levels[0]} to {self.levels[-1]}, asked {quantiles}")
        items = histories(series)
        fitted = []
        for start in range(0, len(items), self._batch_size):
            batch = items[start : start + self._batch_size]
            for history, own in zip(batch, self._own_quantiles(batch, horizon), strict=True):
                mean = quantile_moments(own, self.levels)[0]
                wanted = np.stack([np.interp(quantiles, self.levels, week) for week in own])
                fitted.append((history, mean, wanted))
        return forecast_frame(fitted, horizon, quantiles)

    def _own_quantiles(self, batch: list[History], horizon: int) -> Floats:
        """(series, horizon, levels), ordered and >= 0."""
        import torch

        contexts = [torch.tensor(history.values, dtype=torch.float32) for history in batch]
        # a series shorter than an input patch is padded by the library with "missing", as is right
        with _quiet(), torch.inference_mode():
            if self._is_bolt:
                raw = self._pipeline.predict(contexts, prediction_length=horizon)
            else:
                # cross_learning stays off: an item's forecast must not depend on what shares its batch
                parts = self._pipeline.predict(contexts, prediction_length=horizon, batch_size=self._batch_size)
                raw = torch.cat(parts)
        values = np.asarray(raw.float().cpu().numpy(), dtype=np.float64)
        return ordered(values.transpose(0, 2, 1))


def build_tiny_checkpoint(path: str | Path, seed: int = 0) -> Path:
    """Write an untrained Chronos-2 checkpoint of about 30,000 parameters to `path` and return it.

    It proves the loading and forecasting path without a network; its forecasts mean nothing. The same seed gives the
    same weights.
    """
    with _quiet():
        import torch
        from chronos import Chronos2Pipeline
        from chronos.chronos2 import Chronos2Model
        from chronos.chronos2.config import Chronos2CoreConfig

        config = Chronos2CoreConfig(
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=1,
            num_heads=4,
            chronos_config={
                "context_length": 128,
                "input_patch_size": 8,  # must equal the output patch size
                "input_patch_stride": 8,
                "output_patch_size": 8,
                "quantiles": [round(0.1 * tenth, 1) for tenth in range(1, 10)],
                "use_reg_token": True,
                "use_arcsinh": True,
                "max_output_patches": 8,
            },
            # without it the base class loads the wrong pipeline
            chronos_pipeline_class="Chronos2Pipeline",
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Chronos2Model(config)
        Chronos2Pipeline(model).save_pretrained(str(path))
    return Path(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' progress bars and advice off stderr; their errors still raise."""
    # read by the hub client at import; a user's own setting stands
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    loggers = [logging.getLogger(name) for name in ("transformers", "chronos")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
