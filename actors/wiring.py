"""Where our plain classes meet Ray: actors, their names, and how they find each other. Those of sources, which come and
go, are in `source_actors`; no other file of this room knows Ray.

Every worker process imports this module first, so what only one of them needs is imported where it is built.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ray
import structlog
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from actors import metrics
from actors.attempts import OwnerFamily, OwnerPort
from actors.dispatch import Dispatcher
from actors.kinds import KINDS, MAINTENANCE, SOURCE, WORKS, load_work_modules, owner_families
from actors.maintenance import MaintenanceWork
from actors.observe import observe_connections, observed_call, start_observing
from actors.owner import Connections, Outcome, Owner, Work
from actors.priority import step_back
from actors.run import Attempt
from actors.telemetry import traceparent
from settings import Settings, load

if TYPE_CHECKING:
    import polars as pl

    from forecasting.run import ChunkResult, Classification

NAMESPACE = "fmrp"
FORECASTER_APP = "forecaster"
DISPATCHER = "dispatcher"
# A restarted actor takes a few seconds to import its libraries; a call made meanwhile waits for it this long.
RESTART_PATIENCE_S = 30.0
# After a lost head the actors are back before Serve is.
START_PATIENCE_S = 60.0
# A shard takes seconds; one that takes this long is not being worked on.
CALL_PATIENCE_S = 600.0
DRAIN_LOOK_S = 2.0
# Detached: the process that started an actor may go, the actor stays with the cluster.
OPTIONS: dict[str, Any] = {
    "namespace": NAMESPACE,
    "lifetime": "detached",
    "get_if_exists": True,
    "max_restarts": -1,
    "num_cpus": 0.1,
}

log = structlog.get_logger(__name__)


async def fit_shard(
    series: pl.DataFrame,
    classification: Classification,
    lead_times: pl.DataFrame,
    horizon: int,
    service_levels: dict[str, float],
) -> ChunkResult:
    """Have one forecaster replica fit a shard of series; waits while the forecaster starts."""
    await _await_forecaster()
    chunk: ChunkResult = await call_forecaster(
        "fit_shard", series, classification, lead_times, horizon, service_levels, traceparent()
    )
    return chunk


async def call_forecaster(method: str, *arguments: Any) -> Any:
    """Call a method of the forecaster deployment.

    Raises:
        ConnectionError: no replica is there, it died, or all are busy; another attempt may find one.
    """
    from ray import serve

    try:
        handle = serve.get_app_handle(FORECASTER_APP)
        with observed_call(method):
            async with asyncio.timeout(CALL_PATIENCE_S):
                return await getattr(handle, method).remote(*arguments)
    except RayTaskError:
        raise  # the model's own fault: another attempt would meet it again
    except (RayError, RayServeException, TimeoutError) as error:
        raise ConnectionError(f"the forecaster was lost: {error or 'it did not answer'}") from error


async def _await_forecaster() -> None:
    """Wait while the forecaster starts: a call made before it runs can wait for ever, as Serve never hears of it."""
    deadline = asyncio.get_running_loop().time() + START_PATIENCE_S
    while not await asyncio.to_thread(_forecaster_runs):
        if asyncio.get_running_loop().time() > deadline:
            raise ConnectionError("the forecaster has not started")
        await asyncio.sleep(0.25)


def _forecaster_runs() -> bool:
    from ray import serve
    from ray.serve.schema import ApplicationStatus

    try:
        application = serve.status().applications.get(FORECASTER_APP)
    except (RayError, RayServeException):
        return False
    return application is not None and application.status == ApplicationStatus.RUNNING


def build_work(name: str, connections: Connections) -> Work:
    """The work of an owning actor by its name, or by that of its family."""
    if name == SOURCE:
        from actors.ingestion import IngestionWork

        return IngestionWork(connections)
    if name == "forecasting":
        from actors.forecasting import ForecastingWork

        return ForecastingWork(connections, fit_shard)
    if name == "planning":
        from actors.planning import PlanningWork

        return PlanningWork(connections)
    return WORKS[name](connections)


class OwnerActor:
    """Ray's shell around an `Owner`. Rebuilt from settings and database whenever Ray restarts it."""

    async def __init__(self, name: str) -> None:  # type: ignore[misc]  # Ray awaits an actor's constructor
        settings = load()
        # One of a family goes by the family's name: what it counts is public, and there are any number of sources.
        process = name.partition(":")[0]
        start_observing(settings, process)
        step_back()
        connections = Connections(settings, process)
        self._reporter = observe_connections(connections.engine, connections.redis, settings)
        self._owner = Owner(build_work(process, connections), connections)

    async def run(self, attempt: Attempt) -> Outcome:
        """Run one attempt of a job."""
        return await self._owner.run(attempt)

    async def cancel(self, job_id: str, number: int) -> None:
        """Ask an attempt to stop."""
        await self._owner.cancel(job_id, number)

    async def ping(self) -> dict[str, object]:
        """Answer, even while jobs run, with the process and the jobs in hand."""
        return {"pid": os.getpid(), "in_hand": dict(self._owner.in_hand)}


class ForecastingActor(OwnerActor):
    """Named apart from the others so that a process list tells which is which."""


class PlanningActor(OwnerActor):
    """See `ForecastingActor`."""


class WorkModuleActor(OwnerActor):
    """An owner whose work comes from a work module."""


OWNERS: dict[str, type[OwnerActor]] = {
    "forecasting": ForecastingActor,
    "planning": PlanningActor,
}


class RayOwner:
    """An owning actor, found by its name wherever it is; waits while Ray restarts it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._handle: Any = None

    async def run(self, attempt: Attempt) -> Outcome:
        """Run an attempt. Raises RayError when the actor dies over it."""
        if self._handle is None:
            await self._await_alive()
        try:
            outcome: Outcome = await self._handle.run.remote(attempt)
        except RayError:
            # Restarting or gone: the next call looks it up and waits, so that it does not cost its job an attempt.
            self._handle = None
            raise
        return outcome

    async def cancel(self, job_id: str, number: int) -> None:
        """Ask an attempt to stop."""
        await self._find().cancel.remote(job_id, number)

    async def ping(self) -> object:
        """Answer, even while jobs run."""
        return await self._find().ping.remote()

    async def replace(self) -> None:
        """Kill the actor's process; Ray starts it again."""
        handle, self._handle = self._find(), None
        await asyncio.to_thread(ray.kill, handle, no_restart=False)

    def _find(self) -> Any:
        return ray.get_actor(self._name, namespace=NAMESPACE)

    async def _await_alive(self) -> None:
        deadline = asyncio.get_running_loop().time() + RESTART_PATIENCE_S
        while True:
            try:
                handle = self._find()
                await handle.ping.remote()
                self._handle = handle
                return
            except (ActorUnavailableError, ValueError):
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.25)


class DispatcherActor:
    """Ray's shell around the `Dispatcher`; it serves the queue from the moment it exists, restarts included.

    When its node is to go (pod eviction, spot notice, `ray start` told to stop) or somebody asks it to drain, it hands
    over and ends, and Ray starts it again where there is room.
    """

    async def __init__(self, name: str) -> None:  # type: ignore[misc]  # Ray awaits an actor's constructor
        settings = load()
        start_observing(settings, name)
        connections = Connections(settings, name)
        self._reporter = observe_connections(connections.engine, connections.redis, settings)
        metrics.prepare_kinds(KINDS)
        # What stays the same when this dispatcher is started anew, and is never there twice.
        actor = f"{settings.cluster}/{name}" if settings.cluster else ray.get_runtime_context().get_actor_id()
        self._dispatcher = Dispatcher(settings, connections, _owners(connections), name=name, actor=actor)
        self._is_leaving = False
        self._serving = asyncio.create_task(self._serve())
        self._watching = asyncio.create_task(self._watch_node())

    async def ping(self) -> dict[str, object]:
        """Answer with the dispatcher's state and process.

        Raises:
            RuntimeError: the serving task has ended, which only `stop` should bring about.
        """
        if self._serving.done():
            raise RuntimeError("the dispatcher no longer serves the queue")
        return {"state": self._dispatcher.state, "pid": os.getpid()}

    async def drain(self) -> None:
        """Hand over and begin anew in a fresh process."""
        await self._dispatcher.stop()

    async def stop(self) -> None:
        """Drain for good: the caller ends the actor afterwards."""
        self._is_leaving = True
        await self._dispatcher.stop()
        await asyncio.wait({self._serving})
        await self._reporter.stop()

    async def _serve(self) -> None:
        await self._dispatcher.run()
        if not self._is_leaving:
            log.info("dispatcher has drained; its process ends and Ray starts it again")
            os._exit(1)

    async def _watch_node(self) -> None:
        """Drain when this node is draining, as told by the cluster."""
        node = ray.get_runtime_context().get_node_id()
        while node not in await asyncio.to_thread(_draining_nodes):  # noqa: ASYNC110 - Ray tells nobody, one has to ask
            await asyncio.sleep(DRAIN_LOOK_S)
        log.warning("this node is to go: draining", node=node)
        await self._dispatcher.stop()


def _draining_nodes() -> Mapping[str, int]:
    """Nodes about to go, with their deadlines. Ray has no public call for it; its own Train asks the same way."""
    try:
        nodes: Mapping[str, int] = ray._private.state.state.get_draining_nodes()
    except Exception as error:  # noqa: BLE001 - the head is away; then nobody can tell
        log.debug("draining nodes not known", reason=str(error))
        return {}
    return nodes


def _owners(connections: Connections) -> dict[str, OwnerPort | OwnerFamily]:
    from actors.source_actors import SourceOwners

    owners: dict[str, OwnerPort | OwnerFamily] = {name: RayOwner(name) for name in single_owners()}
    for family in owner_families():
        owners[family] = OwnerFamily(SourceOwners(connections.settings.connector_processes).port)
    owners[MAINTENANCE] = Owner(MaintenanceWork(connections), connections)
    return owners


def single_owners() -> dict[str, type[OwnerActor]]:
    """The owning actors that are always there: ours, and those of work modules."""
    families = owner_families()
    return OWNERS | {name: WorkModuleActor for name in WORKS if name not in families}


def dispatcher_names(settings: Settings) -> list[str]:
    """Names of the dispatchers that serve side by side."""
    return [f"{DISPATCHER}-{number + 1}" for number in range(settings.dispatchers)]


def start_dispatcher(name: str) -> Any:
    """Create a dispatcher of that name, or find it running; returns its handle."""
    return ray.remote(DispatcherActor).options(name=name, **OPTIONS).remote(name)


def start_actors() -> list[Any]:
    """Create the owning actors and the dispatchers, or find them running; returns their handles, dispatchers last.

    Those of sources are made by the dispatchers when there is something to do. The others are detached: the process
    that started them may go, the actors stay with the cluster.
    """
    settings = load()
    load_work_modules(settings.work_modules)
    handles = [ray.remote(actor).options(name=name, **OPTIONS).remote(name) for name, actor in single_owners().items()]
    handles += [start_dispatcher(name) for name in dispatcher_names(settings)]
    ray.get([handle.ping.remote() for handle in handles], timeout=120)
    return handles
