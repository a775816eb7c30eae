"""An engine for property tests, whose examples share one event loop; the TimescaleDB that some tests need."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

INSTALL = (
    "no TimescaleDB: install timescaledb-2-postgresql-16 (community licence, not the -oss build), set"
    " shared_preload_libraries = 'timescaledb', restart, and name the server in FMRP_DATABASE_URL"
)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One loop for all examples of a property, since an engine belongs to its loop."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def engine(loop: asyncio.AbstractEventLoop, database_url: str) -> Iterator[AsyncEngine]:
    """An engine on that loop."""
    made = create_async_engine(database_url)
    yield made
    loop.run_until_complete(made.dispose())


async def version_of(url: str) -> str | None:
    """Version of the community-licensed TimescaleDB in this server; None without one.

    It is asked for apart from `detect_timescale`, so that a fault there fails these tests and never skips them.
    """
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        preloaded = await connection.fetchval("SHOW shared_preload_libraries")
        available = "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'"
        version: str | None = await connection.fetchval(available)
        if version is None or "timescaledb" not in preloaded:
            return None
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        return version if await connection.fetchval("SHOW timescaledb.license") == "timescale" else None
    finally:
        await connection.close()


@pytest.fixture
def timescale_version(empty_database_url: str) -> str:
    """The server's TimescaleDB; skips where there is none."""
    version = asyncio.run(version_of(empty_database_url))
    if version is None:
        pytest.skip(INSTALL)
    return version
