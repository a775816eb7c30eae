"""Demand in a table of a PostgreSQL server, one row after the other as an ERP books them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from database_servers import PostgresServer, postgres_server

READER, PASSWORD = "reader_of_demand", "reader-password"


class ErpDb:
    """A table on a server beside the product's own; the log-in that reads it may only select.

    Rows are read three at a time, so that a reading ends in the middle of a day and of rows that tie.
    """

    connector = "erp_db"

    def __init__(self, _path: Path) -> None:
        self.server: PostgresServer = postgres_server()
        self.schema = f"kills_{uuid.uuid4().hex[:12]}"
        role = f"CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}'"
        self.server.execute(
            f"DO $$ BEGIN {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            f"CREATE SCHEMA {self.schema}",
            f"CREATE TABLE {self.schema}.demand (id bigserial PRIMARY KEY, item text, day date,"
            " quantity numeric(12, 2), revenue numeric(12, 2), changed_at timestamptz NOT NULL DEFAULT now())",
            f"GRANT USAGE ON SCHEMA {self.schema} TO {READER}",
            f"GRANT SELECT ON {self.schema}.demand TO {READER}",
        )

    def config(self) -> dict[str, Any]:
        """How the connector reaches it."""
        return {
            **{"dialect": "postgresql", "host": "127.0.0.1", "port": self.server.port, "database": "postgres"},
            **{"user": READER, "password": PASSWORD, "tls": "off", "chunk_rows": 3},
            "streams": [{"name": "demand", "table": f"{self.schema}.demand", "cursor": "changed_at"}],
        }

    def put(self, number: int, rows: list[dict[str, Any]]) -> None:
        """Rows of one transaction, which have the same time of change."""
        values = ", ".join(f"('{row['item']}', '{row['day']}', {row['quantity']}, {row['revenue']})" for row in rows)
        self.server.execute(f"INSERT INTO {self.schema}.demand (item, day, quantity, revenue) VALUES {values}")

    def close(self) -> None:
        """Remove the table; the server goes with the process."""
        self.server.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")
