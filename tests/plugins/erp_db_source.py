"""Databases for the connector's tests: the same two streams on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import sqlite3
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from database_servers import DatabaseServer, mariadb_server, postgres_server
from pydantic import BaseModel

from fmrp_erp_db import ErpDbConfig
from fmrp_sdk.testing import Content, SourceUnderTest

T0 = datetime(2024, 1, 1, 6, 0, 0, 123456, tzinfo=ZoneInfo("UTC"))  # as Arrow gives it
READER, READER_PASSWORD = "planner", "reader-password"
ITEMS: dict[str, Any] = {"name": "items", "table": "items", "cursor": "changed_at"}
ORDERS: dict[str, Any] = {
    "name": "orders",
    "query": "SELECT o.id AS order_id, i.code, o.qty FROM orders o JOIN items i ON i.id = o.item_id WHERE o.qty > 0",
    "cursor": "order_id",
    "key": ("order_id",),
    "lag": 2,
}


class DatabaseSource(SourceUnderTest):
    """Five items, changed a minute apart but for two that were changed at once, and four orders."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows: list[Content] = []
        items = [(number, T0 + timedelta(minutes=minute)) for number, minute in enumerate((0, 1, 2, 2, 3), start=1)]
        self.execute(*self.tables(), *self._items(*items), *self._orders(1, 2, 3, 4))

    @abstractmethod
    def tables(self) -> list[str]:
        """Statements that make the empty tables."""

    @abstractmethod
    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the owner of the data."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Fields of a config that reaches the database."""

    def streams(self) -> list[dict[str, Any]]:
        """What is read."""
        return [ITEMS, ORDERS]

    def table(self, name: str) -> str:
        """A table as a stream names it."""
        return name

    def quoted(self, name: str) -> str:
        """Any name as statements write it."""
        return f'"{name}"'

    def config(self, **changes: Any) -> ErpDbConfig:
        """With both streams, two rows at a time; `changes` override fields."""
        return ErpDbConfig.model_validate(
            {**self.settings(), "chunk_rows": 2, "streams": self.streams(), "connect_timeout_s": 5, **changes}
        )

    def item(self, number: int, changed_at: datetime) -> Mapping[str, Any]:
        """A row as the connector gives it."""
        return {"id": number, "code": f"ITEM-{number}", "price": Decimal(f"{number}.50"), "changed_at": changed_at}

    def order(self, number: int) -> Mapping[str, Any]:
        """As above."""
        return {"order_id": number, "code": "ITEM-1", "qty": Decimal(number)}

    def time(self, changed_at: datetime) -> str:
        """As it is written in a statement."""
        return changed_at.strftime("%Y-%m-%d %H:%M:%S.%f")

    def put_items(self, *items: tuple[int, datetime]) -> None:
        """Insert some, by number and time of change."""
        self.execute(*self._items(*items))

    def _items(self, *items: tuple[int, datetime]) -> list[str]:
        self._rows += [("items", self.item(number, at)) for number, at in items]
        return [
            f"INSERT INTO items VALUES ({number}, 'ITEM-{number}', {number}.50, '{self.time(at)}')"
            for number, at in items
        ]

    def _orders(self, *numbers: int) -> list[str]:
        self._rows += [("orders", self.order(number)) for number in numbers]
        return [f"INSERT INTO orders VALUES ({number}, 1, {number})" for number in numbers]

    def contents(self) -> list[Content]:
        return list(self._rows)

    def add(self) -> None:
        self.execute(*self._items((6, T0 + timedelta(hours=5))), *self._orders(5))

    def spoil(self) -> None:
        self.execute("INSERT INTO items VALUES (7, 'ITEM-7', 7.50, NULL)")


class SqliteSource(DatabaseSource):
    """A file."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "erp.db"

    def tables(self) -> list[str]:
        return [
            "CREATE TABLE items (id INTEGER PRIMARY KEY, code TEXT, price NUMERIC, changed_at TIMESTAMP)",
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, item_id INTEGER, qty NUMERIC)",
        ]

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path)
        try:
            with connection:
                for statement in statements:
                    rows = connection.execute(statement).fetchall()
            return rows
        finally:
            connection.close()

    def settings(self) -> dict[str, Any]:
        return {"dialect": "sqlite", "path": self.path}

    def item(self, number: int, changed_at: datetime) -> Mapping[str, Any]:
        text = changed_at.strftime("%Y-%m-%d %H:%M:%S.%f")
        return {"id": str(number), "code": f"ITEM-{number}", "price": f"{number}.5", "changed_at": text}

    def order(self, number: int) -> Mapping[str, Any]:
        return {"order_id": str(number), "code": "ITEM-1", "qty": str(number)}

    def bad_configs(self) -> list[BaseModel]:
        torn = self.folder / "torn.db"
        torn.write_bytes(b"SQLite format 3\0" + b"x" * 4_000)
        return [self.config(path=path) for path in (self.folder / "missing.db", torn, self.folder)]

    def silent_config(self, host: str, port: int) -> BaseModel | None:
        return None


class ServerSource(DatabaseSource):
    """A schema of its own on a server that the process shares, read by a log-in that could write."""

    def __init__(self, folder: Path) -> None:
        self.server = self.serve()
        self.schema = f"erp_{uuid.uuid4().hex[:12]}"
        super().__init__(folder)

    shortest_s = 2

    @abstractmethod
    def serve(self) -> DatabaseServer:
        """The server."""

    def bad_configs(self) -> list[BaseModel]:
        wrong = ({"password": "wrong-password"}, {"database": "no_such_database"}, {"host": "127.0.0.1", "port": 1})
        return [self.config(**each) for each in wrong]

    def silent_config(self, host: str, port: int) -> BaseModel | None:
        return self.config(host=host, port=port, connect_timeout_s=self.shortest_s, statement_timeout_s=2)


class PostgresSource(ServerSource):
    """PostgreSQL."""

    def serve(self) -> DatabaseServer:
        return postgres_server()

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.execute(f"SET ROLE {READER}", f"SET search_path TO {self.schema}", *statements)

    def tables(self) -> list[str]:
        role = f"CREATE ROLE {READER} LOGIN PASSWORD '{READER_PASSWORD}'"
        self.server.execute(
            f"DO $$ BEGIN {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            f"CREATE SCHEMA {self.schema} AUTHORIZATION {READER}",
        )
        return [
            "CREATE TABLE items (id int PRIMARY KEY, code text, price numeric(10,2), changed_at timestamptz)",
            "CREATE TABLE orders (id bigint PRIMARY KEY, item_id int, qty numeric(12,3))",
        ]

    def settings(self) -> dict[str, Any]:
        return {
            **{"dialect": "postgresql", "host": "127.0.0.1", "port": self.server.port, "database": "postgres"},
            **{"user": READER, "password": READER_PASSWORD, "tls": "off", "db_schema": self.schema},
        }

    def table(self, name: str) -> str:
        return f"{self.schema}.{name}"

    def streams(self) -> list[dict[str, Any]]:
        query = ORDERS["query"].replace("orders o", f"{self.schema}.orders o")
        query = query.replace("items i", f"{self.schema}.items i")
        return [{**ITEMS, "table": self.table("items")}, {**ORDERS, "query": query}]

    def time(self, changed_at: datetime) -> str:
        return changed_at.isoformat()

    def order(self, number: int) -> Mapping[str, Any]:
        return {"order_id": number, "code": "ITEM-1", "qty": Decimal(f"{number}.000")}

    def close(self) -> None:
        self.server.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")


class MariaDbSource(ServerSource):
    """MariaDB, reached with its certificate checked."""

    shortest_s = 1

    def serve(self) -> DatabaseServer:
        return mariadb_server()

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.execute(*statements, database=self.schema)

    def tables(self) -> list[str]:
        self.server.execute(
            f"CREATE DATABASE {self.schema}",
            f"CREATE USER IF NOT EXISTS '{READER}'@'%' IDENTIFIED BY '{READER_PASSWORD}'",
            f"GRANT ALL ON {self.schema}.* TO '{READER}'@'%'",
        )
        return [
            "CREATE TABLE items (id int PRIMARY KEY, code varchar(40), price decimal(10,2), changed_at datetime(6))",
            "CREATE TABLE orders (id bigint PRIMARY KEY, item_id int, qty decimal(12,3))",
        ]

    def quoted(self, name: str) -> str:
        return f"`{name}`"

    def item(self, number: int, changed_at: datetime) -> Mapping[str, Any]:
        return {**super().item(number, changed_at), "changed_at": changed_at.replace(tzinfo=None)}

    def order(self, number: int) -> Mapping[str, Any]:
        return {"order_id": number, "code": "ITEM-1", "qty": Decimal(f"{number}.000")}

    def settings(self) -> dict[str, Any]:
        return {
            **{"dialect": "mysql", "host": "127.0.0.1", "port": self.server.port, "database": self.schema},
            **{"user": READER, "password": READER_PASSWORD, "ca_pem": self.server.certificates.ca_pem},
        }

    def close(self) -> None:
        self.server.execute(f"DROP DATABASE IF EXISTS {self.schema}")
