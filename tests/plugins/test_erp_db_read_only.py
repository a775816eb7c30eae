"""A log-in that owns the tables cannot write through the connector: not by a query, and not by the session itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from erp_db_source import READER, DatabaseSource, MariaDbSource, PostgresSource, SqliteSource
from pydantic import ValidationError

from fmrp_erp_db import ErpDbConnector
from fmrp_erp_db.session import Session, open_session
from fmrp_sdk import ConnectorError, FatalError
from fmrp_sdk.testing.readings import Reader

DRIVER_ERRORS = (sqlite3.Error, psycopg.Error, pymysql.Error)
WRITES = [
    "INSERT INTO orders VALUES (99, 1, 1)",
    "UPDATE orders SET qty = 0",
    "DELETE FROM orders",
    "CREATE TABLE mine (id int)",
    "ALTER TABLE orders ADD mine int",
    "DROP TABLE orders",
    "DROP VIEW seen",
]
# Of PostgreSQL and MariaDB beside these.
SERVER_WRITES = ["TRUNCATE TABLE orders", "SELECT writes()", "SELECT * FROM orders FOR UPDATE"]
POSTGRES_WRITES = [
    "WITH x AS (INSERT INTO orders VALUES (99, 1, 1) RETURNING id) SELECT * FROM x",
    "SELECT nextval('numbers')",
    "SELECT setval('numbers', 77)",
    "SELECT opens_and_writes()",
    "SELECT id INTO mine FROM orders",
    "SELECT lo_create(0)",
    "COPY orders FROM STDIN",
    "COPY orders TO PROGRAM 'cat'",
    "DO $$ BEGIN INSERT INTO orders VALUES (99, 1, 1); END $$",
    "SELECT 1; INSERT INTO orders VALUES (99, 1, 1)",
    "GRANT SELECT ON orders TO PUBLIC",
]
MARIADB_WRITES = [
    "REPLACE INTO orders VALUES (1, 1, 99)",
    "SELECT nextval(numbers)",
    "SELECT setval(numbers, 77)",
    "SELECT opens_and_writes()",
    "SELECT id FROM orders INTO OUTFILE 'mine'",
    "SELECT 1; INSERT INTO orders VALUES (99, 1, 1)",
    "RENAME TABLE orders TO mine",
    "LOCK TABLES orders WRITE",
    "INSERT INTO old_engine VALUES (1)",
    "LOAD DATA INFILE 'mine' INTO TABLE orders",
]
POSTGRES_FUNCTIONS = [
    "CREATE SEQUENCE numbers",
    "CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO orders VALUES (99, 1, 1); RETURN 1; END $$",
    "CREATE FUNCTION opens() RETURNS int LANGUAGE plpgsql AS"
    " $$ BEGIN PERFORM set_config('default_transaction_read_only', 'off', false); RETURN 1; END $$",
    "CREATE FUNCTION opens_and_writes() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
    " PERFORM set_config('transaction_read_only', 'off', false);"
    " INSERT INTO orders VALUES (99, 1, 1); RETURN 1; END $$",
]
MARIADB_FUNCTIONS = [
    "CREATE SEQUENCE numbers",
    "CREATE TABLE old_engine (id int) ENGINE = MyISAM",
    "CREATE FUNCTION writes() RETURNS int BEGIN INSERT INTO orders VALUES (99, 1, 1); RETURN 1; END",
    "CREATE FUNCTION opens() RETURNS int BEGIN SET SESSION tx_read_only = 0; RETURN 1; END",
    "CREATE FUNCTION opens_and_writes() RETURNS int"
    " BEGIN SET SESSION tx_read_only = 0; INSERT INTO orders VALUES (99, 1, 1); RETURN 1; END",
]


def everything_in(source: DatabaseSource) -> list[Any]:
    """Rows and tables, as another session sees them."""
    if isinstance(source, SqliteSource):
        tables = source.execute("SELECT name, sql FROM sqlite_master ORDER BY name")
    else:
        tables = source.execute(
            f"SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = '{source.schema}'"
            " ORDER BY table_name, column_name"
        )
    return [tables, source.execute("SELECT * FROM orders ORDER BY id"), source.execute("SELECT count(*) FROM items")]


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def attacked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[DatabaseSource, list[str]]]:
    """A database, and what is tried on it; nothing may be different after it."""
    kind, attempts = {
        "sqlite": (SqliteSource, WRITES + sqlite_writes(tmp_path)),
        "postgresql": (PostgresSource, WRITES + SERVER_WRITES + POSTGRES_WRITES),
        "mariadb": (MariaDbSource, WRITES + SERVER_WRITES + MARIADB_WRITES),
    }[request.param]
    source = kind(tmp_path)
    functions = {"postgresql": POSTGRES_FUNCTIONS, "mariadb": MARIADB_FUNCTIONS}.get(request.param, [])
    source.execute("CREATE VIEW seen AS SELECT * FROM orders", "CREATE INDEX quick ON orders (qty)", *functions)
    before = everything_in(source)
    try:
        yield source, attempts
        assert everything_in(source) == before
    finally:
        source.close()


def sqlite_writes(folder: Path) -> list[str]:
    return [
        f"ATTACH DATABASE '{folder / 'other.db'}' AS other",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA user_version = 7",
        "VACUUM",
        f"VACUUM INTO '{folder / 'copy.db'}'",
        "REINDEX",
        "SELECT load_extension('mine')",
        "CREATE TEMP TABLE mine (id int)",
        "REPLACE INTO orders VALUES (1, 1, 99)",
    ]


@contextmanager
def session_of(source: DatabaseSource) -> Iterator[tuple[Session, Callable[[str], None]]]:
    """The connector's session, and a way to send its connection any text and commit, in its transaction or in none."""
    with open_session(source.config(streams=[])) as session:
        driver = session.connection.connection.driver_connection
        place = getattr(source, "schema", "")
        if isinstance(source, PostgresSource):
            driver.execute(f"SET search_path TO {place}")
            driver.commit()

        def send(statement: str) -> None:
            try:
                cursor = driver.cursor()
                if isinstance(source, MariaDbSource):
                    session.connection.begin()
                cursor.execute(statement)
                driver.commit()
            finally:
                driver.rollback()
                if session.connection.in_transaction():
                    session.connection.rollback()

        yield session, send


def test_nothing_is_written_by_what_is_sent_as_a_query(attacked: tuple[DatabaseSource, list[str]]) -> None:
    source, attempts = attacked
    with session_of(source) as (session, _):
        for attempt in attempts:
            with pytest.raises(ConnectorError):
                session.first(sa.text(attempt), "an attempt")


def test_nothing_is_written_by_the_connection_itself(attacked: tuple[DatabaseSource, list[str]]) -> None:
    source, attempts = attacked
    with session_of(source) as (_, send):
        for attempt in attempts:
            with pytest.raises(DRIVER_ERRORS):
                send(attempt)


def test_a_stream_whose_query_writes_is_refused_by_the_form_or_by_the_database(
    attacked: tuple[DatabaseSource, list[str]],
) -> None:
    source, attempts = attacked
    refused_at_once = 0
    for attempt in attempts:
        stream = {"name": "attempt", "query": attempt, "cursor": "id", "key": ["id"]}
        try:
            config = source.config(streams=[stream])
        except ValidationError:
            refused_at_once += 1
            continue
        reader = Reader(ErpDbConnector, config, 20.0)
        assert not reader.check().ok, attempt
        with pytest.raises(FatalError, match="stream attempt"):
            reader.read()
    assert refused_at_once >= len(WRITES)


@pytest.mark.parametrize("kind", [PostgresSource, MariaDbSource])
def test_a_function_that_lifts_the_ban_does_not_lift_it_for_the_next_query(
    tmp_path: Path, kind: type[PostgresSource | MariaDbSource]
) -> None:
    source = kind(tmp_path)
    source.execute(*(POSTGRES_FUNCTIONS if kind is PostgresSource else MARIADB_FUNCTIONS))
    with session_of(source) as (session, _):
        assert session.first(sa.text("SELECT opens()"), "lifting") == (1,)
        for _ in range(2):
            with pytest.raises(FatalError, match="tries to write"):
                session.first(sa.text("SELECT writes()"), "writing")
    assert source.execute("SELECT count(*) FROM orders") == [(4,)]
    source.close()


def test_log_ins_of_too_much_power_are_refused(tmp_path: Path) -> None:
    source = PostgresSource(tmp_path)
    source.server.execute(f"GRANT pg_write_server_files TO {READER}")
    try:
        check = Reader(ErpDbConnector, source.config(), 20.0).check()
    finally:
        source.server.execute(f"REVOKE pg_write_server_files FROM {READER}")
    assert not check.ok
    assert "has too much power (pg_write_server_files)" in check.message
    source.close()
    other = MariaDbSource(tmp_path)
    other.server.execute(f"GRANT FILE ON *.* TO '{READER}'@'%'")
    try:
        check = Reader(ErpDbConnector, other.config(), 20.0).check()
    finally:
        other.server.execute(f"REVOKE FILE ON *.* FROM '{READER}'@'%'")
    assert "has too much power (FILE)" in check.message
    other.close()


def test_the_file_of_sqlite_stays_as_it_is_to_the_last_byte(tmp_path: Path) -> None:
    source = SqliteSource(tmp_path)
    before = source.path.read_bytes(), source.path.stat().st_mtime_ns
    Reader(ErpDbConnector, source.config(), 20.0).read()
    assert (source.path.read_bytes(), source.path.stat().st_mtime_ns) == before
    assert [each.name for each in tmp_path.iterdir()] == ["erp.db"]


def test_rows_that_sqlite_keeps_in_its_log_are_read_too(tmp_path: Path) -> None:
    source = SqliteSource(tmp_path)
    writer = sqlite3.connect(source.path)
    writer.execute("PRAGMA journal_mode = WAL")
    with writer:
        writer.execute("INSERT INTO orders VALUES (5, 1, 5)")
    given = Reader(ErpDbConnector, source.config(), 20.0).read()
    assert [row["order_id"] for each in given for name, row in each.contents if name == "orders"] == list("12345")
    writer.close()
