"""Work for dispatcher tests: it leaves one item behind for each job, fails or waits as it is told."""

from __future__ import annotations

import asyncio

from queue_world import scalar
from sqlalchemy.ext.asyncio import AsyncSession

from actors.owner import Connections
from actors.run import JobRun
from db.models import Item


class PlannedWork:
    """Work that leaves one item behind for each job and fails as it is told, attempt by attempt."""

    name = "planning"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls: list[int] = []

    async def perform(self, run: JobRun) -> None:
        self.calls.append(run.attempt)
        if self.failures:
            raise self.failures.pop(0)

        async def store(session: AsyncSession) -> None:
            session.add(Item(code=str(run.job_id), name="effect", kind="component"))

        await run.finish({"attempt": run.attempt}, "planned", store)


class HeldWork(PlannedWork):
    """Work that begins and then waits to be let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def perform(self, run: JobRun) -> None:
        self.begun.set()
        await self.may_end.wait()
        await super().perform(run)


async def effects(connections: Connections) -> int:
    return int(await scalar(connections, "SELECT count(*) FROM item"))
