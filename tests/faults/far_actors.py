"""Places the real actors on a cluster of two nodes: `python -m tests.faults.far_actors ADDRESS NEAR FAR WHERE`.

The owner is placed on the far node, and moves to the near one when Ray takes the far one for dead. WHERE says where the
dispatcher is placed.
"""

from __future__ import annotations

import sys
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors import wiring
from settings import load
from tests.faults import work


def place(address: str, sides: dict[str, str], dispatcher_side: str) -> None:
    """Start owner and dispatcher as the product does, each on its side; returns once both answer."""
    ray.init(address=address, namespace=wiring.NAMESPACE, log_to_driver=False)
    nodes = {
        node["NodeManagerAddress"]: node["NodeID"]
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    }

    def on(side: str) -> dict[str, Any]:
        node = NodeAffinitySchedulingStrategy(nodes[sides[side]], soft=True)
        return {**wiring.OPTIONS, "scheduling_strategy": node}

    owner = ray.remote(wiring.WorkModuleActor).options(name=work.OWNER, **on("far")).remote(work.OWNER)
    ray.get(owner.ping.remote(), timeout=60)
    (name,) = wiring.dispatcher_names(load())
    dispatcher = ray.remote(wiring.DispatcherActor).options(name=name, **on(dispatcher_side)).remote(name)
    ray.get(dispatcher.ping.remote(), timeout=60)


if __name__ == "__main__":
    place(sys.argv[1], {"near": sys.argv[2], "far": sys.argv[3]}, sys.argv[4])
