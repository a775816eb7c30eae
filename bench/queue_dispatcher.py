"""A dispatcher in a process of its own, its owners beside it: `python -m bench.queue_dispatcher`, settings by FMRP_*.

The real dispatcher, job table and owner; only Ray between the two is left out.
"""

from __future__ import annotations

import asyncio

from actors.dispatch import Dispatcher
from actors.logs import configure_logs
from actors.owner import Connections, Owner
from bench import noop_work
from settings import load


async def serve() -> None:
    """Serve the queue until killed."""
    settings = load()
    configure_logs("ERROR")
    connections = Connections(settings, "bench")
    owners = {name: Owner(work(connections), connections).run for name, work in noop_work.WORKS.items()}
    await Dispatcher(settings, connections, owners).run()


if __name__ == "__main__":
    asyncio.run(serve())
