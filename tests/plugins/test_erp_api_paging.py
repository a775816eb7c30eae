"""Paging, formats and what is made of records, on a real HTTP server."""

import json
from typing import Any

import pytest
from erp_api_source import (
    BY_CURSOR,
    BY_PAGE,
    Plant,
    Reply,
    config,
    order,
    order_row,
    read,
    reply_json,
    rows,
    shared_server,
)
from pydantic import ValidationError

from fmrp_erp_api import ApiConnector
from fmrp_sdk import CheckResult, FatalError, FileBatch, RecordsBatch, RetriableError
from fmrp_sdk.testing.readings import Reader


@pytest.fixture
def plant() -> Plant:
    """An API with ten orders."""
    plant = Plant(shared_server())
    plant.lists["orders"] = [order(number) for number in range(10)]
    return plant


def read_one(plant: Plant, **stream: Any) -> list[Any]:
    return rows(read(config(plant, {"name": "orders", **stream})))


IN_PLACE = {"stays_in_place": True}
IN_DATA = {"records": "$.data[*]"}
BY_OFFSET = {"kind": "offset", "size_param": "limit", "size": 5}
BY_ODATA = {"kind": "link", "next_path": "$['@odata.nextLink']"}
SEARCH = {"path": "page/orders", "method": "POST", "post_is_search": True, "parameters_in": "body", "body": {"a": 1}}
WAYS: dict[str, tuple[dict[str, Any], int]] = {
    "whole": ({"path": "plain/orders"}, 1),
    "page": ({"path": "page/orders", "paging": BY_PAGE | IN_PLACE, **IN_DATA}, 5),
    "page, to the last": (
        {"path": "page/orders", "paging": BY_PAGE | IN_PLACE | {"more_path": "$.more"}, **IN_DATA}, 4,
    ),
    "page, to a short one": (
        {"path": "page/orders", "paging": BY_PAGE | IN_PLACE | {"stop_at_short_page": True}, **IN_DATA}, 4,
    ),
    "page, of a list that may shift: twice": ({"path": "page/orders", "paging": BY_PAGE, **IN_DATA}, 10),
    "offset, fewer than asked for": ({"path": "offset/orders", "paging": BY_OFFSET | IN_PLACE, **IN_DATA}, 5),
    "offset, to a total": ({"path": "offset/orders", "paging": {**BY_OFFSET, "total_path": "$.total"}, **IN_DATA}, 4),
    "cursor": ({"path": "cursor/orders", "paging": BY_CURSOR, **IN_DATA}, 4),
    "link header": ({"path": "link/orders", "paging": {"kind": "link"}}, 4),
    "link in the body": ({"path": "odata/orders", "paging": BY_ODATA, "records": "$.value[*]"}, 4),
    "parameters in the body": ({**SEARCH, "paging": BY_PAGE | IN_PLACE, **IN_DATA}, 5),
    "lines": ({"path": "jsonl/orders", "format": "jsonl"}, 1),
}  # fmt: skip


@pytest.mark.parametrize(("stream", "requests"), WAYS.values(), ids=WAYS)
def test_every_way_of_paging_gives_each_record_once(plant: Plant, stream: dict[str, Any], requests: int) -> None:
    assert read_one(plant, **stream) == [order_row(order(number)) for number in range(10)]
    assert len(plant.requests) == requests


def test_parameters_reach_a_nested_place_in_a_body(plant: Plant) -> None:
    paging = {"kind": "offset", "param": "page.from", "size_param": "page.size", "size": 50, "total_path": "$.total"}
    plant.prepared.append(lambda _: reply_json({"total": 1, "data": [{"a": 1}]}))
    stream = {
        "path": "search",
        "method": "POST",
        "post_is_search": True,
        "parameters_in": "body",
        "body": {"page": {"sort": "id"}},
    }
    read_one(plant, **stream, paging=paging, params={"tenant": 7, "all": True}, **IN_DATA)
    (request,) = plant.requests
    assert json.loads(request.body) == {"page": {"sort": "id", "from": 0, "size": 50}}
    assert request.query == {"tenant": "7", "all": "true"}


def test_pages_of_csv_become_one_file_with_one_header(plant: Plant) -> None:
    plant.lists["prices"] = [{"item": f"I-{number}", "price": "1.234,5"} for number in range(5)]
    stream = {"name": "prices", "path": "csv/prices", "format": "csv", "paging": {"kind": "page", **IN_PLACE}}
    given = read(config(plant, stream))
    (name, content), file = given[0].contents[0], given[0].batch.content
    assert isinstance(file, FileBatch)
    assert (name, content) == ("prices.csv", b"item;price\r\n" + b"".join(b"I-%d;1.234,5\r\n" % n for n in range(5)))
    assert file.size == len(content)
    assert len(plant.requests) == 3
    assert read(config(plant, stream), given[-1].state) == []
    plant.lists["prices"][4]["price"] = "2"
    assert read(config(plant, stream), given[-1].state)[0].contents[0][1].endswith(b"I-4;2\r\n")


def test_records_become_text_as_json_writes_it(plant: Plant) -> None:
    text = (
        '[{"id": 1, "amount": 12.50, "big": 12345678901234567890.123456789, "small": 1E-7, "exact": 1.5e3,'
        ' "ok": true, "none": null, "tags": ["a", 0.10, 12345678901234567890.123],'
        ' "deep": {"a": {"b": {"c": 1}}, "empty": {}}, "text": "\\ud800\\u00e9"}]'
    )
    plant.prepared.append(lambda _: Reply(text.encode()))
    assert read_one(plant, path="x") == [
        {
            "id": "1",
            "amount": "12.50",
            "big": "12345678901234567890.123456789",
            "small": "0.0000001",
            "exact": "1500",
            "ok": "true",
            "none": None,
            "tags": '["a",0.10,12345678901234567890.123]',
            "deep.a.b": '{"c":1}',
            "deep.empty": "{}",
            "text": "?é",
        }
    ]


def test_fields_choose_columns_by_path(plant: Plant) -> None:
    fields = {
        "number": "$.id",
        "unit": "$.item.unit",
        "first": "$.lines[0].q",
        "large": "$.lines[?@.q > 2].q",
        "no": "$.x",
    }
    plant.prepared.append(
        lambda _: reply_json({"value": [{"id": 1, "item": {"unit": "m"}, "lines": [{"q": 1}, {"q": 3.5}]}, {"id": 2}]})
    )
    assert read_one(plant, path="x", records="$.value[*]", fields=fields) == [
        {"number": "1", "unit": "m", "first": "1", "large": "3.5", "no": None},
        {"number": "2", "unit": None, "first": None, "large": None, "no": None},
    ]


def test_types_that_change_between_pages_stay_text_and_columns_are_remembered(plant: Plant) -> None:
    pages: list[list[dict[str, Any]]] = [[{"a": 1}], [{"a": "one", "b": None}], [{"a": 2.5}], []]
    stream = {"name": "s", "path": "x", "paging": {"kind": "page", **IN_PLACE}}
    for page in pages:
        plant.prepared.append(lambda _, page=page: reply_json(page))
    given = read(config(plant, stream, batch_rows=1))
    assert [row["a"] for row in rows(given)] == ["1", "one", "2.5"]
    assert {tuple(row) for row in rows(given)} == {("a", "b")}
    plant.prepared.append(lambda _: reply_json([]))
    (empty,) = read(config(plant, stream), given[-1].state)
    batch = empty.batch.content
    assert isinstance(batch, RecordsBatch)
    assert (batch.is_snapshot, batch.is_last, batch.records.column_names) == (True, True, ["a", "b"])


@pytest.mark.parametrize(
    "header",
    [
        '<?at=3;x>; rel="next"',
        "<?at=3;x>;rel=next",
        '<?at=0>; rel="first", <?at=3;x>; title="a=b; c"; REL = "last Next"',
        '</help>; rel="nextish", <?at=3;x>; rel="next"',
    ],
)
def test_the_next_link_is_found_however_it_is_written(plant: Plant, header: str) -> None:
    plant.prepared.append(lambda _: reply_json([{"a": 1}], link=header))
    plant.prepared.append(lambda _: reply_json([{"a": 2}], link='<?at=0>; rel="first", broken, <; rel=next'))
    assert len(read_one(plant, path="x", paging={"kind": "link"})) == 2
    assert plant.requests[-1].query == {"at": "3;x"}


def link_to(address: str) -> Reply:
    return reply_json([{"a": 1}], link=f'<{address}>; rel="next"')


@pytest.mark.parametrize(
    ("paging", "replies", "told"),
    [
        ({"kind": "link"}, [link_to("http://other.example/x")], "leads to another host or scheme"),
        ({"kind": "link"}, [link_to("https://127.0.0.1/x")], "leads to another host or scheme"),
        ({"kind": "link"}, [link_to("//127.0.0.1:1/x")], "leads to another host or scheme"),
        ({"kind": "link"}, [link_to("http://127.0.0.1:port/")], "is no address"),
        ({"kind": "link"}, [link_to("?at=1"), link_to("?at=2"), link_to("?at=1")], "the same next page twice"),
        ({"kind": "link", "next_path": "$[0].a"}, [reply_json([{"a": 1}])], "is no address"),
        ({"kind": "cursor", "next_path": "$[0].a"}, [reply_json([{"a": 7}])] * 3, "the same next page twice"),
        ({"kind": "cursor", "next_path": "$"}, [reply_json([{"a": 7}])], "no usable value"),
        ({"kind": "page"}, [reply_json([{"a": 7}])] * 2, "two pages in a row are the same"),
        ({"kind": "offset"}, [reply_json([{"a": each}]) for each in range(5)], "more than 4 pages"),
        ({"kind": "page", "more_path": "$[0].a"}, [reply_json([{"a": 7}])], "no true or false"),
        ({"kind": "page", "total_path": "$[0].a"}, [reply_json([{"a": -7}])], "no whole number"),
    ],
)
def test_paging_that_never_ends_or_leads_away_is_fatal(
    plant: Plant, paging: dict[str, Any], replies: list[Reply], told: str
) -> None:
    plant.prepared.extend(lambda _, reply=reply: reply for reply in replies)
    auth = {"kind": "bearer", "token": "secret-token"}
    with pytest.raises(FatalError, match=told):
        read(config(plant, {"name": "s", "path": "x", "paging": paging}, auth=auth, max_pages=4))


@pytest.mark.parametrize(
    ("body", "error", "told"),
    [
        (b"<html>sign in</html>", RetriableError, r"is not json; check path and format"),
        (b'{"data": [{"a": 1}', RetriableError, "is not json"),
        (b'[{"a": NaN}]', RetriableError, "is not json"),
        (b'[{"a": 1e99999999999999999999}]', RetriableError, "is not json"),
        (b"\xff\xfe\x00", RetriableError, "is not json"),
        (b"", RetriableError, "is not json"),
        (b"[" * 200_000, FatalError, "nested too deep"),
        (b"[1]", FatalError, "record 1 is a number, expected an object"),
        (b'[["a"]]', FatalError, "record 1 is a list, expected an object"),
        (json.dumps([{"a": 1}] * 21).encode(), FatalError, "21 records in one answer, the limit is 20"),
        (json.dumps([{f"c{n}": 1 for n in range(501)}]).encode(), FatalError, "more than 500 columns"),
    ],
)
def test_what_cannot_be_read_ends_with_a_sentence(plant: Plant, body: bytes, error: type[Exception], told: str) -> None:
    plant.prepared.append(lambda _: Reply(body, headers={"content-type": "text/html"}))
    with pytest.raises(error, match=told):
        read(config(plant, {"name": "s", "path": "x"}, max_page_records=20))


def test_a_misspelt_key_is_told_with_the_names_there_are(plant: Plant) -> None:
    stream = {"name": "orders", "path": "plain/orders", "key": ["nr"]}
    verdict = Reader(ApiConnector, config(plant, stream), 20).check()
    assert not verdict.ok
    assert "no record has the column 'nr'; there are changed, id, item.code, item.unit, quantity" in verdict.message


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"error": "maintenance", "code": 7}, r"records '\$\.result\.data\[\*\]' leads nowhere: \$ holds error, code;"),
        ({"result": {"Data": [1], "count": 1}}, r"\$\['result'\] holds Data, count; correct records"),
        ({"result": {"data": "none"}}, r"\$\['result'\]\['data'\] holds a text"),
        ({"result": None}, r"\$\['result'\] holds null"),
        ([{"data": 1}], r"\$ holds a list of 1"),
        ("maintenance", r"\$ holds a text"),
        ('{"result": {"data": [1]}}', r"\$ holds a text"),
        ({f"name {number}": 1 for number in range(30)}, r"name 0, .*name 19, \.\.\.;"),
        ({"a\nb\x1b": 1}, r"holds a b;"),
    ],
)
def test_records_that_lead_nowhere_are_told_with_what_is_there(plant: Plant, document: Any, told: str) -> None:
    plant.prepared.append(lambda _: reply_json(document))
    with pytest.raises(FatalError, match=told):
        read_one(plant, path="x", records="$.result.data[*]")


def test_a_list_that_is_there_may_be_empty_and_one_that_is_left_out_only_if_that_is_said(plant: Plant) -> None:
    for document in ({"result": {"data": []}}, {"result": {"data": None}}):
        plant.prepared.append(lambda _, document=document: reply_json(document))
        assert read_one(plant, path="x", records="$.result.data[*]") == []
    plant.prepared.append(lambda _: reply_json({"count": 0}))
    assert read_one(plant, path="x", records="$.result.data[*]", missing_is_empty=True) == []


def test_a_path_to_the_list_itself_is_told_with_the_one_to_its_elements(plant: Plant) -> None:
    plant.prepared.append(lambda _: reply_json({"data": [{"a": 1}]}))
    with pytest.raises(FatalError, match=r"leads to a list; its elements are '\$\.data\[\*\]'"):
        read_one(plant, path="x", records="$.data")


def test_fields_that_lead_nowhere_are_told(plant: Plant) -> None:
    stream = {"name": "orders", "path": "plain/orders", "fields": {"id": "$.id", "unit": "$.unit"}}
    verdict = Reader(ApiConnector, config(plant, stream), 20).check()
    assert verdict == CheckResult(True, "orders: 10 records on its first page, none of them with unit ($.unit)")
    verdict = Reader(ApiConnector, config(plant, {**stream, "key": ["unit"]}), 20).check()
    assert not verdict.ok
    assert (
        "no record has anything at '$.unit' for 'unit'; the first holds id, item, quantity, changed" in verdict.message
    )


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "text/plain"),
        (b'{"error": 1}', "application/json"),
        (b"x", "text/html"),
    ],
)
def test_what_is_no_csv_is_not_taken_for_it(plant: Plant, body: bytes, kind: str) -> None:
    plant.prepared.append(lambda _: Reply(body, headers={"content-type": kind}))
    with pytest.raises(RetriableError, match=r"is not csv; check path and format, or whether a gateway"):
        read_one(plant, path="x", format="csv")


def test_a_line_of_csv_that_goes_on_within_quotes_is_one(plant: Plant) -> None:
    pages = [b'a;b\n1;"x\n\ny ""q"""\n2;z', b'a;b\n3;"\n"\n', b"4;no header here\n", b"a;b\n"]
    for page in pages:
        plant.prepared.append(lambda _, page=page: Reply(page))
    paging = {"kind": "offset", "stays_in_place": True}
    assert read_one(plant, path="x", format="csv", paging=paging) == [
        b'a;b\n1;"x\n\ny ""q"""\n2;z\n3;"\n"\n4;no header here\n'
    ]
    assert [request.query["offset"] for request in plant.requests] == ["0", "2", "3", "4"]


CURSOR = {"field": "changed", "param": "since"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"records": "data[*]"}, "is no JSONPath"),
        ({"records": "$.data["}, "is no JSONPath"),
        ({"fields": {"a": "$.."}}, "is no JSONPath"),
        ({"path": "http://elsewhere/x"}, "must be a path below base_url"),
        ({"path": "../admin"}, "must be a path below base_url"),
        ({"path": "x?key=1"}, "belongs in params"),
        ({"mode": "incremental"}, "needs cursor, and key"),
        ({"mode": "incremental", "cursor": CURSOR}, "needs cursor, and key"),
        ({"cursor": CURSOR}, "cursor needs mode 'incremental'"),
        ({"mode": "incremental", "cursor": CURSOR, "key": ["id"], "fields": {"id": "$.id"}}, "not in fields: changed"),
        ({"mode": "incremental", "cursor": {**CURSOR, "time_zone": "Mars/Base"}, "key": ["id"]}, "no IANA time zone"),
        ({"mode": "incremental", "cursor": {**CURSOR, "expression": "ge"}, "key": ["id"]}, r"must hold \{cursor\}"),
        (
            {"mode": "incremental", "cursor": {**CURSOR, "type": "text", "overlap": 1}, "key": ["id"]},
            "cannot be set back",
        ),
        ({"format": "csv", "records": "$[*]"}, "handed over as a file"),
        ({"format": "jsonl", "paging": {"kind": "cursor", "next_path": "$.n"}}, "needs format 'json'"),
        ({"body": {}}, "need method POST"),
        ({"method": "POST"}, "needs post_is_search: true"),
        ({"params": {"_method": "DELETE"}}, "sources are only read"),
        ({"params": {"api_key": "k"}}, "belongs in auth, as api_key placed in the query"),
        ({"mode": "incremental", "cursor": CURSOR, "key": ["id"], "paging": {"kind": "offset"}}, "may miss records"),
        (
            {"mode": "incremental", "cursor": CURSOR | {"type": "number"}, "key": ["id"], "paging": {"kind": "link"}},
            "needs a sorted list",
        ),
        ({"paging": {"kind": "page"}, "records": "$[?@.active]"}, "hides how many records"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(plant: Plant, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        config(plant, {"name": "s", "path": "x", **wrong})
