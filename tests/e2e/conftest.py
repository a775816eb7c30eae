"""One running stack for all end-to-end tests: the very one `fmrp up` starts, watched the same way."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from delivery import deliver
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from actors.owner import Connections
from cluster.demo.client import Client
from cluster.demo.factory import FactoryFiles
from cluster.local.redis import free_port
from cluster.local.stack import Stack
from settings import Settings, normalise_database_url


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


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A stack with an empty inbox."""
    with tempfile.TemporaryDirectory(prefix="fmrp-e2e-") as folder:
        settings = Settings(
            data_dir=Path(folder), api_port=free_port(), dashboard_port=free_port(), database_url=_database_of_its_own()
        )
        with Stack(settings) as running:
            over = threading.Event()
            watcher = threading.Thread(target=running.watch, args=(over.is_set,))
            watcher.start()
            try:
                yield running
            finally:
                over.set()
                watcher.join()


@pytest.fixture(scope="session")
def factory(stack: Stack) -> FactoryFiles:
    """A small factory's files, waiting in the inbox."""
    return deliver(stack, seed=7)


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """Logged in as the administrator."""
    assert stack.first_password is not None
    async with Client(stack.api_url) as logged_in:
        await logged_in.log_in(stack.settings.admin_email, stack.first_password)
        yield logged_in


@pytest.fixture
async def connections(stack: Stack) -> AsyncIterator[Connections]:
    """The stack's own database and Redis, to look at what the API does not show."""
    opened = Connections(stack.settings, "test")
    yield opened
    await opened.close()
