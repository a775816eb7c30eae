"""A dispatcher in a process of its own: `python -m bench.queue_dispatcher NAME [beside|ray]`, set by FMRP_*.

The real dispatcher, job table and owners: beside it in the same process, or as Ray actors. Fault tests run it too.
"""

from __future__ import annotations

import asyncio
import os
import sys

from actors.attempts import OwnerPort
from actors.dispatch import Dispatcher
from actors.kinds import WORKS
from actors.logs import configure_logs
from actors.owner import Connections, Owner
from settings import load


class OwnerBeside(Owner):
    """An owner in the dispatcher's own process."""

    async def ping(self) -> str:
        """Answer at once."""
        return "pong"

    async def replace(self) -> None:
        """The process is the dispatcher's own, and nobody starts it again."""
        os._exit(1)


def beside(connections: Connections) -> dict[str, OwnerPort]:
    """Owners in this process."""
    return {owner: OwnerBeside(work(connections), connections) for owner, work in WORKS.items()}


def in_ray() -> dict[str, OwnerPort]:
    """Owners as Ray actors of a head started here, as in the running system."""
    import ray

    from actors import wiring

    ray.init(address="local", namespace=wiring.NAMESPACE, num_cpus=2, include_dashboard=False, log_to_driver=False)
    for owner in WORKS:
        options = {"name": owner, "namespace": wiring.NAMESPACE, "lifetime": "detached"}
        ray.get(ray.remote(wiring.WorkModuleActor).options(**options).remote(owner).ping.remote())
    return {owner: wiring.RayOwner(owner) for owner in WORKS}


async def serve(name: str, where: str) -> None:
    """Serve the queue until killed."""
    settings = load()
    configure_logs("ERROR")
    connections = Connections(settings, name)
    owners = in_ray() if where == "ray" else beside(connections)
    await Dispatcher(settings, connections, owners, name=name).run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "beside"))
