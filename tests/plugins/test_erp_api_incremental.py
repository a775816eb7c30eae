"""What is new in a list of a REST API, while it changes, breaks off or is forgotten, on a real HTTP server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from erp_api_source import (
    BY_CURSOR,
    BY_PAGE,
    ErpServer,
    Plant,
    Reply,
    Request,
    config,
    incremental,
    order,
    order_row,
    read,
    reply_json,
    rows,
    shared_server,
)

from fmrp_erp_api import ApiConfig
from fmrp_sdk import FatalError, RetriableError

DATA = {"records": "$.data[*]"}
SORTED = {"params": {"sort": "changed"}, "cursor": {"ordered": True}}
BY_OFFSET = {"kind": "offset", "size_param": "limit", "size": 3}
IN_PLACE = {"stays_in_place": True}
TOTAL = {"total_path": "$.total"}
STREAMS = {
    "page, sorted": incremental("orders", "page/orders", BY_PAGE, **DATA, **SORTED),
    "page, in place": incremental("orders", "page/orders", BY_PAGE | IN_PLACE, **DATA),
    "page, to a total": incremental("orders", "page/orders", BY_PAGE | TOTAL, **DATA),
    "offset, sorted": incremental("orders", "offset/orders", BY_OFFSET, **DATA, **SORTED),
    "offset, to a total": incremental("orders", "offset/orders", BY_OFFSET | TOTAL, **DATA),
    "cursor": incremental("orders", "cursor/orders", BY_CURSOR, **DATA),
    "cursor, sorted": incremental("orders", "cursor/orders", BY_CURSOR, **DATA, **SORTED),
    "link": incremental("orders", "link/orders", {"kind": "link"}),
    "one answer": incremental("orders", "plain/orders", {"kind": "none"}),
}


@pytest.fixture
def plant() -> Plant:
    """An API with ten orders."""
    plant = Plant(shared_server())
    plant.lists["orders"] = [order(number) for number in range(10)]
    return plant


def ids(given: Any) -> list[int]:
    return [int(row["id"]) for row in rows(given)]


def when(plant: Plant, request: int, happens: Callable[[], Any]) -> None:
    """Something happens at the source just before it answers a request, counted from now."""
    plant.prepared.extend([lambda _: None] * (request - 1))
    plant.prepared.append(lambda _: happens() and None)


def change(plant: Plant, number: int, hour: int, quantity: int = 77) -> dict[str, Any]:
    """An order gets another quantity, and the hour as its time of change."""
    found = next(each for each in plant.lists["orders"] if each["id"] == number)
    found |= {"quantity": quantity, "changed": order(hour)["changed"]}
    return found


# -- what is new ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_new_and_changed_records_are_given_once(plant: Plant, stream: dict[str, Any]) -> None:
    given = config(plant, stream, batch_rows=4)
    first = read(given)
    assert sorted(ids(first)) == list(range(10))
    assert read(given, first[-1].state) == []
    plant.lists["orders"] += [order(number) for number in range(20, 25)]
    changed = change(plant, 4, 26)
    second = read(given, first[-1].state)
    assert sorted(ids(second)) == [4, 20, 21, 22, 23, 24]
    assert order_row(changed) in rows(second)
    assert read(given, second[-1].state) == []


def test_only_what_is_at_or_after_the_last_change_less_the_overlap_is_asked_for(plant: Plant) -> None:
    stream = incremental("orders", "plain/orders", {"kind": "none"}, cursor={"overlap": 5400})
    state = read(config(plant, stream))[-1].state
    read(config(plant, stream), state)
    assert [request.query.get("since") for request in plant.requests] == [None, "2026-03-01T07:30:00Z"]


def test_what_is_stored_late_is_found_within_the_overlap(plant: Plant) -> None:
    given = config(plant, STREAMS["cursor"])
    state = read(given)[-1].state
    # A transaction at the source that began earlier and ended after the reading.
    plant.lists["orders"].append({**order(50), "changed": "2026-03-01T08:57:00Z"})
    assert ids(read(given, state)) == [50]


def test_records_of_the_same_moment_are_each_given_once(plant: Plant) -> None:
    for number in range(4, 10):
        change(plant, number, 4)
    for name in ("page, sorted", "cursor"):
        given = config(plant, STREAMS[name], batch_rows=2)
        found = read(given)
        assert sorted(ids(found)) == list(range(10))
        late = {**order(60 + len(name)), "changed": order(4)["changed"]}
        plant.lists["orders"].append(late)
        assert ids(read(given, found[-1].state)) == [late["id"]]
        plant.lists["orders"].remove(late)


def test_a_change_back_is_a_change(plant: Plant) -> None:
    given = config(plant, STREAMS["one answer"])
    state = read(given)[-1].state
    for quantity in (6, 5, 6):
        change(plant, 9, 9, quantity)
        found = read(given, state)
        assert rows(found) == [order_row(order(9, quantity))]
        state = found[-1].state


def test_a_date_far_ahead_does_not_end_all_reading(plant: Plant) -> None:
    plant.lists["orders"].append({**order(70), "changed": "2999-01-01T00:00:00Z"})
    for name in ("one answer", "page, sorted"):
        state = read(config(plant, STREAMS[name]))[-1].state
        new = {**order(71), "changed": "2998-01-01T00:00:00Z"}
        plant.lists["orders"].append(new)
        assert ids(read(config(plant, STREAMS[name]), state)) == [71]
        plant.lists["orders"].remove(new)


CURSORS: dict[str, tuple[dict[str, Any], list[Any], str, str]] = {
    "number": ({"type": "number", "overlap": 10, "ordered": True}, [98, 99, 100], "90", "101"),
    "decimal": ({"type": "number", "ordered": True}, ["1.5", "10.25"], "10.25", "11"),
    "text": ({"type": "text", "ordered": True}, ["a", "b"], "b", "c"),
    "date": ({"type": "date", "overlap": 1}, ["2026-02-28", "2026-03-01"], "2026-02-28", "2026-03-02"),
    "fractions": ({"overlap": 1}, ["2026-03-01T00:00:00.250+01:00"], "2026-02-28T23:59:59.250000+01:00", "2026-03-02"),
    "as written there": (
        {"format": "%d.%m.%Y %H:%M:%S", "time_zone": "Europe/Berlin", "overlap": 60},
        ["28.02.2026 23:00:00", "01.03.2026 00:00:30"], "28.02.2026 23:59:30", "02.03.2026 00:00:00",
    ),
    "sent otherwise": (
        {"expression": "changed ge {cursor}", "send_format": "%Y%m%d", "time_zone": "Europe/Berlin", "overlap": 0},
        ["2026-03-01 00:10:00"], "changed ge 20260301", "2026-03-02 00:00:00",
    ),
    "without a zone": (
        {"time_zone": "America/New_York"}, ["2026-03-01 05:10"], "2026-03-01 04:05:00", "2026-03-02 00:00",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("cursor", "values", "sent", "later"), CURSORS.values(), ids=CURSORS)
def test_values_are_compared_and_sent_as_the_source_writes_them(
    plant: Plant, cursor: dict[str, Any], values: list[Any], sent: str, later: str
) -> None:
    stream = incremental("s", "x", {"kind": "none"}, cursor={"param": "from", **cursor})
    records = [{"id": number, "changed": value} for number, value in enumerate(values)]
    plant.prepared.append(lambda _: reply_json(records))
    state = read(config(plant, stream))[-1].state
    plant.prepared.append(lambda _: reply_json([*records[-1:], {"id": 50, "changed": later}]))
    assert ids(read(config(plant, stream), state)) == [50]
    assert plant.requests[-1].query == {"from": sent}


def test_the_cursor_of_a_clock_on_the_wall_is_no_later_than_the_reading_began(plant: Plant) -> None:
    cursor = {"format": "%d.%m.%Y %H:%M:%S", "time_zone": "America/New_York", "param": "from", "overlap": 0}
    stream = incremental("s", "x", {"kind": "none"}, cursor=cursor)
    body = [{"id": 1, "changed": "01.01.2027 00:00:00"}]
    plant.prepared.extend([lambda _: reply_json(body, date="Tue, 30 Jun 2026 12:00:00 GMT")] * 2)
    read(config(plant, stream), read(config(plant, stream))[-1].state)
    assert plant.requests[-1].query == {"from": "30.06.2026 08:00:00"}


def test_the_first_reading_begins_where_it_is_told_to(plant: Plant) -> None:
    stream = incremental("orders", "page/orders", BY_PAGE, **DATA, params={"sort": "changed"})
    stream["cursor"] |= {"ordered": True, "initial": "2026-03-01T07:00:00Z", "overlap": 7200}
    assert ids(read(config(plant, stream))) == [7, 8, 9]


def test_a_list_configured_anew_is_read_from_its_beginning(plant: Plant) -> None:
    stream = STREAMS["page, sorted"]
    state = read(config(plant, stream))[-1].state
    assert read(config(plant, {**stream, "paging": {**BY_PAGE, "size": 5}}), state) == []
    assert len(rows(read(config(plant, {**stream, "params": {"sort": "changed", "plant": "2"}}), state))) == 10


# -- lists that change while they are read ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["page, sorted", "offset, sorted"])
def test_records_that_move_to_the_end_meanwhile_make_no_other_missed(plant: Plant, name: str) -> None:
    given = config(plant, STREAMS[name])
    when(plant, 2, lambda: [change(plant, number, 30 + number) for number in (0, 1)])
    when(plant, 1, lambda: plant.lists["orders"].remove(plant.lists["orders"][2]))
    found = read(given)
    assert sorted({*ids(found)}) == list(range(10))
    assert order_row(change(plant, 1, 31)) in rows(found)
    plant.lists["orders"].append(order(40))
    assert ids(read(given, found[-1].state)) == [40]


@pytest.mark.parametrize("name", ["page, to a total", "offset, to a total"])
def test_a_list_that_shrinks_meanwhile_is_read_again(plant: Plant, name: str) -> None:
    given = config(plant, STREAMS[name], batch_rows=100)
    when(plant, 2, lambda: plant.lists["orders"].pop(0))
    with pytest.raises(RetriableError, match="the list changed while it was read"):
        read(given)
    found = read(given, at_most=1)
    assert ids(found) == list(range(1, 10))


def test_rows_given_before_a_list_is_found_to_have_changed_are_not_given_again(plant: Plant) -> None:
    given = config(plant, STREAMS["page, to a total"])
    when(plant, 2, lambda: plant.lists["orders"].pop(0))
    found = read(given, at_most=1)
    assert ids(found) == [0, 1, 2, 4, 5, 6, 7, 8, 9]  # order 3 moved to the page before
    assert ids(read(given, found[-1].state)) == [3]


@pytest.mark.parametrize("name", ["page, to a total", "offset, to a total", "page, in place", "cursor"])
def test_records_added_in_front_meanwhile_are_given_by_the_next_reading_and_none_twice(plant: Plant, name: str) -> None:
    given = config(plant, STREAMS[name])
    # Added now, by the clock of the source: after the reading began.
    added = {**order(80), "changed": "2999-01-01T00:00:00Z"}
    when(plant, 2, lambda: plant.lists["orders"].insert(0, added))
    found = ids(batches := read(given, at_most=1))
    assert sorted(found) == list(range(10))
    assert ids(read(given, batches[-1].state)) == [80]


# -- readings that are cut off ----------------------------------------------------------------------------------------


@pytest.fixture
def mortal() -> Iterator[Plant]:
    """An API with ten orders on a server of its own."""
    server = ErpServer()
    plant = Plant(server)
    plant.lists["orders"] = [order(number) for number in (3, 1, 2, 9, 8, 7, 4, 5, 6, 0)]
    yield plant
    server.stop()


def until_it_ends(given: ApiConfig) -> tuple[list[int], Any]:
    """The ids that came, batch by batch and each with its state stored, until the reading ended with an error."""
    found: list[int] = []
    state: Any = None
    while True:
        try:
            batches = read(given, state, at_most=1)
        except RetriableError:
            return found, state
        assert batches, "the reading ended without an error"
        found, state = [*found, *ids(batches)], batches[-1].state


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_after_the_server_was_killed_in_the_middle_each_record_is_there_once(
    mortal: Plant, stream: dict[str, Any]
) -> None:
    given = config(mortal, stream, batch_rows=2, connect_timeout_s=2)
    mortal.prepared.extend([lambda _: None] * 3)

    def dies(_: Request) -> Reply:
        mortal.server.die()
        return Reply(b'{"data": [', is_cut=True)

    mortal.prepared.append(dies)
    found, state = until_it_ends(given)
    assert 0 < len(found) < 10
    mortal.server.stop()
    mortal.server.start()
    mortal.prepared.clear()
    assert sorted([*found, *ids(read(given, state))]) == list(range(10))


def test_a_reading_by_cursor_goes_on_where_it_was_cut_off(plant: Plant) -> None:
    given = config(plant, STREAMS["cursor"], batch_rows=4)
    (first,) = read(given, at_most=1)
    seen = len(plant.requests)
    assert ids(read(given, first.state)) == [4, 5, 6, 7, 8, 9]
    assert [request.query["cursor"] for request in plant.requests[seen:]] == ["p3", "p6", "p9"]


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_place_that_the_api_has_forgotten_leads_back_to_the_beginning(plant: Plant, status: int) -> None:
    given = config(plant, STREAMS["cursor"], batch_rows=4)
    (first,) = read(given, at_most=1)
    plant.prepared.append(lambda _: reply_json({"error": "expired"}, status))
    assert ids(read(given, first.state)) == [4, 5, 6, 7, 8, 9]
    assert [request.query.get("cursor") for request in plant.requests[-5:]] == ["p3", None, "p3", "p6", "p9"]


def test_a_place_forgotten_within_a_reading_puts_it_off(plant: Plant) -> None:
    given = config(plant, STREAMS["cursor"])
    plant.prepared.extend([lambda _: None] * 2)
    plant.prepared.append(lambda _: reply_json({"error": "cursor expired"}, 410))
    with pytest.raises(RetriableError, match=r'page 3: the API no longer knows the place.*"cursor expired"'):
        read(given)


def test_an_api_that_ends_its_list_with_not_found_is_told_how_to_be_read(plant: Plant) -> None:
    plant.prepared.extend([lambda _: None] * 4)
    plant.prepared.append(lambda _: reply_json({"detail": "Invalid page."}, 404))
    with pytest.raises(FatalError, match=r'"Invalid page\.".*set total_path, more_path or stop_at_short_page'):
        read(config(plant, STREAMS["page, in place"]))


# -- what is not as configured ----------------------------------------------------------------------------------------


def test_a_list_that_is_not_sorted_as_it_should_be_is_refused(plant: Plant) -> None:
    stream = incremental("orders", "page/orders", BY_PAGE, **DATA, cursor={"ordered": True})
    plant.lists["orders"].reverse()
    with pytest.raises(FatalError, match="do not come in ascending order of changed"):
        read(config(plant, stream))


def test_a_parameter_that_the_api_does_not_know_is_told(plant: Plant) -> None:
    stream = incremental("orders", "page/orders", BY_PAGE, **DATA, params={"sort": "changed"})
    stream["cursor"] = {"field": "changed", "param": "sinse", "ordered": True}
    plant.lists["orders"] += [order(number) for number in range(10, 20)]
    with pytest.raises(FatalError, match="gives those before it; is sinse the right parameter"):
        read(config(plant, stream))


def test_a_parameter_that_means_after_is_told(plant: Plant) -> None:
    def after(request: Request) -> Reply:
        found = [row for row in plant.lists["orders"] if row["changed"] > request.query.get("since", "")]
        return reply_json({"data": found[:3]})

    plant.prepared.extend([after] * 2)
    with pytest.raises(RetriableError, match="since means 'after': then set ordered to false"):
        read(config(plant, STREAMS["page, sorted"]))


def test_a_cursor_of_another_kind_is_told_with_an_example(plant: Plant) -> None:
    stream = incremental("orders", "plain/orders", {"kind": "none"}, cursor={"type": "number", "ordered": True})
    with pytest.raises(FatalError, match="changed is '2026-03-01T00:00:00Z', which is no number"):
        read(config(plant, stream))


def test_a_value_that_is_sent_as_a_day_gives_its_records_once(plant: Plant) -> None:
    plant.lists["orders"] = [order(number) for number in range(20, 40)]
    stream = incremental("orders", "page/orders", BY_PAGE, **DATA, params={"sort": "changed"})
    stream["cursor"] |= {"ordered": True, "send_format": "%Y-%m-%d"}
    found = read(config(plant, stream, batch_rows=3))
    assert ids(found) == list(range(20, 40))
    assert read(config(plant, stream), found[-1].state) == []
    assert plant.requests[-1].query["since"] == "2026-03-02"
