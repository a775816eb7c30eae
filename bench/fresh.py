"""A PostgreSQL with the newest schema for one benchmark."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from cluster.local.postgres import EmbeddedPostgres
from db import migrate
from settings import normalise_database_url


@contextmanager
def migrated_postgres() -> Iterator[str]:
    """URL of an embedded server with the newest schema, gone with the body."""
    with tempfile.TemporaryDirectory(prefix="fmrp-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "pg", "bench")
        server.start()
        try:
            migrate.upgrade(server.url)
            yield server.url
        finally:
            server.stop()


@contextmanager
def given_postgres() -> Iterator[str]:
    """URL of a new database on the server that FMRP_DATABASE_URL names, else of an embedded one; gone with the body."""
    given = os.environ.get("FMRP_DATABASE_URL")
    if not given:
        with migrated_postgres() as url:
            yield url
        return
    server, name = normalise_database_url(given), f"fmrp_bench_{uuid.uuid4().hex[:8]}"
    asyncio.run(_execute(server, f"CREATE DATABASE {name}"))
    try:
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
        migrate.upgrade(url)
        yield url
    finally:
        asyncio.run(_execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
