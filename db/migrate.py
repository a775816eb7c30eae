"""Bring a database to the newest schema. The only way tables are ever made."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from settings import normalise_database_url

LATEST = "head"


def config(database_url: str) -> Config:
    """Alembic's configuration for our migrations against one database."""
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    configuration.attributes["database_url"] = normalise_database_url(database_url)
    return configuration


def upgrade(database_url: str, revision: str = LATEST) -> None:
    """Migrate up to `revision`. Concurrent callers wait for each other on an advisory lock."""
    command.upgrade(config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Migrate down to `revision` ('base' removes everything)."""
    command.downgrade(config(database_url), revision)
