"""Alembic environment: async engine, one migrator at a time, locks bounded."""

from __future__ import annotations

import asyncio
from typing import Any

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from db.models import Base
from db.timeseries import SERIES

# Tables of other owners in the same schema: TimescaleDB's chunks.
FOREIGN_PREFIXES = ("_hyper_", "_timescaledb")


def include_object(candidate: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Compare only what the models own."""
    del candidate, compare_to
    if kind == "table" and reflected and name is not None:
        is_partition = any(name.startswith(f"{table}_2") or name.startswith(f"{table}_1") for table in SERIES)
        return not (name.startswith(FOREIGN_PREFIXES) or is_partition)
    return True


def run(connection: Connection) -> None:
    """Run the migrations in one transaction on this connection."""
    context.configure(connection=connection, target_metadata=Base.metadata, include_object=include_object)
    with context.begin_transaction():
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        connection.execute(text("SET LOCAL statement_timeout = '15min'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('fmrp-migrate'))"))
        context.run_migrations()


async def run_async() -> None:
    """Connect with the asyncpg driver and migrate."""
    engine = create_async_engine(context.config.attributes["database_url"], poolclass=pool.NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


asyncio.run(run_async())
