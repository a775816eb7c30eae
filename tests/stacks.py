"""One running stack for the end-to-end and the fault tests: the very one `fmrp up` starts, watched the same way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from cluster.demo.client import Client
from cluster.local.redis import free_port
from cluster.local.stack import Stack
from settings import Settings, normalise_database_url

# Kinds of job that misbehave, loaded into every process of the stack beside the shipped ones.
# Load is made as one user here, whom the limit would slow down. Processes of sources go soon and are few.
ENVIRONMENT = {
    "FMRP_WORK_MODULES": '["tests.faults.work"]',
    "FMRP_RATE_LIMIT_REQUESTS": "0",
    "FMRP_CONNECTOR_IDLE_S": "6",
    "FMRP_CONNECTOR_PROCESSES": "2",
}
# Room for the log of all end-to-end tests; memory is taken only by what is written.
DISK_MIB = 2048
WATCHER = "stack-watcher"


@contextmanager
def running_stack() -> Iterator[Stack]:
    """A stack with an empty inbox, on a small disk of its own where we may mount one."""
    with tempfile.TemporaryDirectory(prefix="fmrp-e2e-") as folder, small_disk(Path(folder)):
        os.environ.update(ENVIRONMENT)
        settings = Settings(
            data_dir=Path(folder), api_port=free_port(), dashboard_port=free_port(), database_url=_database_of_its_own()
        )
        with Stack(settings) as running:
            over = threading.Event()
            watcher = threading.Thread(target=running.watch, args=(over.is_set,), name=WATCHER)
            watcher.start()
            try:
                yield running
            finally:
                over.set()
                watcher.join()
                for name in ENVIRONMENT:
                    del os.environ[name]


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of limited size there, so that a test can fill it; gives whether that was allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            # Lazily: what was killed may hold a file a moment longer.
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@asynccontextmanager
async def logged_in(stack: Stack) -> AsyncIterator[Client]:
    """A client of the stack's API, logged in as the administrator."""
    assert stack.first_password is not None
    async with Client(stack.api_url) as client:
        await client.log_in(stack.settings.admin_email, stack.first_password)
        yield client


def _database_of_its_own() -> SecretStr | None:
    """A fresh database on the server FMRP_DATABASE_URL names; None for the embedded one."""
    given = os.environ.get("FMRP_DATABASE_URL")
    if not given:
        return None
    name = f"fmrp_e2e_{uuid.uuid4().hex[:12]}"

    async def create() -> None:
        connection = await asyncpg.connect(normalise_database_url(given).replace("+asyncpg", ""))
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(create())
    url = make_url(normalise_database_url(given)).set(database=name)
    return SecretStr(url.render_as_string(hide_password=False))
