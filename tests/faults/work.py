"""Jobs that misbehave, loaded into a running stack by FMRP_WORK_MODULES.

Every attempt leaves a row in `fault_begin` when it begins, in a transaction of its own. The job's effect is a row in
`fault_effect`, which no unique key guards: an effect that happened twice would show.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from actors.kinds import Kind
from actors.owner import Connections
from actors.run import JobRun

OWNER, SOURCE_OWNER = "faulty", "faulty_source"
TABLES = (
    "CREATE TABLE IF NOT EXISTS fault_begin"
    " (job_id uuid, attempt int, pid int, at timestamptz DEFAULT clock_timestamp())",
    "CREATE TABLE IF NOT EXISTS fault_effect"
    " (job_id uuid, attempt int, pid int, at timestamptz DEFAULT clock_timestamp())",
)
GRACE_S = 2.0


def _kind(name: str, **more: Any) -> Kind:
    return Kind(name, owner=OWNER, coalesce=False, keyed=False, **more)


KINDS = (
    _kind("fault_effect", concurrency=20),
    _kind("fault_poison"),
    _kind("fault_stubborn", cancel_grace_s=GRACE_S),
    _kind("fault_hungry"),
    _kind("fault_crowded"),
    _kind("fault_blocking"),
    _kind("fault_overdue", timeout_s=2.0, cancel_grace_s=GRACE_S),
    Kind("fault_source", owner=SOURCE_OWNER, by_source=True),
)


class FaultyWork:
    """One method for each kind, named as the kind."""

    name = OWNER

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def perform(self, run: JobRun) -> None:
        """Note the beginning, misbehave, and leave the effect with the job's end."""
        await self._note(run)
        await getattr(self, run.kind)(run)

        async def leave_effect(session: AsyncSession) -> None:
            await session.execute(_insert("fault_effect"), _row(run))

        await run.finish({}, "", leave_effect)

    async def _note(self, run: JobRun) -> None:
        async with self._connections.sessions.begin() as session:
            await session.execute(_insert("fault_begin"), _row(run))

    async def fault_effect(self, run: JobRun) -> None:
        """Take a while: `seconds` exactly, else up to 0.3."""
        await asyncio.sleep(run.parameters.get("seconds", random.uniform(0, 0.3)))

    async def fault_source(self, run: JobRun) -> None:
        """As `fault_effect`, in a process of its source's own."""
        await self.fault_effect(run)

    async def fault_poison(self, run: JobRun) -> None:
        """Take the process down."""
        os.kill(os.getpid(), signal.SIGKILL)

    async def fault_stubborn(self, run: JobRun) -> None:
        """Go on in a thread whatever anybody asks."""
        thread = asyncio.get_running_loop().run_in_executor(None, time.sleep, run.parameters["seconds"])
        while not thread.done():
            try:
                await asyncio.shield(thread)
            except asyncio.CancelledError:
                continue

    async def fault_overdue(self, run: JobRun) -> None:
        """As stubborn, with nobody asking: its time runs out."""
        await self.fault_stubborn(run)

    async def fault_blocking(self, run: JobRun) -> None:
        """Hold the event loop, so that the whole process answers nobody."""
        time.sleep(run.parameters["seconds"])  # noqa: ASYNC251 - that is the fault

    async def fault_hungry(self, run: JobRun) -> None:
        """Allocate against a limit of the process: Python's MemoryError, which leaves the process alive."""
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 256 * 1024**2, limits[1]))
        try:
            _allocate(1024**3)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)

    async def fault_crowded(self, run: JobRun) -> None:
        """Allocate once the test has put this process into a memory group: the kernel ends the process."""
        await asyncio.to_thread(_await_group, run.parameters["group"])
        _allocate(4 * 1024**3)


WORKS = {OWNER: FaultyWork, SOURCE_OWNER: FaultyWork}


def _insert(table: str) -> Any:
    return text(f"INSERT INTO {table} (job_id, attempt, pid) VALUES (:job, :attempt, :pid)")


def _row(run: JobRun) -> dict[str, Any]:
    return {"job": run.job_id, "attempt": run.attempt, "pid": os.getpid()}


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _await_group(name: str) -> None:
    while name not in Path("/proc/self/cgroup").read_text():
        time.sleep(0.05)


def _allocate(size: int) -> None:
    held = []
    for _ in range(0, size, 16 * 1024**2):
        held.append(bytes(bytearray(b"\1") * (16 * 1024**2)))
