"""Wait for a job from outside the cluster: its row is asked for the truth, the event stream for liveliness."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import RedisError

from actors.ending import end
from actors.events import JobChanged, JobEvent, JobProgressed
from actors.owner import Connections
from db.models.job import FINAL_STATES, Job
from db.repositories import jobs

ROW_INTERVAL_S = 0.5


async def follow_job(connections: Connections, job_id: uuid.UUID, on_event: Callable[[JobEvent], None]) -> Job:
    """Return the job once it has ended; `on_event` hears its events on the way."""
    listener = asyncio.create_task(_listen(connections, str(job_id), on_event))
    try:
        while True:
            async with connections.sessions() as session:
                job = await jobs.get(session, job_id)
            if job is None:
                raise LookupError(f"no job {job_id}")
            if job.state in FINAL_STATES:
                return job
            await asyncio.sleep(ROW_INTERVAL_S)
    finally:
        await end(listener)


async def _listen(connections: Connections, job_id: str, on_event: Callable[[JobEvent], None]) -> None:
    with suppress(RedisError, OSError):
        async for event in connections.events.follow(await connections.events.newest_id(), block_ms=1000):
            if isinstance(event, (JobChanged, JobProgressed)) and event.data.job_id == job_id:
                on_event(event)
