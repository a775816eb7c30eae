"""The one file that knows both our plain classes and Ray: actors, their names, and how they find each other.

Every worker process imports this module first, so what only one of them needs is imported where it is built.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import ray
import structlog
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from actors.dispatch import Dispatcher
from actors.logs import configure_logs
from actors.owner import Connections, Outcome, Owner, Work
from settings import load

if TYPE_CHECKING:
    import polars as pl

    from forecasting.run import ChunkResult, Classification

NAMESPACE = "fmrp"
FORECASTER_APP = "forecaster"
DISPATCHER = "dispatcher"
# A restarted actor takes a few seconds to import its libraries; a call made meanwhile waits for it this long.
RESTART_PATIENCE_S = 30.0

log = structlog.get_logger(__name__)


async def fit_shard(
    series: pl.DataFrame, classification: Classification, lead_times: pl.DataFrame, horizon: int
) -> ChunkResult:
    """Have one forecaster replica fit a shard of series."""
    chunk: ChunkResult = await call_forecaster("fit_shard", series, classification, lead_times, horizon)
    return chunk


async def call_forecaster(method: str, *arguments: Any) -> Any:
    """Call a method of the forecaster deployment.

    Raises:
        ConnectionError: no replica is there, it died, or all are busy; another attempt may find one.
    """
    from ray import serve

    try:
        handle = serve.get_app_handle(FORECASTER_APP)
        return await getattr(handle, method).remote(*arguments)
    except RayTaskError:
        raise  # the model's own fault: another attempt would meet it again
    except (RayError, RayServeException) as error:
        raise ConnectionError(f"the forecaster was lost: {error}") from error


def build_work(name: str, connections: Connections) -> Work:
    """The work of an owning actor by its name."""
    if name == "ingestion":
        from actors.ingestion import IngestionWork

        return IngestionWork(connections)
    if name == "forecasting":
        from actors.forecasting import ForecastingWork

        return ForecastingWork(connections, fit_shard)
    if name == "planning":
        from actors.planning import PlanningWork

        return PlanningWork(connections)
    raise KeyError(name)


class OwnerActor:
    """Ray's shell around an `Owner`. Rebuilt from settings and database whenever Ray restarts it."""

    async def __init__(self, name: str) -> None:  # type: ignore[misc]  # Ray awaits an actor's constructor
        settings = load()
        configure_logs(settings.log_level)
        connections = Connections(settings, name)
        self._owner = Owner(build_work(name, connections), connections)

    async def run(self, job_id: str, attempt: int) -> Outcome:
        """Run one attempt of a job."""
        return await self._owner.run(job_id, attempt)

    async def ping(self) -> str:
        """Answer, even while a job runs."""
        return "pong"


class IngestionActor(OwnerActor):
    """Named apart from the others so that a process list tells which is which."""


class ForecastingActor(OwnerActor):
    """See `IngestionActor`."""


class PlanningActor(OwnerActor):
    """See `IngestionActor`."""


OWNERS = {"ingestion": IngestionActor, "forecasting": ForecastingActor, "planning": PlanningActor}


class DispatcherActor:
    """Ray's shell around the `Dispatcher`; it serves the queue from the moment it exists, restarts included."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Ray awaits an actor's constructor
        settings = load()
        configure_logs(settings.log_level)
        self._connections = Connections(settings, DISPATCHER)
        owners = {name: _caller(name) for name in OWNERS}
        self._dispatcher = Dispatcher(settings, self._connections, owners)
        self._serving = asyncio.create_task(self._dispatcher.run())

    async def ping(self) -> str:
        """Answer while the queue is served.

        Raises:
            RuntimeError: the serving task has ended, which only `stop` should bring about.
        """
        if self._serving.done():
            raise RuntimeError("the dispatcher no longer serves the queue")
        return "pong"

    async def stop(self, patience_s: float = 10.0) -> None:
        """Take no more jobs, and give those in hand a while to end."""
        await self._dispatcher.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._serving), patience_s)


def _caller(name: str) -> Any:
    async def run_attempt(job_id: str, attempt: int) -> Outcome:
        await _await_alive(name)
        outcome: Outcome = await ray.get_actor(name, namespace=NAMESPACE).run.remote(job_id, attempt)
        return outcome

    return run_attempt


async def _await_alive(name: str) -> None:
    """Wait for an owner that Ray is restarting; a call sent to it meanwhile would fail and cost the job an attempt."""
    deadline = asyncio.get_running_loop().time() + RESTART_PATIENCE_S
    while True:
        try:
            await ray.get_actor(name, namespace=NAMESPACE).ping.remote()
            return
        except ActorUnavailableError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.25)


def start_actors() -> list[Any]:
    """Create the owning actors and the dispatcher, or find them running; returns their handles, dispatcher last.

    They are detached: the process that started them may go, the actors stay with the cluster.
    """
    options: dict[str, Any] = {
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "num_cpus": 0.1,
    }
    handles = [ray.remote(actor).options(name=name, **options).remote(name) for name, actor in OWNERS.items()]
    handles.append(ray.remote(DispatcherActor).options(name=DISPATCHER, **options).remote())
    ray.get([handle.ping.remote() for handle in handles], timeout=120)
    return handles
