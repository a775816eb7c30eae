"""The REST connector reads: with a log-in that may write, at a server that does what it is asked, nothing changes."""

import copy
from typing import Any

import httpx
import pytest
from erp_api_source import BY_CURSOR, BY_PAGE, ErpApi, Plant, Reply, config, incremental, order, read, shared_server
from pydantic import ValidationError

from fmrp_erp_api import ApiConnector
from fmrp_sdk import ConnectorError, FatalError
from fmrp_sdk.testing.readings import Reader

TOKEN = {"kind": "bearer", "token": "may-read-and-write"}


@pytest.fixture
def plant() -> Plant:
    """An API whose log-in may write."""
    plant = Plant(shared_server())
    plant.lists["orders"] = [order(number) for number in range(10)]
    plant.allows = lambda request: request.headers.get("authorization") == "Bearer may-read-and-write"
    return plant


def test_the_log_in_may_write(plant: Plant) -> None:
    headers = {"Authorization": "Bearer may-read-and-write"}
    with httpx.Client(base_url=plant.url, headers=headers) as client:
        assert client.post("plain/orders", json=order(50)).status_code == 204
        assert len(plant.lists["orders"]) == 11
        assert client.get("plain/orders", headers={"X-HTTP-Method-Override": "DELETE"}).status_code == 204
    assert plant.lists["orders"] == []


def test_nothing_but_get_and_a_search_that_was_confirmed_reaches_the_server(plant: Plant) -> None:
    before = copy.deepcopy(plant.lists)
    data = {"records": "$.data[*]"}
    search = {"method": "POST", "post_is_search": True, "parameters_in": "body"}
    given = config(
        plant,
        {"name": "whole", "path": "plain/orders"},
        {"name": "pages", "path": "page/orders", "paging": BY_PAGE, **data},
        incremental("cursor", "cursor/orders", BY_CURSOR, **data),
        incremental("link", "link/orders", {"kind": "link"}),
        {"name": "csv", "path": "csv/orders", "format": "csv"},
        incremental("search", "cursor/orders", BY_CURSOR, **data, **search),
        auth=TOKEN,
        attempts=3,
    )
    # Also what is tried again, and what is redirected.
    plant.prepared.extend([lambda _: Reply(status=503), lambda _: None])
    plant.prepared.append(lambda _: Reply(status=307, headers={"location": "?moved"}))
    reader = Reader(ApiConnector, given, 20)
    found = reader.read()
    assert reader.check().ok
    reader.discover()
    for each in found:
        reader.settle(each.state)
    reader.read(found[-1].state)
    assert {(request.method, request.path.split("/")[2]) for request in plant.requests} == {
        ("GET", "plain"), ("GET", "page"), ("GET", "cursor"), ("GET", "link"), ("GET", "csv"), ("POST", "cursor"),
    }  # fmt: skip
    assert plant.lists == before


def test_the_source_of_the_suite_sees_nothing_but_get(tmp_path: Any) -> None:
    source = ErpApi(tmp_path)
    try:
        Reader(ApiConnector, source.config(), 20).read()
        assert {request.method for request in source.plant.requests} == {"GET"}
    finally:
        source.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_makes_no_other_method_of_it(plant: Plant, status: int) -> None:
    before = copy.deepcopy(plant.lists)
    plant.prepared.append(lambda _: Reply(status=status, headers={"location": f"/{plant.name}/plain/orders?moved=1"}))
    read(config(plant, {"name": "s", "path": "x"}, auth=TOKEN))
    search = {"name": "s", "path": "cursor/orders", "method": "POST", "post_is_search": True, "records": "$.data[*]"}
    plant.prepared.append(lambda _: Reply(status=status, headers={"location": "?moved=2"}))
    try:
        read(config(plant, search, auth=TOKEN))
    except FatalError as error:
        assert status in (301, 302, 303)
        assert "redirects a POST" in str(error)  # noqa: PT017
    assert [request.method for request in plant.requests] == ["GET", "GET", "POST", "POST"][: len(plant.requests)]
    assert plant.lists == before


def test_a_search_leads_nowhere_else(plant: Plant) -> None:
    before = copy.deepcopy(plant.lists)
    search = {"name": "s", "path": "cursor/orders", "method": "POST", "post_is_search": True, "records": "$.data[*]"}
    elsewhere = f"{plant.url}/plain/orders"
    plant.prepared.append(lambda _: Reply(status=307, headers={"location": elsewhere}))
    with pytest.raises(FatalError, match="redirects a POST"):
        read(config(plant, search, auth=TOKEN))
    plant.prepared.append(lambda _: Reply(b'{"data": [{"a": 1}]}', headers={"link": f'<{elsewhere}>; rel="next"'}))
    with pytest.raises(FatalError, match="of a POST leads to another path"):
        read(config(plant, {**search, "paging": {"kind": "link"}}, auth=TOKEN))
    assert plant.lists == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"streams": [{"name": "s", "path": "x", "method": "PUT"}]},
        {"streams": [{"name": "s", "path": "x", "method": "DELETE"}]},
        {"streams": [{"name": "s", "path": "x", "method": "POST"}]},
        {"streams": [{"name": "s", "path": "x", "params": {"_Method": "DELETE"}}]},
        {"headers": {"X-HTTP-Method-Override": "DELETE"}},
        {"secret_headers": {"x-http-method": "PUT"}},
        {"headers": {"X-Method-Override": "PATCH"}},
    ],
)
def test_another_method_cannot_be_configured(plant: Plant, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(plant, **{"streams": [{"name": "s", "path": "x"}], **wrong})


def test_a_link_or_a_cursor_of_the_api_cannot_make_it_write(plant: Plant) -> None:
    before = copy.deepcopy(plant.lists)
    link = f'<{plant.url}/plain/orders?_method=DELETE>; rel="next"'
    plant.prepared.append(lambda _: Reply(b'[{"a": 1}]', headers={"link": link}))
    with pytest.raises(ConnectorError, match="asks for another method"):
        read(config(plant, {"name": "s", "path": "x", "paging": {"kind": "link"}}, auth=TOKEN))
    plant.prepared.append(lambda _: Reply(status=302, headers={"location": "?_method=DELETE"}))
    with pytest.raises(ConnectorError, match="asks for another method"):
        read(config(plant, {"name": "s", "path": "plain/orders"}, auth=TOKEN))
    assert plant.lists == before
