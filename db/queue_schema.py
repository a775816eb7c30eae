"""The queue library's own tables, installed by our migrations so that one command makes the whole schema."""

from __future__ import annotations

from typing import Any

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from sqlalchemy import Connection


def install(connection: Connection) -> None:
    """Create PgQueuer's tables, types, trigger and functions in this transaction."""
    _run_script(connection, QueryBuilderEnvironment().build_install_query())


def uninstall(connection: Connection) -> None:
    """Drop them."""
    _run_script(connection, QueryBuilderEnvironment().build_uninstall_query())


def _run_script(connection: Connection, script: str) -> None:
    """Send several statements at once, which only the bare driver connection accepts."""

    async def execute(driver: Any) -> None:
        await driver.execute(script)

    adapted: Any = connection.connection.dbapi_connection
    adapted.run_async(execute)
