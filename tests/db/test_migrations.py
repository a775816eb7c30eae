"""The migrations make exactly what the models say, and can be undone."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from cluster.local.postgres import EmbeddedPostgres
from db import migrate


def check(url: str) -> None:
    """Up, down, up, and no difference to the models."""
    migrate.upgrade(url)
    migrate.downgrade(url, "base")
    migrate.upgrade(url)
    command.check(migrate.config(url))


def test_migrations_and_models_agree(empty_database_url: str) -> None:
    check(empty_database_url)


def test_migrations_run_on_postgresql_18(server_folder: Path) -> None:
    server = EmbeddedPostgres(server_folder / "pg18", "test", version=18)
    server.start()
    try:
        check(server.url)
    finally:
        server.stop()


async def test_down_leaves_nothing_behind(empty_database_url: str) -> None:
    import asyncio

    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    await asyncio.to_thread(migrate.downgrade, empty_database_url, "base")
    engine = create_async_engine(empty_database_url)
    async with engine.connect() as connection:
        query = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
        assert (await connection.execute(query)).scalars().all() == []
    await engine.dispose()


@pytest.mark.parametrize("url", ["mysql://x/y", "postgresql+psycopg://x/y", "nonsense"])
def test_other_databases_are_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        migrate.upgrade(url)
