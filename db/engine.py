"""One engine per process and event loop, one session factory."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from settings import Settings

SessionFactory = async_sessionmaker[AsyncSession]


def create_engine(settings: Settings, process: str, *, pool_size: int | None = None) -> AsyncEngine:
    """Open a pooled asyncpg engine; the caller disposes of it on the loop that made it.

    `process` names the connections in pg_stat_activity. A statement may take five minutes, an idle transaction one:
    a hung client cannot hold locks for longer.
    """
    return create_async_engine(
        settings.require_database_url(),
        pool_size=pool_size or settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        pool_pre_ping=True,
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


def session_factory(engine: AsyncEngine) -> SessionFactory:
    """Sessions that keep their objects readable after commit (there is no lazy loading in async code)."""
    return async_sessionmaker(engine, expire_on_commit=False)
