"""Alembic environment: async engine, one migrator at a time, locks bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from alembic import context
from sqlalchemy import Connection, inspect, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from db.models import Base
from db.timeseries import PARTITION_NAME

# Tables of other owners in the same schema: TimescaleDB's chunks.
FOREIGN_PREFIXES = ("_hyper_", "_timescaledb")


class Scope:
    """What is compared with the models: what they own, less what this database has as a view of the same name."""

    def __init__(self, views: Iterable[str]) -> None:
        self._views = frozenset(views)

    def include_object(self, candidate: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
        """Compare only what the models own."""
        del candidate, compare_to
        if kind != "table" or name is None:
            return True
        if reflected:
            return not (name.startswith(FOREIGN_PREFIXES) or PARTITION_NAME.fullmatch(name))
        return name not in self._views


def run(connection: Connection) -> None:
    """Run the migrations in one transaction on this connection."""
    # Roll-ups are views over continuous aggregates where there are hypertables.
    scope = Scope(inspect(connection).get_view_names())
    connection.rollback()  # the look has begun a transaction of its own
    context.configure(connection=connection, target_metadata=Base.metadata, include_object=scope.include_object)
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
