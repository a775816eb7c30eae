"""A dispatcher in a process of its own whose owner never comes back, to be killed by a test."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pydantic import SecretStr

from actors.dispatch import Dispatcher
from actors.owner import Connections, Owner
from actors.run import JobRun
from settings import Settings


class Hangs:
    """Work without end."""

    name = "planning"

    async def perform(self, run: JobRun) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


async def serve(database_url: str, redis_url: str) -> None:
    """Serve the queue for ever; every attempt hangs."""
    settings = Settings(
        data_dir=Path("unused"),
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        job_heartbeat_s=1.0,
        database_pool_size=2,
    )

    connections = Connections(settings, "doomed")
    owner = Owner(Hangs(), connections)
    await Dispatcher(settings, connections, {"planning": owner}, name="doomed").run()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
