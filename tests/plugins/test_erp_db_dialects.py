"""What is sent to each dialect, to SQL Server above all, for which there is no server here; what is refused at once."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from pymssql._mssql import substitute_params
from sqlalchemy.dialects.mssql import pymssql

from fmrp_erp_db import ErpDbConfig, ErpDbConnector, StreamConfig
from fmrp_erp_db.columns import as_text
from fmrp_erp_db.engines import connect_arguments, session_statements, url_of
from fmrp_erp_db.query_guard import NotOneSelect, single_select
from fmrp_erp_db.session import _CLOCKS, _POWERS
from fmrp_erp_db.statements import StreamStatements
from fmrp_sdk.testing.readings import Reader

MSSQL = {"dialect": "mssql", "host": "erp.example.com", "database": "erp", "user": "planner", "tls": "unverified"}
TABLE = StreamConfig(name="lines", table="dbo.Order Lines", cursor="changed at", key=("id",))
QUERY = StreamConfig(name="q", query="SELECT id, [changed at] FROM dbo.t", cursor="changed at", key=("id",))
AT = datetime(2024, 1, 31, 8, 0, 0, 123456)


def config(**changes: Any) -> ErpDbConfig:
    return ErpDbConfig.model_validate({**MSSQL, "password": "reader-password", **changes})


def sent(statement: sa.Select[Any]) -> str:
    """As the driver puts values into it."""
    dialect = pymssql.dialect(paramstyle="pyformat")
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return substitute_params(str(compiled), compiled.params).decode()


def statements(stream: StreamConfig) -> list[str]:
    """Everything that is sent for a stream."""
    made = StreamStatements(stream, "mssql", ("id", "changed at"))
    order = ("changed at", "id")
    return [
        sent(each)
        for each in (
            made.probe(),
            made.sample(order),
            made.incomplete(order),
            made.newest("changed at"),
            made.newest("changed at", AT, like=AT),
            made.page(("id", "changed at"), order, 100, low=AT, upper=AT),
            made.page(("id", "changed at"), order, 100, after=(AT, 7), upper=AT),
        )
    ]


@pytest.mark.parametrize("stream", [TABLE, QUERY], ids=["table", "query"])
def test_sql_server_is_sent_nothing_but_single_selects(stream: StreamConfig) -> None:
    for statement in [*statements(stream), _POWERS["mssql"], _CLOCKS["mssql"]]:
        assert single_select(statement, "mssql")
    # Locks and the choice among writers are no writes: what else a session is told is told here.
    assert session_statements(config()) == ["SET LOCK_TIMEOUT 100000", "SET DEADLOCK_PRIORITY LOW"]


def test_sql_server_pages_go_on_after_cursor_and_key_in_microseconds() -> None:
    page = " ".join(statements(TABLE)[-1].split())
    column = "CAST([dbo].[Order Lines].[changed at] AS DATETIME2(6))"
    value = "CAST(N'2024-01-31T08:00:00.123456' AS DATETIME2(6))"
    assert page.startswith("SELECT TOP 100 ")
    assert f"{column} > {value} OR {column} = {value} AND [dbo].[Order Lines].[id] >= 7" in page
    # By the column as it is too, as its index knows no cast.
    assert "[dbo].[Order Lines].[changed at] >= CAST(N'2024-01-31T07:59:59.123456' AS DATETIME2(6))" in page
    assert "[dbo].[Order Lines].[changed at] <= CAST(N'2024-01-31T08:00:01.123456' AS DATETIME2(6))" in page
    assert page.endswith(f"ORDER BY {column}, [dbo].[Order Lines].[id]")


def test_sql_server_is_told_of_the_intent_to_read_and_of_all_time_outs() -> None:
    told = connect_arguments(config(statement_timeout_s=40, connect_timeout_s=7), "")
    assert told["read_only"] is True
    assert (told["timeout"], told["login_timeout"], told["encryption"]) == (40, 7, "require")
    assert connect_arguments(config(tls="off"), "")["encryption"] == "off"
    with pytest.raises(ValidationError, match="cannot check certificates"):
        config(tls="verify")


def test_sql_server_that_is_absent_is_said_so() -> None:
    check = Reader(ErpDbConnector, config(host="127.0.0.1", port=1, connect_timeout_s=2), 30.0).check()
    assert not check.ok
    assert check.message.startswith("erp on 127.0.0.1: the database does not answer; is it up, and host and port right")
    assert "reader-password" not in check.message


@pytest.mark.skipif(os.environ.get("FMRP_FAULTS") != "full", reason="its driver takes seven seconds; FMRP_FAULTS=full")
def test_sql_server_that_is_silent_is_not_waited_for_without_end(silent_address: tuple[str, int]) -> None:
    host, port = silent_address
    check = Reader(ErpDbConnector, config(host=host, port=port, connect_timeout_s=1), 30.0).check()
    assert "the database does not answer" in check.message


def test_addresses_do_not_tell_passwords() -> None:
    assert "reader-password" not in f"{url_of(config())} {url_of(config())!r} {config()!r}"


READS = [
    ("postgresql", "SELECT a AS \"update\", t.insert FROM t WHERE x = 'delete into' AND b::date > '2024-01-01'"),
    ("postgresql", "WITH x AS (SELECT 1 AS a) SELECT a FROM x WHERE (a > 0 OR (a < 5))"),
    ("mysql", "SELECT `into`, REPLACE(a, 'b', 'c'), last_update FROM t WHERE name = 'it''s (not closed'"),
    ("mssql", "SELECT [delete], \"exec\" FROM [dbo].[t] WHERE a LIKE '100%'"),
    ("sqlite", "select a from t where b = '[' and [c d] = 1"),
]
WRITES = [
    ("postgresql", "DELETE FROM t"),
    ("postgresql", "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT a FROM x"),
    ("postgresql", "SELECT a FROM t FOR NO KEY UPDATE"),
    ("postgresql", "SELECT a FROM dblink('host=elsewhere', 'DELETE FROM t') AS x(a int)"),
    ("postgresql", "SELECT a FROM t) q; DELETE FROM t; SELECT 1 FROM (SELECT 1"),
    ("postgresql", "SELECT a FROM t) q -- the rest"),
    ("postgresql", "SELECT $$)$$ FROM t"),
    ("postgresql", "SELECT E'\\') FROM t"),
    ("mysql", "SELECT a FROM t INTO OUTFILE '/tmp/x'"),
    ("mysql", "SELECT a FROM t LOCK IN SHARE MODE"),
    ("mysql", "SELECT a FROM t # )"),
    ("mysql", "SELECT '\\') FROM t"),
    ("mssql", "SELECT a INTO copy FROM t"),
    ("mssql", "SELECT a FROM t EXEC sp_rename 'a', 'b'"),
    ("mssql", "SELECT a FROM OPENROWSET('SQLNCLI', 'x', 'DELETE FROM t') AS x"),
    ("mssql", "SELECT NEXT  VALUE FOR numbers AS a"),
    ("mssql", "SELECT a FROM t) DELETE FROM t SELECT 1 FROM (SELECT 1 AS b"),
    ("mssql", "WITH x AS (SELECT 1 AS a) SELECT a FROM x"),
    ("mssql", "SELECT [a]]) DELETE FROM t --] FROM t"),
    ("sqlite", "SELECT 'a FROM t"),
    ("sqlite", "PRAGMA query_only = OFF"),
]


@pytest.mark.parametrize(("dialect", "query"), READS)
def test_queries_that_read_are_taken_as_they_are(dialect: str, query: str) -> None:
    assert single_select(f"  {query}\n", dialect) == query


@pytest.mark.parametrize(("dialect", "query"), WRITES)
def test_queries_that_write_or_break_out_are_refused_with_the_reason(dialect: str, query: str) -> None:
    with pytest.raises(NotOneSelect, match=r"holds|begins with|must begin|closes|opens|calls"):
        single_select(query, dialect)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"path": "/erp.db"}, "only SQLite is a file"),
        ({"host": ""}, "host: mssql needs it"),
        ({"ca_pem": "x"}, "must be certificates as PEM text"),
        ({"streams": [{"name": "a", "cursor": "c"}]}, "give either a table or a query"),
        ({"streams": [{"name": "a", "table": "t"}]}, "needs a cursor column"),
        ({"streams": [{"name": "a", "table": "t", "mode": "snapshot", "cursor": "c"}]}, "leave out cursor"),
        ({"streams": [{"name": "a", "query": "SELECT 1", "cursor": "c"}]}, "a query needs its key"),
        ({"streams": [{"name": "a/b", "table": "t", "cursor": "c"}]}, "must be 1 to 100 letters"),
        ({"streams": [{"name": "a", "table": "t", "cursor": "c"}] * 2}, "is there twice"),
        ({"streams": [{"name": "a", "query": "DROP TABLE t", "cursor": "c", "key": ["c"]}]}, "must begin with SELECT"),
    ],
)
def test_configurations_that_cannot_work_are_refused_with_the_reason(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        config(**wrong)


def test_a_file_of_sqlite_is_named_by_its_whole_path() -> None:
    with pytest.raises(ValidationError, match="must be an absolute path"):
        ErpDbConfig(dialect="sqlite", path=Path("erp.db"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2024, 1, 31, 8, 0, tzinfo=UTC), "2024-01-31 08:00:00"),
        (datetime.fromisoformat("2024-01-31T00:30:00+02:00"), "2024-01-30 22:30:00"),
        (AT, "2024-01-31 08:00:00.123456"),
        (date(2024, 1, 31), "2024-01-31"),
        (Decimal("1E+3"), "1000"),
        (True, "true"),
        (b"\x00\xff", "00ff"),
        ({"a": [1, "ä"]}, '{"a": [1, "ä"]}'),
    ],
)
def test_values_without_a_type_of_their_own_come_as_texts_that_mappings_read(value: Any, text: str) -> None:
    assert as_text(value) == text
