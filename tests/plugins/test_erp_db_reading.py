"""What is read by cursor and key: ties, late commits, changes, kinds of cursors, snapshots, names, broken streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from erp_db_source import T0, DatabaseSource, MariaDbSource, PostgresSource, SqliteSource

from fmrp_erp_db import ErpDbConnector
from fmrp_erp_db.state import MAX_KNOWN
from fmrp_sdk import FatalError, RecordsBatch
from fmrp_sdk.testing.readings import Given, Reader

SOURCES = {"sqlite": SqliteSource, "postgresql": PostgresSource, "mariadb": MariaDbSource}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseSource]:
    """A database of each kind."""
    made = SOURCES[request.param](tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def file_source(tmp_path: Path) -> SqliteSource:
    """A database where its kind does not matter."""
    return SqliteSource(tmp_path)


def reader_of(source: DatabaseSource, *streams: dict[str, Any], **changes: Any) -> Reader:
    """A reader of streams whose tables are named without their schema."""
    named = [{**each, **({"table": source.table(each["table"])} if "table" in each else {})} for each in streams]
    return Reader(ErpDbConnector, source.config(streams=named, **changes), 30.0)


def values_of(given: list[Given], column: str) -> list[Any]:
    return [row[column] for each in given for _, row in each.contents]


def ids_of(given: list[Given]) -> list[int]:
    return [int(each) for each in values_of(given, "id")]


ITEMS = {"name": "items", "table": "items", "cursor": "changed_at"}


def test_rows_that_tie_are_read_once_whatever_the_size_of_a_chunk(source: DatabaseSource) -> None:
    source.execute("DELETE FROM items")
    source.put_items(*((number, T0 + timedelta(minutes=number // 20)) for number in range(1, 61)))
    for chunk_rows in (7, 20, 60, 61):
        reader = reader_of(source, ITEMS, chunk_rows=chunk_rows)
        given = reader.read()
        assert ids_of(given) == list(range(1, 61)), chunk_rows
        assert reader.read(given[-1].state) == []
        middle = given[len(given) // 2].state
        assert sorted(ids_of(given[: len(given) // 2 + 1]) + ids_of(reader.read(middle))) == list(range(1, 61))


def test_rows_without_any_key_of_their_own_are_read_once_too(source: DatabaseSource) -> None:
    source.execute("DELETE FROM items")
    source.put_items(*((number, T0 + timedelta(minutes=number // 20)) for number in range(1, 61)))
    given = reader_of(source, {**ITEMS, "key": ["changed_at"]}, chunk_rows=7).read()
    assert Counter(ids_of(given)) == Counter(range(1, 61))


def test_what_is_committed_late_is_given_once_and_nothing_else_again(source: DatabaseSource) -> None:
    reader = reader_of(source, {**ITEMS, "lag": 120})
    state = reader.read()[-1].state
    source.put_items((8, T0 + timedelta(minutes=1)))  # older than the newest by exactly the lag
    late = reader.read(state)
    assert ids_of(late) == [8]
    assert reader.read(late[-1].state) == []
    source.put_items((9, T0 + timedelta(seconds=30)), (10, T0 + timedelta(minutes=4)))  # 9 is later than was promised
    assert ids_of(reader.read(late[-1].state)) == [10]


def test_what_is_committed_while_a_reading_is_broken_off_is_not_lost(source: DatabaseSource) -> None:
    reader = reader_of(source, {**ITEMS, "lag": 60}, chunk_rows=1)
    broken_off = reader.read(at_most=4)
    source.put_items((8, T0 + timedelta(minutes=2)), (9, T0 + timedelta(minutes=9)))
    rest = reader.read(broken_off[-1].state)
    assert sorted(ids_of(broken_off) + ids_of(rest)) == [1, 2, 3, 4, 5, 8, 9]


def test_a_row_that_changed_is_given_as_it_is_now(source: DatabaseSource) -> None:
    reader = reader_of(source, ITEMS)
    state = reader.read()[-1].state
    source.execute("UPDATE items SET code = 'NEW' WHERE id = 2")  # and its time was not touched: the lag covers it
    assert [row["code"] for _, row in reader.read(state)[0].contents] == ["NEW"]


def test_rows_without_a_cursor_are_refused_or_left_out_as_configured(source: DatabaseSource) -> None:
    source.spoil()
    with pytest.raises(FatalError, match="stream items: there are rows without a value in changed_at or id"):
        reader_of(source, ITEMS).read()
    assert sorted(ids_of(reader_of(source, {**ITEMS, "missing": "skip"}).read())) == [1, 2, 3, 4, 5]


KINDS = {
    "int": ("bigint", ["-3", "7", "7", "9007199254740993"], "9007199254740994", 2),
    "decimal": ("decimal(20,3)", ["0.001", "0.002", "0.002", "12345678901234567.125"], "12345678901234567.126", 0.5),
    "date": ("date", ["'2024-02-28'", "'2024-02-29'", "'2024-02-29'", "'2024-03-01'"], "'2024-03-02'", 0),
    "time": ("timestamp", ["'2024-01-01 00:00:01'", "'2024-01-01 00:00:02'"] * 2, "'2024-01-01 00:00:03'", 60),
    "text": ("varchar(20)", ["'20240131'", "'20240201'", "'20240201'", "'20240203'"], "'20240204'", 86_400),
    "plain text": ("varchar(20)", ["'A-1'", "'B''1'", "'B''1'", "'C%1'"], "'D:1'", 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_cursors_of_every_kind_go_on_exactly_where_they_were(source: DatabaseSource, kind: str) -> None:
    if kind == "decimal" and isinstance(source, SqliteSource):
        pytest.skip("SQLite keeps decimals as floating-point numbers")
    column, values, following, lag = KINDS[kind]
    source.execute(
        f"CREATE TABLE kinds (id int PRIMARY KEY, moved {column} NULL)",
        *(f"INSERT INTO kinds VALUES ({number}, {value})" for number, value in enumerate(values)),
    )
    reader = reader_of(source, {"name": "kinds", "table": "kinds", "cursor": "moved", "lag": lag}, chunk_rows=1)
    assert reader.check().ok
    given = reader.read()
    assert sorted(ids_of(given)) == [0, 1, 2, 3]
    for place, each in enumerate(given, 1):
        assert sorted(ids_of(given[:place]) + ids_of(reader.read(each.state))) == [0, 1, 2, 3]
    source.execute(f"INSERT INTO kinds VALUES (4, {following})")
    assert ids_of(reader.read(given[-1].state)) == [4]


def test_floating_point_cursors_are_refused_before_anything_is_read(source: DatabaseSource) -> None:
    source.execute(
        "CREATE TABLE floats (id int PRIMARY KEY, moved double precision)", "INSERT INTO floats VALUES (1, 0.1)"
    )
    reader = reader_of(source, {"name": "floats", "table": "floats", "cursor": "moved"})
    assert "floating-point" in reader.check().message
    with pytest.raises(FatalError, match="floating-point"):
        reader.read()


def test_a_cursor_whose_type_changed_asks_for_a_reset(file_source: SqliteSource) -> None:
    state = reader_of(file_source, {**ITEMS, "cursor": "id", "key": ["id"], "lag": 0}).read()[-1].state
    file_source.execute("ALTER TABLE items RENAME COLUMN id TO was", "ALTER TABLE items RENAME COLUMN code TO id")
    with pytest.raises(
        FatalError, match="stream items: column 'id' has another type than when it was last read; reset"
    ):
        reader_of(file_source, {**ITEMS, "cursor": "id", "key": ["id"], "lag": 0}).read(state)


def test_a_time_that_lost_its_zone_asks_for_a_reset(tmp_path: Path) -> None:
    source = PostgresSource(tmp_path)
    reader = reader_of(source, ITEMS)
    state = reader.read()[-1].state
    source.execute("ALTER TABLE items ALTER COLUMN changed_at TYPE timestamp")
    with pytest.raises(FatalError, match="another type"):
        reader.read(state)
    source.close()


def test_other_columns_may_change_their_type_and_come_or_go(source: DatabaseSource) -> None:
    reader = reader_of(source, ITEMS)
    state = reader.read()[-1].state
    source.execute("ALTER TABLE items DROP COLUMN price", "ALTER TABLE items ADD COLUMN colour varchar(20)")
    source.execute(f"INSERT INTO items VALUES (6, 'SIX', '{source.time(T0 + timedelta(days=9))}', 'red')")
    (row,) = [row for _, row in reader.read(state)[-1].contents if str(row["id"]) == "6"]
    assert (row["code"], row["colour"]) == ("SIX", "red")


def test_a_source_that_was_set_back_is_read_again_as_a_whole(source: DatabaseSource) -> None:
    reader = reader_of(source, {**ITEMS, "lag": 30})
    state = reader.read()[-1].state
    source.execute("DELETE FROM items")  # a backup of earlier is restored
    source.put_items((1, T0), (2, T0 + timedelta(minutes=1)))
    again = reader.read(state)
    assert ids_of(again) == [1, 2]
    source.put_items((3, T0 + timedelta(minutes=2)))
    assert ids_of(reader.read(again[-1].state)) == [3]


def test_rows_dated_ahead_of_the_clock_wait_and_hold_nothing_up(tmp_path: Path) -> None:
    source = PostgresSource(tmp_path)
    now = datetime.now(UTC)
    source.put_items((6, now - timedelta(minutes=2)), (7, now + timedelta(days=400)))
    reader = reader_of(source, {**ITEMS, "lag": 60})
    given = reader.read()
    assert ids_of(given) == [1, 2, 3, 4, 5, 6]
    source.put_items((8, now - timedelta(minutes=1)))
    assert ids_of(reader.read(given[-1].state)) == [8]
    source.close()


def test_a_window_of_more_rows_than_are_remembered_loses_none(file_source: SqliteSource) -> None:
    count = MAX_KNOWN + 500
    file_source.execute(
        "CREATE TABLE many (id INTEGER PRIMARY KEY, qty INTEGER)",
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        " INSERT INTO many SELECT i, i FROM n",
    )
    reader = reader_of(
        file_source, {"name": "many", "table": "many", "cursor": "id", "lag": 1_000_000}, chunk_rows=4_000
    )
    given = reader.read()
    assert ids_of(given) == list(range(1, count + 1))
    file_source.execute(f"INSERT INTO many VALUES ({count + 1}, 1)")
    again = ids_of(reader.read(given[-1].state))
    assert again == [*range(1, 501), count + 1]  # what is not remembered comes again, and is merged by its natural key
    assert len(str(given[-1].state)) < 200_000


SNAPSHOT = {"name": "items", "table": "items", "mode": "snapshot"}


def test_a_snapshot_is_told_as_a_whole_each_time(source: DatabaseSource) -> None:
    reader = reader_of(source, SNAPSHOT)
    given = reader.read()
    records = [each.batch.content for each in given]
    assert all(isinstance(each, RecordsBatch) and each.is_snapshot for each in records)
    assert [each.is_last for each in records if isinstance(each, RecordsBatch)] == [False, False, True]
    # Whoever is cut off in the middle tells all of it again: what it lacked would be taken for gone.
    assert ids_of(reader.read(given[0].state)) == [1, 2, 3, 4, 5]
    source.execute("DELETE FROM items WHERE id = 2")
    assert ids_of(reader.read(given[-1].state)) == [1, 3, 4, 5]
    source.execute("DELETE FROM items")
    (empty,) = reader.read(given[-1].state)
    assert empty.contents == ()
    assert isinstance(empty.batch.content, RecordsBatch)
    assert empty.batch.content.is_snapshot
    assert empty.batch.content.is_last


def test_what_comes_before_an_error_is_given(tmp_path: Path) -> None:
    source = PostgresSource(tmp_path)
    source.put_items(*((number, T0 + timedelta(minutes=number)) for number in (6, 7, 8, 9)))
    source.execute("ALTER TABLE items ADD COLUMN due date", "UPDATE items SET due = 'infinity' WHERE id = 9")
    found: list[int] = []
    with reader_of(source, ITEMS).running() as run:
        for _ in range(2):
            batch = run.next_batch(None).result(20)
            assert batch is not None
            assert isinstance(batch.content, RecordsBatch)
            found += batch.content.records.column("id").to_pylist()  # type: ignore[attr-defined]
        with pytest.raises(FatalError, match="stream items: a date lies outside the years 1 to 9999"):
            run.next_batch(None).result(20)
    source.execute("UPDATE items SET due = NULL")
    assert found + ids_of(reader_of(source, ITEMS).read(dict(batch.state))) == list(range(1, 10))
    source.close()


def test_nothing_follows_half_a_snapshot(tmp_path: Path) -> None:
    source = PostgresSource(tmp_path)
    source.put_items(*((number, T0 + timedelta(minutes=number)) for number in (6, 7, 8, 9)))
    source.execute("ALTER TABLE items ADD COLUMN due date", "UPDATE items SET due = 'infinity' WHERE id = 9")
    with reader_of(source, SNAPSHOT, {**ITEMS, "name": "later", "columns": ["id"]}).running() as run:
        first = run.next_batch(None).result(20)
        assert first is not None
        assert isinstance(first.content, RecordsBatch)
        assert not first.content.is_last
        with pytest.raises(FatalError, match="stream items: a date lies outside the years 1 to 9999"):
            run.next_batch(None).result(20)
    source.close()


def test_a_stream_that_cannot_be_read_keeps_no_other_from_being_read(source: DatabaseSource) -> None:
    gone = {"name": "gone", "table": "no_such_table", "cursor": "id", "key": ["id"]}
    later = {**SNAPSHOT, "name": "later"}
    reader = reader_of(source, ITEMS, gone, later, chunk_rows=100)
    check = reader.check()
    assert not check.ok
    assert "stream gone: there is no such table" in check.message
    with reader.running() as run:
        first, second = (run.next_batch(None).result(20) for _ in range(2))
        assert first is not None
        assert second is not None
        assert [each.content.stream for each in (first, second) if isinstance(each.content, RecordsBatch)] == [
            "items",
            "later",
        ]
        with pytest.raises(FatalError, match="stream gone: there is no such table"):
            run.next_batch(None).result(20)
    with pytest.raises(FatalError, match="stream gone"):
        reader.read(dict(second.state))


def test_names_of_any_kind_are_quoted(source: DatabaseSource) -> None:
    table, key, cursor = "Order Lines", "select", "ge%ndert:am (UTC)"
    source.execute(
        f"CREATE TABLE {source.quoted(table)} ({source.quoted(key)} int PRIMARY KEY, {source.quoted(cursor)} int)",
        *(f"INSERT INTO {source.quoted(table)} VALUES ({number}, {number * 10})" for number in range(5)),
    )
    reader = reader_of(source, {"name": "lines", "table": table, "cursor": cursor, "lag": 0})
    given = reader.read()
    assert [int(each) for each in values_of(given, key)] == [0, 1, 2, 3, 4]
    assert reader.read(given[0].state)
    evil = 'items"; DROP TABLE items; --'
    with pytest.raises(FatalError, match="no such table"):
        reader_of(source, {"name": "evil", "table": evil, "cursor": "id", "key": ["id"]}).read()
    assert source.execute("SELECT count(*) FROM items") == [(5,)]


def test_a_query_may_hold_percent_signs_and_colons(source: DatabaseSource) -> None:
    query = f"SELECT id, code FROM {source.table('items')} WHERE code LIKE 'ITEM%' AND code <> ':nothing'"
    given = reader_of(source, {"name": "q", "query": query, "cursor": "id", "key": ["id"]}).read()
    assert ids_of(given) == [1, 2, 3, 4, 5]


def test_the_first_reading_begins_where_it_is_told(source: DatabaseSource) -> None:
    begin = (T0 + timedelta(minutes=2)).replace(tzinfo=None).isoformat(sep=" ")
    reader = reader_of(source, {**ITEMS, "start": begin})
    given = reader.read()
    assert ids_of(given) == [3, 4, 5]
    source.put_items((6, T0 + timedelta(minutes=1)))
    assert reader.read(given[-1].state) == []
    assert "start" in reader_of(source, {**ITEMS, "cursor": "id", "start": "yesterday"}).check().message
