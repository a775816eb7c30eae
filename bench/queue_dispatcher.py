"""A dispatcher in a process of its own, its owners beside it: `python -m bench.queue_dispatcher NAME`, set by FMRP_*.

The real dispatcher, job table and owners; only Ray between the two is left out. Fault tests run it too.
"""

from __future__ import annotations

import asyncio
import os
import sys

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


async def serve(name: str) -> None:
    """Serve the queue until killed."""
    settings = load()
    configure_logs("ERROR")
    connections = Connections(settings, name)
    owners = {owner: OwnerBeside(work(connections), connections) for owner, work in WORKS.items()}
    await Dispatcher(settings, connections, owners, name=name).run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
