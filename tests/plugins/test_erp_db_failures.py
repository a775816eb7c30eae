"""What goes wrong under way: servers that die, statements without end, much data, odd passwords."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from erp_db_source import READER, T0, MariaDbSource, PostgresSource, ServerSource, SqliteSource
from pydantic import BaseModel

from fmrp_erp_db import ErpDbConnector
from fmrp_sdk import ConnectorRun, FatalError, RetriableError
from fmrp_sdk.testing.readings import Reader

SERVERS = {"postgresql": PostgresSource, "mariadb": MariaDbSource}


@pytest.fixture(params=SERVERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerSource]:
    """A database on a server, which runs again after the test."""
    made = SERVERS[request.param](tmp_path)
    try:
        yield made
    finally:
        if not made.server.processes():
            made.server.start()
        made.close()


def reader_of(source: ServerSource | SqliteSource, stream: dict[str, Any], **changes: Any) -> Reader:
    return Reader(ErpDbConnector, source.config(streams=[stream], **changes), 30.0)


def test_after_a_server_was_killed_between_chunks_all_is_there_once(source: ServerSource) -> None:
    source.execute("DELETE FROM items")
    source.put_items(*((number, T0 + timedelta(seconds=number // 4)) for number in range(1, 41)))
    reader = reader_of(source, {"name": "items", "table": source.table("items"), "cursor": "changed_at"}, chunk_rows=3)
    with reader.running() as run:
        first = [run.next_batch(None).result(20) for _ in range(5)]
        source.server.kill()
        with pytest.raises(RetriableError, match="stream items: the database does not answer"):  # noqa: PT012
            while run.next_batch(None).result(20) is not None:
                pass
    assert not reader.check().ok
    with pytest.raises(RetriableError):
        reader.read()
    source.server.start()
    taken = [number for batch in first if batch for number in batch.content.records.column("id").to_pylist()]  # type: ignore[union-attr]
    assert first[-1] is not None
    rest = [row["id"] for each in reader.read(dict(first[-1].state)) for _, row in each.contents]
    assert sorted(taken + rest) == list(range(1, 41))


def slow_config(source: ServerSource, **changes: Any) -> BaseModel:
    """A query each of whose rows takes so long that a chunk is under way for seconds."""
    sleep = "(SELECT 1 FROM pg_sleep(0.2 + 0 * id))" if isinstance(source, PostgresSource) else "sleep(0.2 + 0 * id)"
    query = f"SELECT id, {sleep} AS slow FROM {source.table('items')}"
    stream = {"name": "slow", "query": query, "cursor": "id", "key": ["id"]}
    return source.config(streams=[stream], chunk_rows=50, **changes)


def is_busy(source: ServerSource) -> bool:
    """Whether the server is in the middle of a chunk."""
    query = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep'"
    if isinstance(source, PostgresSource):
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    return source.server.execute(query) != [(0,)]


def wait_until_busy(source: ServerSource) -> None:
    deadline = time.monotonic() + 20
    while not is_busy(source):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_that_is_killed_within_a_chunk_ends_the_reading_at_once(source: ServerSource) -> None:
    source.put_items(*((number, T0) for number in range(100, 140)))
    with Reader(ErpDbConnector, slow_config(source), 30.0).running() as run:
        following = run.next_batch(None)
        wait_until_busy(source)
        source.server.kill()
        with pytest.raises(RetriableError, match="stream slow"):
            following.result(10)


def test_who_cancels_is_heard_within_a_statement(source: ServerSource) -> None:
    source.put_items(*((number, T0) for number in range(100, 300)))
    run = ConnectorRun(ErpDbConnector(), slow_config(source))
    following = run.next_batch(None)
    wait_until_busy(source)
    begin = time.monotonic()
    assert run.close(10)
    assert following.cancelled()
    assert time.monotonic() - begin < 5
    assert not is_busy(source)


def test_a_statement_without_end_is_ended_by_its_time_out(source: ServerSource) -> None:
    source.put_items(*((number, T0) for number in range(100, 140)))
    begin = time.monotonic()
    with pytest.raises(RetriableError, match="stream slow: a statement took longer than statement_timeout_s"):
        Reader(ErpDbConnector, slow_config(source, statement_timeout_s=1), 30.0).read()
    assert time.monotonic() - begin < 8


def test_a_statement_without_end_is_ended_in_sqlite_too(tmp_path: Path) -> None:
    source = SqliteSource(tmp_path)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0"
    stream = {"name": "endless", "query": endless, "cursor": "i", "key": ["i"]}
    reader = reader_of(source, stream, statement_timeout_s=1)
    with pytest.raises(RetriableError, match="a statement took longer than statement_timeout_s"):
        reader.read()
    run = ConnectorRun(ErpDbConnector(), source.config(streams=[stream]))
    run.next_batch(None)
    assert run.close(5)


READ_ALL = """
import json, sys
from pathlib import Path
from fmrp_erp_db import ErpDbConfig, ErpDbConnector
from fmrp_sdk.testing.readings import Reader

settings = json.loads(sys.stdin.read())

def read(**changes):
    count = total = 0
    config = ErpDbConfig.model_validate({**settings, **changes})
    with Reader(ErpDbConnector, config, 120.0).running() as run:
        while (batch := run.next_batch(None).result(120)) is not None and (count == 0 or not changes):
            count += batch.content.records.num_rows
            total += sum(batch.content.records.column("id").to_pylist())
    (peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return count, total, int(peak.split()[1]) // 1024

before = read(chunk_rows=10)[2]  # what is loaded once: drivers, Arrow
count, total, after = read()
print(json.dumps({"count": count, "total": total, "grown_mib": after - before}))
"""


def test_many_rows_are_read_in_bounded_memory(source: ServerSource) -> None:
    is_full = os.environ.get("FMRP_FAULTS") == "full"
    is_postgres = isinstance(source, PostgresSource)
    if not is_postgres and not is_full:
        pytest.skip("it takes long: FMRP_FAULTS=full")
    count = 500_000 if is_full else 100_000
    numbers = f"generate_series(1, {count}) AS s(i)" if is_postgres else f"(SELECT seq AS i FROM seq_1_to_{count}) AS s"
    source.execute(
        "CREATE TABLE big (id int PRIMARY KEY, name varchar(80), qty decimal(10, 2))",
        f"INSERT INTO big SELECT i, repeat('x', 60), i FROM {numbers}",
    )
    stream = {"name": "big", "table": source.table("big"), "cursor": "id", "lag": 1000}
    told = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        input=json.dumps({**source.settings(), "streams": [stream]}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=200,
    )
    answer = json.loads(told.stdout)
    print(answer)
    assert (answer["count"], answer["total"]) == (count, count * (count + 1) // 2)
    assert answer["grown_mib"] < 40  # all of them would be more than that


def test_passwords_of_any_kind_work_and_are_never_told(source: ServerSource) -> None:
    password = "p@ss:w/ord%1 'x\"?#&"
    quoted = password.replace("'", "''")
    if isinstance(source, PostgresSource):
        source.server.execute(f"CREATE ROLE odd LOGIN PASSWORD '{quoted}' IN ROLE {READER}")
    else:
        grant = f"GRANT SELECT ON {source.schema}.* TO 'odd'@'%'"
        source.server.execute(f"CREATE USER 'odd'@'%' IDENTIFIED BY '{quoted}'", grant)
    try:
        config = source.config(user="odd", password=password)
        assert Reader(ErpDbConnector, config, 20.0).check().ok
        wrong = source.config(user="odd", password=password + "wrong")
        with pytest.raises(FatalError, match="check user and password") as raised:
            Reader(ErpDbConnector, wrong, 20.0).read()
        told = f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r} {config!r}"
        assert password not in told
    finally:
        source.server.execute("DROP ROLE odd" if isinstance(source, PostgresSource) else "DROP USER 'odd'@'%'")
