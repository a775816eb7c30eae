"""The disk under PostgreSQL and Redis fills up: jobs wait, nothing is half written, all goes on once there is room."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from observed import start, until, until_begun, until_ended
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from stacks import WATCHER
from victims import is_foreign

from actors import jobs
from actors.owner import Connections
from cluster.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(240)]


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Fill the disk to its last byte."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            for block in (1024**2, 4096, 1):
                with suppress(OSError):
                    while file.write(b"\1" * block) == block:
                        pass
        yield
    finally:
        ballast.unlink()


async def fill_the_last_pages(system: Connections) -> None:
    """Write until the server says that its disk is full: it had room in files it already has."""
    wide = "x" * 2000

    async def refused() -> bool:
        try:
            async with system.sessions.begin() as session:
                for _ in range(50):
                    row = {"job": uuid.uuid4(), "wide": wide}
                    await session.execute(text("INSERT INTO fault_filler VALUES (:job, :wide)"), row)
        except DBAPIError as error:
            return "No space left" in str(error) or error.connection_invalidated
        return False

    await until(refused, "a full disk", 60)


async def test_jobs_wait_for_room_and_go_on(system: Connections, stack: Stack) -> None:
    if is_foreign("PostgreSQL"):
        pytest.skip("the tests do not fill the disk of a server they did not start")
    if not stack.settings.data_dir.is_mount():
        pytest.skip("no disk of limited size: mounting one needs the right CAP_SYS_ADMIN (root)")
    async with system.sessions.begin() as session:
        await session.execute(text("CREATE TABLE IF NOT EXISTS fault_filler (job uuid, wide text)"))
        # Rows that fill pages of their own, uncompressed.
        await session.execute(text("ALTER TABLE fault_filler ALTER wide SET STORAGE EXTERNAL"))
    ids = await start(system, "fault_effect", 100, seconds=0.5)
    await until_begun(system, ids[0])
    with full_disk(stack.settings.data_dir):
        await fill_the_last_pages(system)
        # New pages of the log are needed too now: the server itself may go down, and must not come up half.
        with suppress(SQLAlchemyError, OSError):
            async with system.sessions.begin() as session:
                await session.execute(text("SELECT pg_switch_wal()"))
                await jobs.start(session, "fault_effect", {"wide": "x" * 200_000}, requested_by="faults")
        await asyncio.sleep(5)  # the fault's own length: attempts end and begin meanwhile, all in vain
        assert any(thread.name == WATCHER for thread in threading.enumerate()), "nobody watches the stack any more"
    ended = await until_ended(system, ids, 120)
    assert ended.is_exactly_once, ended
    (after,) = await start(system, "fault_effect")
    assert (await until_ended(system, [after])).is_exactly_once
    async with system.sessions.begin() as session:
        await session.execute(text("DROP TABLE fault_filler"))
