"""Lists of a REST API that are read whole, while they change and after they did, on a real HTTP server."""

from typing import Any

import pytest
from erp_api_source import (
    BY_PAGE,
    ErpServer,
    Plant,
    Reply,
    Request,
    config,
    order,
    read,
    reply_json,
    rows,
    shared_server,
)

from fmrp_sdk import RecordsBatch, RetriableError

DATA = {"records": "$.data[*]"}
STREAM = {"name": "orders", "path": "page/orders", "paging": BY_PAGE, **DATA}
TO_A_TOTAL = {**STREAM, "paging": {**BY_PAGE, "total_path": "$.total"}, "key": ["id"]}


@pytest.fixture
def plant() -> Plant:
    """An API with ten orders."""
    plant = Plant(shared_server())
    plant.lists["orders"] = [order(number) for number in range(10)]
    return plant


def ids(given: Any) -> list[int]:
    return [int(row["id"]) for row in rows(given)]


def when(plant: Plant, request: int, happens: Any) -> None:
    """Something happens at the source just before it answers a request, counted from now."""
    plant.prepared.extend([lambda _: None] * (request - 1))
    plant.prepared.append(lambda _: happens() and None)


def test_a_list_is_given_whole_once_anything_in_it_changed(plant: Plant) -> None:
    given = config(plant, STREAM, batch_rows=4)
    first = read(given)
    batches = [each.batch.content for each in first]
    assert all(isinstance(each, RecordsBatch) and each.is_snapshot for each in batches)
    assert [each.is_last for each in batches] == [False, False, True]  # type: ignore[union-attr]
    assert [each.state == first[-1].state for each in first] == [False, False, True]
    plant.lists["orders"].reverse()
    assert read(given, first[-1].state) == []
    plant.lists["orders"][3]["quantity"] = 6
    assert sorted(ids(read(given, first[-1].state))) == list(range(10))
    del plant.lists["orders"][3]
    assert len(ids(read(given, first[-1].state))) == 9


def test_a_record_that_moves_to_a_page_already_read_is_not_taken_for_gone(plant: Plant) -> None:
    when(plant, 2, lambda: plant.lists["orders"].pop(0))
    assert ids(read(config(plant, STREAM))) == list(range(1, 10))
    assert len(plant.requests) == 3 * 4  # the first reading was of another list than the next two


def test_a_list_that_never_rests_is_put_off(plant: Plant) -> None:
    plant.lists["orders"] = [order(number) for number in range(60)]
    plant.prepared.extend([lambda _: plant.lists["orders"].pop() and None] * 40)
    with pytest.raises(RetriableError, match="read 4 times, the list was another each time"):
        read(config(plant, STREAM))


@pytest.mark.parametrize("place", [0, 9])
def test_by_the_total_it_is_seen_that_a_list_shrank_meanwhile(plant: Plant, place: int) -> None:
    when(plant, 3, lambda: plant.lists["orders"].pop(place))
    with pytest.raises(RetriableError, match="the list changed while it was read"):
        read(config(plant, TO_A_TOTAL))
    assert len(ids(read(config(plant, TO_A_TOTAL)))) == 9
    assert len(plant.requests) == 3 + 3


def test_a_record_that_comes_a_second_time_on_the_next_page_is_passed_over(plant: Plant) -> None:
    when(plant, 2, lambda: plant.lists["orders"].insert(0, order(50)))
    with pytest.raises(RetriableError, match="10 records came of 11"):
        read(config(plant, TO_A_TOTAL))


def test_a_list_that_breaks_off_is_not_given_in_part() -> None:
    server = ErpServer()
    try:
        plant = Plant(server)
        plant.lists["orders"] = [order(number) for number in range(10)]
        given = config(plant, STREAM, batch_rows=2, connect_timeout_s=2)

        def dies(_: Request) -> Reply:
            server.die()
            return Reply(b'{"data": [', is_cut=True)

        plant.prepared.extend([lambda _: None, lambda _: None, dies])
        with pytest.raises(RetriableError):
            read(given)
        server.stop()
        server.start()
        assert ids(read(given)) == list(range(10))
    finally:
        server.stop()


def test_whether_one_answer_changed_is_asked_by_its_tag_or_time(plant: Plant) -> None:
    plant.files["stock"] = b"a;b\n1;2\n"
    stream = {"name": "stock", "path": "file/stock", "format": "csv"}
    state = read(config(plant, stream))[-1].state
    assert read(config(plant, stream), state) == []
    assert "if-none-match" in plant.requests[-1].headers
    plant.files["stock"] = b"a;b\n1;3\n"
    assert rows(read(config(plant, stream), state)) == [b"a;b\n1;3\n"]
    # Asked otherwise, the answer of then says nothing.
    read(config(plant, {**stream, "params": {"plant": 2}}), state)
    assert "if-none-match" not in plant.requests[-1].headers


def test_a_time_of_change_is_only_trusted_once_it_is_a_minute_old(plant: Plant) -> None:
    stream = {"name": "s", "path": "x"}
    for at, is_asked in (("12:00:00", True), ("12:00:30", False)):
        told = {"date": "Tue, 30 Jun 2026 12:01:00 GMT", "last-modified": f"Tue, 30 Jun 2026 {at} GMT"}
        plant.prepared.append(lambda _, told=told: reply_json([{"a": 1}], **told))
        state = read(config(plant, stream))[-1].state
        plant.prepared.append(lambda _: Reply(status=304) if is_asked else reply_json([{"a": 1}]))  # noqa: B023 - at once
        assert read(config(plant, stream), state) == []
        assert ("if-modified-since" in plant.requests[-1].headers) is is_asked


def test_an_api_that_says_unchanged_unasked_is_refused(plant: Plant) -> None:
    plant.prepared.append(lambda _: Reply(status=304))
    with pytest.raises(Exception, match="status 304"):
        read(config(plant, {"name": "s", "path": "x"}))
