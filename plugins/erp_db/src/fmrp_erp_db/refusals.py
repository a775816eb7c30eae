"""What a database's errors mean: whether to try again, and a sentence on what to do. No message tells the password."""

import re
import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fmrp_erp_db.config import ErpDbConfig
from fmrp_sdk import ConnectorError, FatalError, RetriableError

_MAX_TOLD = 400
# (expression, whether it passes by itself, what to do); searched in the code and text of the driver's error, in order.
_MEANINGS: tuple[tuple[str, bool, str], ...] = (
    (
        r"\b25006\b|read-only transaction|\b1792\b|READ ONLY transaction|attempt to write|not authorized|query_only",
        False,
        "the query tries to write or to change the session, which is refused; give a plain SELECT",
    ),
    (
        r"\b57014\b|statement timeout|\b1969\b|\b3024\b|max_statement_time|max_execution_time|interrupted"
        r"|\b55P03\b|lock timeout|\b1205\b|\b1222\b|\b20003\b",
        True,
        "a statement took longer than statement_timeout_s; an index on cursor and key helps, or a longer time-out",
    ),
    (r"certificate verify failed|certificate", False, "check ca_pem and that host is the name in the certificate"),
    (
        r"does not support SSL|doesn't support it|SSL is required",
        False,
        "the server offers no TLS; set tls to 'off' only if the network between is trusted",
    ),
    (
        r"\b28[0P]0\d\b|authentication failed|no password supplied|no pg_hba|role .* does not|\b1045\b|\b18456\b"
        r"|Login failed",
        False,
        "check user and password, and that this log-in may connect from here",
    ),
    (r"\b3D000\b|database .* does not exist|\b1049\b|\b1044\b|\b4060\b", False, "check the name of the database"),
    (r"file is not a database|malformed", False, "the file is no SQLite database, or is damaged"),
    (r"unable to open database file", True, "check the path, that its drive is mounted, and the worker's rights to it"),
    (r"database is locked|database table is locked", True, "another program is writing; it will be tried again"),
    (
        r"\b42501\b|\b1142\b|\b1143\b|permission denied|permission was denied",
        False,
        "grant this log-in the right to SELECT",
    ),
    (
        r"\b42P01\b|\b1146\b|no such table|Invalid object name|\b208\b",
        False,
        "there is no such table or view; write it as the database has it, with its schema",
    ),
    (r"\b42703\b|\b1054\b|no such column|Invalid column name|\b207\b", False, "there is no such column"),
    (
        r"(date|timestamp) too (small|large)",
        False,
        "a date lies outside the years 1 to 9999; leave such rows out in a query, or CAST the date to text",
    ),
    (
        r"\b42\w{3}\b|\b1064\b|syntax error|near \"",
        False,
        "the database does not understand the query; try it there first",
    ),
)


def meaning_of(error: SQLAlchemyError, config: ErpDbConfig, doing: str) -> ConnectorError:
    """The error of the sdk that says the same; `doing` is what was tried, such as 'stream orders'."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    told = f"{getattr(cause, 'sqlstate', None) or ''} {cause}"
    for expression, passes, advice in _MEANINGS:
        if re.search(expression, told, re.IGNORECASE):
            return _error(passes, f"{doing}: {advice} ({_clean(cause, config)})")
    passes = _passes_by_itself(error, cause)
    advice = "the database does not answer; is it up, and host and port right?" if passes else "the database refuses"
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
    text = " ".join(str(cause).split())
    if config.password is not None and (password := config.password.get_secret_value()):
        text = text.replace(password, "***")
    return text[:_MAX_TOLD]
