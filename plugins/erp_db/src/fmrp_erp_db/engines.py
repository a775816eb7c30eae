"""How each dialect is reached: address, TLS, time-outs, and the sessions that cannot write."""

import os
import sqlite3
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from fmrp_erp_db.config import DEFAULT_PORTS, ErpDbConfig
from fmrp_sdk import FatalError

_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mssql": "mssql+pymssql"}
_APPLICATION = "Forecasting MRP"
# The client waits this much longer than a statement may take: then the server, or the way to it, is dead.
MARGIN_S = 10
_KEEPALIVE_S = 30
_CA_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_SQLITE_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION,
}
_SQLITE_PRAGMAS = {
    *("table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list", "database_list"),
}
_SQLITE_STEPS = 10_000


class Deadline:
    """When the statement at hand has to be done; SQLite, which has no server, asks for it."""

    def __init__(self) -> None:
        self._at = float("inf")

    def begin(self, seconds: float) -> None:
        """A statement begins now."""
        self._at = time.monotonic() + seconds

    def is_over(self) -> bool:
        """Whether it should have ended."""
        return time.monotonic() > self._at


@contextmanager
def engine_for(config: ErpDbConfig, deadline: Deadline) -> Iterator[sa.Engine]:
    """An engine without a pool, each of whose connections is read-only. FatalError: a driver is not installed."""
    with _certificates(config) as ca_file:
        try:
            engine = _engine(config, ca_file, deadline)
        except ImportError as error:
            raise FatalError(
                f"the driver for {config.dialect} is not installed: pip install 'fmrp-erp-db[{config.dialect}]'"
            ) from error
        sa.event.listen(engine, "connect", _preparation(config))
        if config.dialect == "mysql":
            # Not by the session's default alone: a function that a query calls may change that for later transactions.
            sa.event.listen(engine, "begin", _begin_read_only)
        try:
            yield engine
        finally:
            engine.dispose()


def url_of(config: ErpDbConfig) -> sa.URL:
    """The address without what `connect_arguments` adds."""
    if config.dialect == "sqlite":
        return sa.URL.create("sqlite")
    is_socket = config.host.startswith("/")
    password = config.password.get_secret_value() if config.password is not None else None
    return sa.URL.create(
        _DRIVERS[config.dialect],
        username=config.user,
        password=password,
        host=None if is_socket else config.host,
        port=None if is_socket and config.dialect == "mysql" else config.port or DEFAULT_PORTS[config.dialect],
        database=config.database,
    )


def connect_arguments(config: ErpDbConfig, ca_file: str) -> dict[str, Any]:
    """What the driver is told beside the address: TLS, time-outs, keep-alive, and that nothing will be written."""
    is_socket = config.host.startswith("/")
    if config.dialect == "postgresql":
        modes = {"verify": "verify-full", "unverified": "require", "off": "disable"}
        arguments: dict[str, Any] = {
            "sslmode": "disable" if is_socket else modes[config.tls],
            "connect_timeout": config.connect_timeout_s,
            "application_name": _APPLICATION,
            **{"keepalives_idle": _KEEPALIVE_S, "keepalives_interval": 10, "keepalives_count": 3},
            "tcp_user_timeout": (config.statement_timeout_s + MARGIN_S) * 1000,
        }
        if is_socket:
            arguments["host"] = config.host
        elif config.tls == "verify":
            arguments["sslrootcert"] = ca_file or "system"
        return arguments
    if config.dialect == "mysql":
        # Until the session is prepared a silent server is given no longer than a connection may take.
        arguments = {"connect_timeout": config.connect_timeout_s, "read_timeout": config.connect_timeout_s}
        if is_socket:
            return arguments | {"unix_socket": config.host}
        return arguments | ({"ssl_disabled": True} if config.tls == "off" else {"ssl": _tls_context(config)})
    return {
        "login_timeout": config.connect_timeout_s,
        "timeout": config.statement_timeout_s,
        "appname": _APPLICATION,
        "encryption": "off" if config.tls == "off" else "require",
        "read_only": True,  # ApplicationIntent=ReadOnly: a readable secondary answers where there is one
    }


def session_statements(config: ErpDbConfig, server_version: str = "") -> list[str]:
    """What each new session is told first."""
    seconds = config.statement_timeout_s
    if config.dialect == "postgresql":
        return [
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            f"SET statement_timeout = {seconds * 1000}",
            f"SET lock_timeout = {seconds * 1000}",
            "SET TimeZone = 'UTC'",
            "SET extra_float_digits = 1",
        ]
    if config.dialect == "mysql":
        is_mariadb = "mariadb" in server_version.lower()
        limit = f"max_statement_time = {seconds}" if is_mariadb else f"max_execution_time = {seconds * 1000}"
        return [
            "SET SESSION TRANSACTION READ ONLY",
            f"SET SESSION {limit}",
            f"SET SESSION lock_wait_timeout = {seconds}",
            "SET SESSION time_zone = '+00:00'",
        ]
    if config.dialect == "mssql":
        return [f"SET LOCK_TIMEOUT {seconds * 1000}", "SET DEADLOCK_PRIORITY LOW"]
    return []


def _engine(config: ErpDbConfig, ca_file: str, deadline: Deadline) -> sa.Engine:
    if config.dialect == "sqlite":
        return sa.create_engine(
            "sqlite://", creator=lambda: _sqlite(config, deadline), poolclass=NullPool, hide_parameters=True
        )
    return sa.create_engine(
        url_of(config), connect_args=connect_arguments(config, ca_file), poolclass=NullPool, hide_parameters=True
    )


def _preparation(config: ErpDbConfig) -> Callable[[Any, Any], None]:
    def prepare(connection: Any, _: Any) -> None:
        if config.dialect == "sqlite":
            return
        version = connection.get_server_info() if config.dialect == "mysql" else ""
        cursor = connection.cursor()
        for statement in session_statements(config, version):
            cursor.execute(statement)
        cursor.close()
        connection.commit()  # a SET is undone by the rollback of its transaction
        if config.dialect == "mysql":
            connection._read_timeout = config.statement_timeout_s + MARGIN_S  # the driver has no public way

    return prepare


def _begin_read_only(connection: sa.Connection) -> None:
    connection.exec_driver_sql("START TRANSACTION READ ONLY")


def _sqlite(config: ErpDbConfig, deadline: Deadline) -> sqlite3.Connection:
    """Writing is refused three times: by how the file is opened, by a pragma, and by what statements may do."""
    connection = sqlite3.connect(
        f"file:{quote(str(config.path))}?mode=ro", uri=True, timeout=config.connect_timeout_s, check_same_thread=False
    )
    # Bytes that are no text: a mark in their place can be seen, where an error would end the reading for ever.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.execute("PRAGMA query_only = ON")
    connection.set_progress_handler(deadline.is_over, _SQLITE_STEPS)
    connection.set_authorizer(_sqlite_authorizer)
    return connection


def _sqlite_authorizer(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        is_inspection = first in _SQLITE_PRAGMAS or (first == "read_uncommitted" and second is None)
        return sqlite3.SQLITE_OK if is_inspection else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _SQLITE_ALLOWED else sqlite3.SQLITE_DENY


@contextmanager
def _certificates(config: ErpDbConfig) -> Iterator[str]:
    """The file of authorities that PostgreSQL's library wants; '' where there is none, or none is needed."""
    if config.dialect != "postgresql" or config.tls != "verify":
        yield ""
    elif config.ca_pem is None:
        default = ssl.get_default_verify_paths().cafile
        yield next((path for path in (default, *_CA_FILES) if path and Path(path).is_file()), "")
    else:
        descriptor, path = tempfile.mkstemp(prefix="fmrp-ca-", suffix=".pem")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(config.ca_pem)
            yield path
        finally:
            Path(path).unlink(missing_ok=True)


def _tls_context(config: ErpDbConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=config.ca_pem)
    if config.tls == "unverified":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
