"""A rolling restart of a running cluster: dispatchers, then the API, then the owning actors, none missed on the way.

Runs in any process that can reach the cluster, on a laptop and in a pod alike by `fmrp restart`. New processes import
the code as it lies on disk by then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError

from actors.events import Draining, DrainingData
from actors.kinds import load_work_modules, owner_families
from actors.owner import Connections
from actors.source_actors import source_actors
from actors.wiring import NAMESPACE, dispatcher_names, single_owners, start_dispatcher
from cluster.local.stack import StackError
from serve.deployments import API_APP, API_PREFIX, api
from settings import Settings

SPARE = "dispatcher-spare"
PATIENCE_S = 120.0
LOOK_S = 0.2

Say = Callable[[str], None]


def rolling_restart(settings: Settings, say: Say) -> None:
    """Restart part by part. Jobs go on or are handed over, requests are answered throughout.

    Raises:
        StackError: a part did not come back in time; what was restarted before stays so.
    """
    load_work_modules(settings.work_modules)
    _restart_dispatchers(settings, say)
    say("Restarting the API: a new replica first, then the old one goes")
    asyncio.run(_tell_sockets(settings))
    serve.run(api, name=API_APP, route_prefix=API_PREFIX)
    for name in single_owners():
        _restart_owner(name, settings.drain_patience_s, say)
    for name in (name for family in owner_families() for name in source_actors(family)):
        _end_source_actor(name, settings.drain_patience_s, say)


async def _tell_sockets(settings: Settings) -> None:
    """Let event sockets reconnect by and by, rather than all of them when their replica goes."""
    connections = Connections(settings, "restart")
    try:
        await connections.events.publish(Draining(data=DrainingData(reason="the API is being restarted")))
    finally:
        await connections.close()


def _restart_dispatchers(settings: Settings, say: Say) -> None:
    """One after the other, while a spare one serves the queue."""
    spare = start_dispatcher(SPARE)
    _await(SPARE, None)
    try:
        for name in dispatcher_names(settings):
            say(f"Restarting {name}")
            dispatcher = ray.get_actor(name, namespace=NAMESPACE)
            old = ray.get(dispatcher.ping.remote(), timeout=PATIENCE_S)
            dispatcher.drain.remote()
            _await(name, old["pid"])
    finally:
        ray.get(spare.stop.remote(), timeout=settings.drain_patience_s + PATIENCE_S)
        ray.kill(spare)


def _restart_owner(name: str, patience_s: float, say: Say) -> None:
    """Once it has nothing in hand; what still runs after the patience begins anew."""
    say(f"Restarting {name}")
    owner = ray.get_actor(name, namespace=NAMESPACE)
    deadline = time.monotonic() + patience_s
    while (old := ray.get(owner.ping.remote(), timeout=PATIENCE_S))["in_hand"] and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    ray.kill(owner, no_restart=False)
    _await(name, old["pid"])


def _end_source_actor(name: str, patience_s: float, say: Say) -> None:
    """Once it has nothing in hand; the next job of its source makes it anew. What still runs then begins anew."""
    say(f"Ending {name}")
    deadline = time.monotonic() + patience_s
    with suppress(RayError, ValueError):  # it is gone, by itself or by what was asked of it
        actor = ray.get_actor(name, namespace=NAMESPACE)
        while time.monotonic() < deadline:
            ray.get(actor.leave.remote(), timeout=PATIENCE_S)
            time.sleep(LOOK_S)
        ray.kill(actor)


def _await(name: str, old_pid: int | None) -> dict[str, Any]:
    """Wait until an actor answers, from another process than the old one; a dispatcher, until it serves."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            answer: dict[str, Any] = ray.get(ray.get_actor(name, namespace=NAMESPACE).ping.remote(), timeout=5)
            if answer.get("pid") != old_pid and answer.get("state", "serving") == "serving":
                return answer
        except (RayError, ValueError):
            pass  # it is just restarting
        time.sleep(LOOK_S)
    raise StackError(f"{name} did not come back within {PATIENCE_S:.0f} s; see its log")
