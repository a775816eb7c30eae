"""A session that cannot write: statements one by one, each in a transaction of its own that is rolled back."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError

from fmrp_erp_db.columns import Description
from fmrp_erp_db.config import ErpDbConfig
from fmrp_erp_db.engines import MARGIN_S, Deadline, engine_for
from fmrp_erp_db.refusals import meaning_of
from fmrp_sdk import FatalError

log = logging.getLogger(__name__)
Row = tuple[Any, ...]
MAX_CHUNK_BYTES = 32 << 20
"""Text and bytes of a chunk, after which it is cut; its rows come in pieces, so that wide ones need no more memory."""
_PIECE_ROWS = 500
# Who may do what no read-only transaction stops: touch the server's files, or run programs there; and, on SQL Server,
# where no session can be made read-only, who may write.
_POWERS = {
    "postgresql": """
        SELECT rolname FROM pg_catalog.pg_roles
        WHERE (rolname = current_user AND rolsuper)
           OR (rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
               AND pg_catalog.pg_has_role(current_user, oid, 'MEMBER'))""",
    "mysql": """
        SELECT privilege_type FROM information_schema.user_privileges
        WHERE privilege_type IN ('FILE', 'SUPER') AND REPLACE(grantee, CHAR(39), '') = current_user()""",
    "mssql": """
        SELECT held FROM (VALUES
            ('sysadmin', IS_SRVROLEMEMBER('sysadmin')), ('db_owner', IS_ROLEMEMBER('db_owner')),
            ('db_datawriter', IS_ROLEMEMBER('db_datawriter')), ('db_ddladmin', IS_ROLEMEMBER('db_ddladmin'))
        ) AS roles(held, has) WHERE has = 1
        UNION ALL
        SELECT TOP (1) 'INSERT, UPDATE or DELETE on ' + name FROM sys.objects
        WHERE type IN ('U', 'V') AND 1 IN (
            HAS_PERMS_BY_NAME(QUOTENAME(SCHEMA_NAME(schema_id)) + '.' + QUOTENAME(name), 'OBJECT', 'INSERT'),
            HAS_PERMS_BY_NAME(QUOTENAME(SCHEMA_NAME(schema_id)) + '.' + QUOTENAME(name), 'OBJECT', 'UPDATE'),
            HAS_PERMS_BY_NAME(QUOTENAME(SCHEMA_NAME(schema_id)) + '.' + QUOTENAME(name), 'OBJECT', 'DELETE'))""",
}
# The clock by which cursors are judged: with time zone, and as the server's own wall clock without one.
_CLOCKS = {
    "postgresql": "SELECT clock_timestamp(), clock_timestamp() AT TIME ZONE "
    "(SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone')",
    "mysql": "SELECT UTC_TIMESTAMP(6), CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', @@global.time_zone)",
    "mssql": "SELECT SYSDATETIMEOFFSET(), SYSDATETIME()",
    "sqlite": "SELECT NULL, NULL",
}


class Session:
    """One connection. Not for two threads, but `cancel` may come from another."""

    def __init__(self, config: ErpDbConfig, engine: sa.Engine, connection: sa.Connection, deadline: Deadline) -> None:
        self._config = config
        self._engine = engine
        self._connection = connection
        self._deadline = deadline
        self._is_busy = False
        self.dialect = config.dialect

    @property
    def connection(self) -> sa.Connection:
        """For SQLAlchemy's inspection."""
        return self._connection

    def first(self, statement: sa.Executable, doing: str) -> Row | None:
        """The first row, if there is one."""
        rows, _ = self.page(statement, 1, doing)
        return rows[0] if rows else None

    def describe(self, statement: sa.Executable, doing: str) -> Description:
        """What the server says of the statement's columns."""
        with self._statement(statement, doing) as result:
            return list(result.cursor.description)

    def primary_key(self, table: str, schema: str | None, doing: str) -> tuple[str, ...]:
        """Columns of a table's primary key; none for a view, or a table without."""
        try:
            found = sa.inspect(self._connection).get_pk_constraint(table, schema)
            self._connection.rollback()
        except NoSuchTableError:
            return ()
        except SQLAlchemyError as error:
            raise meaning_of(error, self._config, doing) from None
        return tuple(found["constrained_columns"])

    def clocks(self, doing: str) -> Row:
        """Now, by the server: with time zone (UTC), and as its wall clock without."""
        return self.first(sa.text(_CLOCKS[self.dialect]), doing) or (None, None)

    def page(self, statement: sa.Executable, limit: int, doing: str) -> tuple[list[Row], bool]:
        """Rows, at most `limit` and at most MAX_CHUNK_BYTES; whether these were all that the statement gives."""
        rows: list[Row] = []
        size = 0
        with self._statement(statement, doing) as result:
            while len(rows) < limit:
                piece = [tuple(row) for row in result.fetchmany(min(_PIECE_ROWS, limit - len(rows)))]
                if not piece:
                    return rows, True
                rows += piece
                size += sum(len(value) for row in piece for value in row if isinstance(value, (str, bytes)))
                if size > MAX_CHUNK_BYTES:
                    return rows, False
        return rows, False

    def cancel(self) -> None:
        """End the statement at hand, as far as the driver knows how; else its time-out ends it."""
        if not self._is_busy:
            return
        driver: Any = self._connection.connection.driver_connection
        try:
            if self.dialect == "postgresql":
                driver.cancel_safe(timeout=self._config.connect_timeout_s)
            elif self.dialect == "sqlite":
                driver.interrupt()
            elif self.dialect == "mysql":
                with self._engine.connect() as other:
                    other.exec_driver_sql(f"KILL QUERY {int(driver.thread_id())}")
        except Exception as error:  # noqa: BLE001 - it ends by its time-out all the same
            log.warning("a statement could not be cancelled: %s", type(error).__name__)

    @contextmanager
    def _statement(self, statement: sa.Executable, doing: str) -> Iterator[sa.CursorResult[Any]]:
        self._deadline.begin(self._config.statement_timeout_s)
        self._is_busy = True
        try:
            with self._watchdog():
                try:
                    result = self._connection.execute(statement)
                    try:
                        yield result
                    finally:
                        result.close()
                finally:
                    self._connection.rollback()
        except SQLAlchemyError as error:
            raise meaning_of(error, self._config, doing) from None
        finally:
            self._is_busy = False

    @contextmanager
    def _watchdog(self) -> Iterator[None]:
        """PostgreSQL's library waits for ever on a server that stands still: after the time-out the line is cut."""
        if self.dialect != "postgresql":
            yield
            return
        driver: Any = self._connection.connection.driver_connection
        line = socket.socket(fileno=os.dup(driver.fileno()))
        timer = threading.Timer(self._config.statement_timeout_s + MARGIN_S, line.shutdown, (socket.SHUT_RDWR,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            line.close()


@contextmanager
def open_session(config: ErpDbConfig) -> Iterator[Session]:
    """A session, closed after the block. RetriableError, FatalError: no connection, or a log-in of too much power."""
    deadline = Deadline()
    deadline.begin(config.statement_timeout_s)
    address = str(config.path) if config.dialect == "sqlite" else f"{config.database} on {config.host}"
    with engine_for(config, deadline) as engine:
        try:
            connection = engine.connect().execution_options(stream_results=True, max_row_buffer=_PIECE_ROWS)
            if config.dialect == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
        except SQLAlchemyError as error:
            raise meaning_of(error, config, address) from None
        try:
            session = Session(config, engine, connection, deadline)
            _refuse_powers(session, config)
            yield session
        finally:
            connection.invalidate()  # closes the driver's connection, in whatever state it is
            connection.close()


def _refuse_powers(session: Session, config: ErpDbConfig) -> None:
    if (statement := _POWERS.get(config.dialect)) is None:
        return
    held = session.first(sa.text(statement), f"rights of {config.user}")
    if held is not None:
        raise FatalError(
            f"the log-in {config.user} has too much power ({held[0]}): it could write through any query, or touch the "
            "server's files. Create one that may only SELECT; docs/connectors/erp_db.md shows how"
        )
