"""One engine per process and event loop, one session factory."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from settings import Settings

SessionFactory = async_sessionmaker[AsyncSession]


def create_engine(
    settings: Settings, process: str, *, pool_size: int | None = None, trusted_s: float = 0.0
) -> AsyncEngine:
    """Open a pooled asyncpg engine; the caller disposes of it on the loop that made it.

    `process` names the connections in pg_stat_activity. A statement may take five minutes, an idle transaction one:
    a hung client cannot hold locks for longer. A connection that has rested for longer than `trusted_s` is tried before
    it is used: where every round trip counts, one that has just answered needs no trial.
    """
    engine = create_async_engine(
        settings.require_database_url(),
        pool_size=pool_size or settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        pool_pre_ping=trusted_s == 0.0,
        # An error's text must not carry bound values, a password hash among them, into a log.
        hide_parameters=True,
        pool_recycle=1800,
        connect_args={
            "timeout": 10,
            "server_settings": {
                "application_name": f"fmrp-{process}",
                "statement_timeout": "300000",
                "idle_in_transaction_session_timeout": "60000",
                "timezone": "UTC",
            },
        },
    )
    if trusted_s > 0.0:
        _try_rested(engine, trusted_s)
    return engine


def _try_rested(engine: AsyncEngine, trusted_s: float) -> None:
    """Try connections before use only when nothing was heard of them for a while."""
    pool_of = engine.sync_engine

    @event.listens_for(pool_of, "checkin")
    def rest(_connection: Any, record: Any) -> None:
        record.info["heard_at"] = time.monotonic()

    @event.listens_for(pool_of, "checkout")
    def look(connection: Any, record: Any, _proxy: Any) -> None:
        heard_at = record.info.get("heard_at")
        if heard_at is None or time.monotonic() - heard_at < trusted_s:
            return
        try:
            pool_of.dialect.do_ping(connection)
        except pool_of.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError("the connection has died at rest") from error


def reading_factory(engine: AsyncEngine) -> SessionFactory:
    """Sessions that only read, each statement by itself: no round trips for a transaction nobody needs."""
    return async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False)


def session_factory(engine: AsyncEngine) -> SessionFactory:
    """Sessions that keep their objects readable after commit (there is no lazy loading in async code)."""
    return async_sessionmaker(engine, expire_on_commit=False)
