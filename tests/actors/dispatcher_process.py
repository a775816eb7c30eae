"""A dispatcher in a process of its own whose owner never comes back, to be killed by a test."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pydantic import SecretStr

from actors.dispatch import Dispatcher
from actors.owner import Connections, Outcome
from settings import Settings


async def serve(database_url: str, redis_url: str) -> None:
    """Serve the queue for ever; every attempt hangs."""
    settings = Settings(
        data_dir=Path("unused"),
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        job_heartbeat_s=1.0,
        database_pool_size=2,
    )

    async def hang(job_id: str, attempt: int) -> Outcome:
        await asyncio.Event().wait()
        return Outcome("done")

    await Dispatcher(settings, Connections(settings, "doomed"), {"planning": hang}).run()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
