"""Jobs for bench.queue: one that does nothing, and one whose only trace is a row in a table without a unique key."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from actors.kinds import Kind
from actors.owner import Connections
from actors.run import JobRun

OWNER = "noop"
EFFECT_TABLE = "CREATE TABLE IF NOT EXISTS bench_effect (job_id uuid NOT NULL, attempt int NOT NULL)"

KINDS = (
    Kind("noop", owner=OWNER, coalesce=False, keyed=False),
    Kind("bench_effect", owner=OWNER, coalesce=False, keyed=False, concurrency=20),
)


class NoopWork:
    """Ends a job at once, saying how long it had waited; or pauses, leaves its row, and ends."""

    name = OWNER

    def __init__(self, _connections: Connections) -> None: ...

    async def perform(self, run: JobRun) -> None:
        """Do one job of either kind."""
        result: dict[str, Any] = {}
        if "at" in run.parameters:
            result["wait_ms"] = (time.time() - run.parameters["at"]) * 1000
        if run.kind == "noop":
            await run.finish(result, "")
            return

        async def leave_row(session: AsyncSession) -> None:
            row = text("INSERT INTO bench_effect VALUES (:job, :attempt)")
            await session.execute(row, {"job": run.job_id, "attempt": run.attempt})

        # As long as the peer's job takes, which pauses once before its effect and once after.
        pause = run.parameters["pause_ms"] / 1000
        await asyncio.sleep(random.random() * pause + random.random() * pause)
        await run.finish(result, "", leave_row)


WORKS = {OWNER: NoopWork}
