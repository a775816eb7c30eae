"""The Serve applications: the API with its sockets, and the forecaster. Wiring only.

Both replicas import this module, so what only one of them needs is imported where it is built.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind
from ray import serve

from actors.observe import start_observing
from actors.priority import step_back
from actors.telemetry import continued, joined, traceparent
from actors.wiring import FORECASTER_APP, call_forecaster
from settings import load

if TYPE_CHECKING:
    import polars as pl

    from forecasting.run import ChunkResult, Classification
    from serve.forecaster import AdHoc

API_APP = "api"
API_PREFIX = "/"


async def predict_on_replicas(series: list[AdHoc], horizon: int) -> list[dict[str, Any]]:
    """Send ad-hoc series to the forecaster deployment; its ConnectionError becomes the API's 503."""
    answer: list[dict[str, Any]] = await call_forecaster("predict", (series, horizon), traceparent())
    return answer


def build_api() -> Any:
    """Build the API in the replica that serves it."""
    # Imported here: the application must never be pickled with this module.
    from serve.application import build_app

    return build_app(load(), predict_on_replicas)


# Open sockets hold a slot each, so the limit is far above what a replica ever serves at once; replicas are fixed,
# since idle sockets would look like load to an autoscaler.
@serve.deployment(
    num_replicas=1,
    # A replica that replaces another one is up before the old one goes: no request waits for an import.
    max_surge_percent=100,
    max_ongoing_requests=2000,
    graceful_shutdown_timeout_s=10,
    ray_actor_options={"num_cpus": 0.5},
)
@serve.ingress(build_api)
class Api:
    """REST and WebSocket API."""


@serve.deployment(
    max_ongoing_requests=8,
    autoscaling_config={"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 2},
    ray_actor_options={"num_cpus": 1},
    graceful_shutdown_timeout_s=10,
)
class ForecasterDeployment:
    """CPU inference. Loaded and warm before the replica counts as ready; a model that fails to load fails it."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Serve awaits a replica's constructor
        from actors.metrics_exchange import MetricsReporter
        from actors.owner import connect_redis
        from serve.forecaster import Forecaster, load_chronos

        settings = load()
        start_observing(settings, "forecaster")
        step_back()
        if settings.chronos_model is not None:
            _bound_threads()
        self._forecaster = Forecaster(load_chronos(settings.chronos_model))
        self._forecaster.warm_up()
        self._reporter = MetricsReporter(connect_redis(settings), settings.metrics_interval_s)
        self._reporter.start()

    async def fit_shard(
        self,
        series: pl.DataFrame,
        classification: Classification,
        lead_times: pl.DataFrame,
        horizon: int,
        service_levels: dict[str, float],
        caller: str | None = None,
    ) -> ChunkResult:
        """Forecast one shard of a run, off the event loop; `caller` is the traceparent of the attempt."""
        with continued(caller, "fit shard", items=classification.items.height, horizon=horizon):
            return await asyncio.to_thread(
                self._forecaster.fit_shard, series, classification, lead_times, horizon, service_levels
            )

    @serve.batch(  # type: ignore[untyped-decorator]  # Ray ships no types
        max_batch_size=32, batch_wait_timeout_s=0.01
    )
    async def predict(
        self, asked: list[tuple[list[AdHoc], int]], callers: list[str | None]
    ) -> list[list[dict[str, Any]]]:
        """Ad-hoc requests that arrive together are answered in one pass, a step of the first one's trace."""
        with joined(callers[0], "predict", SpanKind.CONSUMER, *callers[1:], requests=len(asked)):
            return await asyncio.to_thread(self._forecaster.predict, asked)


def _bound_threads() -> None:
    """One thread a replica: two replicas with a thread pool each would fight for the same cores."""
    import torch

    torch.set_num_threads(1)


_api: Any = Api
_forecaster: Any = ForecasterDeployment
api = _api.bind()
forecaster = _forecaster.bind()
"""Import paths of a Serve config file: `serve.deployments:api`, `serve.deployments:forecaster`."""
APPLICATIONS = ((FORECASTER_APP, forecaster, None), (API_APP, api, API_PREFIX))
