"""What a database's errors mean: whether to try again, and a sentence on what to do. No message tells the password."""

import re
import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fmrp_erp_db.config import ErpDbConfig
from fmrp_sdk import ConnectorError, FatalError, RetriableError

_MAX_TOLD = 400
_NO_ANSWER = "the database does not answer; is it up, and host and port right?"
# (codes: SQLSTATE of PostgreSQL, numbers of MariaDB and SQL Server; expression in the driver's text; whether it passes
# by itself; what to do), looked at in this order.
_MEANINGS: tuple[tuple[str, str, bool, str], ...] = (
    (
        "25006 1792",
        r"read.only transaction|attempt to write|not authorized",
        False,
        "the query tries to write or to change the session, which is refused; give a plain SELECT",
    ),
    (
        "28000 28P01 1045 1698 18456",
        r"authentication failed|no password supplied|no pg_hba|role .* does not|login failed",
        False,
        "check user and password, and that this log-in may connect from here",
    ),
    ("3D000 1049 1044 4060", r"database .* does not exist", False, "check the name of the database"),
    ("", r"server connection failed|unable to connect", True, _NO_ANSWER),
    (
        "57014 55P03 1969 3024 1205 1222",
        r"statement timeout|lock timeout|max_statement_time|max_execution_time|interrupted|message 20003",
        True,
        "a statement took longer than statement_timeout_s; an index on cursor and key helps, or a longer time-out",
    ),
    ("", r"certificate", False, "check ca_pem and that host is the name in the certificate"),
    (
        "",
        r"does not support SSL|doesn't support it|SSL is required",
        False,
        "the server offers no TLS; set tls to 'off' only if the network between is trusted",
    ),
    ("", r"file is not a database|malformed", False, "the file is no SQLite database, or is damaged"),
    ("", r"unable to open database file", True, "check the path, that its drive is mounted, and the worker's rights"),
    ("", r"database (table )?is locked", True, "another program is writing; it will be tried again"),
    (
        "42501 1142 1143 229 230",
        r"permission (was )?denied",
        False,
        "grant this log-in the right to SELECT",
    ),
    (
        "42P01 3F000 1146 208",
        r"no such table|invalid object name",
        False,
        "there is no such table or view; write it as the database has it, with its schema",
    ),
    ("42703 1054 207", r"no such column|invalid column name", False, "there is no such column"),
    (
        "",
        r"(date|timestamp) too (small|large)",
        False,
        "a date lies outside the years 1 to 9999; leave such rows out in a query, or CAST the date to text",
    ),
    (
        "42601 42883 1064 1305 102 156",
        r"syntax error|near \"",
        False,
        "the database does not understand it; try it there first",
    ),
)


def meaning_of(error: SQLAlchemyError, config: ErpDbConfig, doing: str) -> ConnectorError:
    """The error of the sdk that says the same; `doing` is what was tried, such as 'stream orders'."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    found, text = _codes(cause), _text(cause)
    for codes, expression, passes, advice in _MEANINGS:
        if found & set(codes.split()) or re.search(expression, text, re.IGNORECASE):
            return _error(passes, f"{doing}: {advice} ({_clean(cause, config)})")
    passes = _passes_by_itself(error, cause)
    advice = _NO_ANSWER if passes else "the database refuses"
    return _error(passes, f"{doing}: {advice} ({_clean(cause, config)})")


def _passes_by_itself(error: SQLAlchemyError, cause: BaseException) -> bool:
    if isinstance(cause, sqlite3.Error):
        return False
    names = {each.__name__ for each in type(cause).__mro__}
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_lost or bool(names & {"OperationalError", "InterfaceError"})


def _error(passes: bool, message: str) -> ConnectorError:
    return RetriableError(message) if passes else FatalError(message)


def _clean(cause: BaseException, config: ErpDbConfig) -> str:
    text = _text(cause)
    if config.password is not None and (password := config.password.get_secret_value()):
        text = text.replace(password, "***")
    return text[:_MAX_TOLD]


def _parts(cause: BaseException) -> list[object]:
    """What a driver's error holds; that of SQL Server holds a pair."""
    only = cause.args[0] if len(cause.args) == 1 else cause.args
    return list(only) if isinstance(only, tuple) else [only]


def _codes(cause: BaseException) -> set[str]:
    numbers = {str(each) for each in _parts(cause)[:1] if isinstance(each, int)}
    return numbers | {str(getattr(cause, "sqlstate", None) or "")} - {""}


def _text(cause: BaseException) -> str:
    """In one line; SQL Server's driver tells bytes."""
    parts = [part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in _parts(cause)]
    return " ".join(" ".join(parts).split())
