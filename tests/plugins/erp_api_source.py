"""A made-up ERP's REST API, on a real HTTP server in this process, and a source in it for the conformance suite.

One server serves many plants, each under a path of its own: /<plant>/<style>/<list>, where style is one of the ways to
page. A plant's replies can be replaced, one by one, by others that a test prepares.
"""

import asyncio
import base64
import csv
import io
import json
import logging
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from pydantic import BaseModel

from fmrp_erp_api import ApiConfig, ApiConnector
from fmrp_sdk.testing import Content, SourceUnderTest
from fmrp_sdk.testing.readings import Given, Reader

API_KEY = "plant-key/with+signs"


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def parameters(self) -> dict[str, Any]:
        """Of the query and of a JSON body."""
        return {**self.query, **(json.loads(self.body) if self.body[:1] == b"{" else {})}


@dataclass
class Reply:
    """What goes out; `pieces` one after the other with `pause_s` between. `is_cut`: the connection ends before."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] | None = None
    pause_s: float = 0.0
    is_cut: bool = False


def reply_json(document: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON reply; underscores in names of headers stand for hyphens."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps(document).encode(), status, {"content-type": "application/json", **told})


class Plant:
    """One API: lists of records, who may read them, and what came in."""

    def __init__(self, server: "ErpServer") -> None:
        self.server = server
        self.name = uuid.uuid4().hex[:12]
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.prepared: deque[Callable[[Request], Reply | None]] = deque()
        self.allows: Callable[[Request], bool] = lambda _: True
        self.tokens: set[str] = set()
        self.token_life_s: Any = 3600
        server.plants[self.name] = self

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self.server.port}/{self.name}"

    def reply(self, request: Request) -> Reply:
        """A prepared reply, if one is waiting and wants to; else what the style of the path asks for."""
        self.requests.append(request)
        if self.prepared and (prepared := self.prepared.popleft()(request)) is not None:
            return prepared
        _, _, style, *rest = request.path.split("/")
        if style == "token":
            return self._token(request)
        if not self.allows(request):
            return reply_json({"error": {"message": f"not allowed: {request.headers} {request.query}"}}, 401)
        name = rest[0] if rest else ""
        if (written := self._write(request, style, name)) is not None:
            return written
        if style == "file" and name in self.files:
            return self._file(request, self.files[name])
        if name not in self.lists or not hasattr(self, f"_{style}"):
            return reply_json({"title": f"no list {name}"}, 404)
        rows = self.lists[name]
        if since := request.parameters.get("since"):
            rows = [row for row in rows if str(row.get("changed") or "") >= since]
        if request.parameters.get("sort"):
            rows = sorted(rows, key=lambda row: str(row.get("changed") or ""))
        found: Reply = getattr(self, f"_{style}")(request, rows)
        return found

    def _write(self, request: Request, style: str, name: str) -> Reply | None:
        """Does what whoever may write asks for; None: it is no writing, as POST is none to a search."""
        method = request.headers.get("x-http-method-override", request.query.get("_method", request.method))
        if method == "GET" or (method == "POST" and style not in ("plain", "file")):
            return None
        if method in ("DELETE", "PUT"):
            self.lists[name] = []
        if method in ("POST", "PUT", "PATCH"):
            self.lists[name].append(json.loads(request.body or b"{}"))
        return Reply(status=204)

    def _plain(self, request: Request, rows: list[dict[str, Any]]) -> Reply:
        return reply_json(rows)

    def _page(self, request: Request, rows: list[dict[str, Any]]) -> Reply:
        number, size = int(request.parameters["page"]), int(request.parameters.get("per_page", 3))
        found = rows[(number - 1) * size : number * size]
        return reply_json({"data": found, "total": len(rows), "more": number * size < len(rows)})

    def _offset(self, request: Request, rows: list[dict[str, Any]]) -> Reply:
        # Gives three at a time at most, whatever is asked for.
        start, size = int(request.parameters["offset"]), min(3, int(request.parameters.get("limit", 3)))
        return reply_json({"data": rows[start : start + size], "total": str(len(rows))})

    def _cursor(self, request: Request, rows: list[dict[str, Any]]) -> Reply:
        start, size = int(request.parameters.get("cursor", "p0")[1:]), int(request.parameters.get("limit", 3))
        following = f"p{start + size}" if start + size < len(rows) else None
        return reply_json({"data": rows[start : start + size], "meta": {"next": following}})

    def _link(self, request: Request, rows: list[dict[str, Any]]) -> Reply:
        start = int(request.query.get("at", 0))
        reply = reply_json(rows[start : start + 3])
        if start + 3 < len(rows):
            # With all the parameters, as many do: also with the key.
            address = f"?{urlencode({**request.query, 'at': start + 3})}"
            reply.headers["link"] = f'<{address}>; rel="next", </{self.name}/help>; rel="help"'
        return reply

    def _odata(self, request: Request, rows: list[dict[str, Any]]) -> Reply:
        start = int(request.query.get("$skiptoken", 0))
        document: dict[str, Any] = {"value": rows[start : start + 3]}
        if start + 3 < len(rows):
            query = urlencode({**request.query, "$skiptoken": start + 3})
            document["@odata.nextLink"] = f"http://127.0.0.1:{self.server.port}{request.path}?{query}"
        return reply_json(document)

    def _jsonl(self, request: Request, rows: list[dict[str, Any]]) -> Reply:
        return Reply("".join(json.dumps(row) + "\n" for row in rows).encode())

    def _csv(self, request: Request, rows: list[dict[str, Any]]) -> Reply:
        number = int(request.query.get("page", 1))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows[(number - 1) * 3 : number * 3])
        return Reply(text.getvalue().encode(), headers={"content-type": "text/csv"})

    def _file(self, request: Request, content: bytes) -> Reply:
        etag = f'"{hash(content):x}"'
        if request.headers.get("if-none-match") == etag:
            return Reply(status=304)
        return Reply(content, headers={"etag": etag})

    def _token(self, request: Request) -> Reply:
        form = dict(parse_qsl(request.body.decode()))
        basic = base64.b64encode(b"planner:client+secret%2Flong").decode()
        in_header = request.headers.get("authorization") == f"Basic {basic}"
        in_body = (form.get("client_id"), form.get("client_secret")) == ("planner", "client secret/long")
        if not (in_header or in_body) or form.get("grant_type") != "client_credentials":
            return reply_json({"error": "invalid_client", "error_description": f"unknown {form}"}, 401)
        token = f"token-{uuid.uuid4().hex}"
        self.tokens = {token}
        return reply_json({"access_token": token, "token_type": "bearer", "expires_in": self.token_life_s})


class ErpServer:
    """The HTTP server, in a thread of its own. Can be stopped in the middle of everything and started again."""

    def __init__(self, **tls: Any) -> None:
        """`tls`: uvicorn's ssl_keyfile and ssl_certfile."""
        self.plants: dict[str, Plant] = {}
        self._tls = tls
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Serves when this returns."""
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            port=self.port,
            access_log=False,
            log_config=None,
            lifespan="off",
            date_header=False,
            **self._tls,
        )
        # It would tell the key in a query to whoever looks at this process's log.
        logging.getLogger("uvicorn.access").disabled = True
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="erp-server", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.005)

    def die(self) -> None:
        """Ends as soon as it can; to be called out of an answer, which is cut off."""
        self._server.should_exit = self._server.force_exit = True

    def stop(self) -> None:
        """Ends at once, with whatever is on its way."""
        self.die()
        self._thread.join(20)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()
        while (event := await receive()).get("more_body"):
            body += event["body"]
        body += event.get("body", b"")
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        request = Request(scope["method"], scope["path"], query, headers, bytes(body))
        plant = self.plants.get(scope["path"].split("/")[1])
        reply = Reply(status=404) if plant is None else plant.reply(request)
        pieces = reply.pieces or [reply.body]
        length = sum(map(len, pieces)) + (1000 if reply.is_cut else 0)
        told = {"content-length": str(length), "date": formatdate(usegmt=True), **reply.headers}
        if reply.status == 304:
            del told["content-length"]
        raw = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(reply.pause_s)
        if not reply.is_cut:
            await send({"type": "http.response.body", "body": b""})


STOCK = [{"item": "I-1", "on_hand": 4}]
TAKEN = [{"item": "I-1", "on_hand": "4"}]
"""What a stock of one item comes as."""


@cache
def shared_server() -> ErpServer:
    """One for all tests of this process; its thread ends with it."""
    return ErpServer()


def order(number: int, quantity: Any = 5) -> dict[str, Any]:
    """A record; each has a later time of change than the one before."""
    return {
        "id": number,
        "item": {"code": f"I-{number % 3}", "unit": "pc"},
        "quantity": quantity,
        "changed": f"2026-03-{1 + number // 24:02}T{number % 24:02}:00:00Z",
    }


def order_row(record: dict[str, Any]) -> dict[str, str | None]:
    """What is to come of a record."""
    return {
        "id": str(record["id"]),
        "item.code": record["item"]["code"],
        "item.unit": record["item"]["unit"],
        "quantity": None if record["quantity"] is None else str(record["quantity"]),
        "changed": record["changed"],
    }


def incremental(name: str, path: str, paging: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The configuration of a list of orders, read by the time of change."""
    cursor = {"field": "changed", "param": "since", **more.pop("cursor", {})}
    return {
        "name": name, "path": path, "paging": paging, "mode": "incremental", "cursor": cursor, "key": ["id"], **more,
    }  # fmt: skip


def config(plant: Plant, *streams: dict[str, Any], **more: Any) -> ApiConfig:
    """The configuration of some of a plant's lists; without any, of its stock."""
    streams = streams or ({"name": "stock", "path": "plain/stock"},)
    return ApiConfig.model_validate({"base_url": plant.url, "streams": streams, "attempts": 1, **more})


def read(given: ApiConfig, state: Any = None, at_most: int | None = None) -> list[Given]:
    """The batches after a state."""
    return Reader(ApiConnector, given, 20).read(state, at_most)


def rows(given: list[Given]) -> list[Any]:
    """The rows in these batches, or the contents of files."""
    return [row for each in given for _, row in each.contents]


def read_rows(given: ApiConfig) -> list[Any]:
    """All rows."""
    return rows(read(given))


def prepare(plant: Plant, *replies: Reply) -> None:
    """These are given in the place of the next ones."""
    plant.prepared.extend(lambda _, reply=reply: reply for reply in replies)


BY_PAGE = {"kind": "page", "size_param": "per_page", "size": 3}
BY_CURSOR = {"kind": "cursor", "size_param": "limit", "size": 3, "next_path": "$.meta.next"}


class ErpApi(SourceUnderTest):
    """Orders by an opaque cursor, movements by page in order, a stock of one batch, and prices as CSV."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.plant = Plant(shared_server())
        self.plant.lists["orders"] = [order(number) for number in (3, 1, 2, 9, 8, 7, 4, 5, 6, 0)]
        self.plant.lists["moves"] = [order(number) for number in range(7)]
        self.plant.lists["stock"] = [{"item": "I-1", "on_hand": 4}, {"item": "I-2", "on_hand": -1}]
        self.plant.lists["prices"] = [{"item": f"I-{number}", "price": "1,5"} for number in range(4)]
        self.plant.allows = lambda request: request.query.get("key") == API_KEY

    def close(self) -> None:
        del self.plant.server.plants[self.plant.name]

    def config(self) -> BaseModel:
        return self._config()

    def _config(self, **changed: Any) -> ApiConfig:
        streams = [
            incremental("orders", "cursor/orders", BY_CURSOR, records="$.data[*]"),
            incremental(
                "moves", "page/moves", BY_PAGE, records="$.data[*]", params={"sort": "changed"},
                cursor={"ordered": True, "overlap": 3600},
            ),
            {"name": "stock", "path": "plain/stock"},
            {"name": "prices", "path": "csv/prices", "format": "csv", "paging": {"kind": "page"}},
        ]  # fmt: skip
        auth = {"kind": "api_key", "name": "key", "key": API_KEY, "placed_in": "query"}
        given = {"base_url": self.plant.url, "auth": auth, "streams": streams, "batch_rows": 4, "attempts": 2}
        return ApiConfig.model_validate({**given, **changed})

    def contents(self) -> list[Content]:
        orders: list[Content] = [("orders", order_row(each)) for each in self.plant.lists["orders"]]
        moves: list[Content] = [("moves", order_row(each)) for each in self.plant.lists["moves"]]
        stock: list[Content] = [
            ("stock", {"item": each["item"], "on_hand": str(each["on_hand"])}) for each in self.plant.lists["stock"]
        ]
        lines = "".join(f"{each['item']};{each['price']}\r\n" for each in self.plant.lists["prices"])
        return [*orders, *moves, *stock, ("prices.csv", f"item;price\r\n{lines}".encode())]

    def add(self) -> None:
        self.plant.lists["orders"].append(order(20))

    def spoil(self) -> None:
        spoilt = {"id": None, "item": {"code": [{}], "unit": False}, "quantity": "1e999", "changed": "yesterday"}
        self.plant.lists["orders"].insert(2, spoilt)

    def bad_configs(self) -> list[BaseModel]:
        auth = {"kind": "api_key", "name": "key", "key": "another-wrong-key", "placed_in": "query"}
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        return [
            self._config(auth=auth),
            self._config(base_url=f"http://127.0.0.1:{port}/", attempts=1),
            self._config(base_url=f"{self.plant.url}/nothing/here"),
        ]

    def silent_config(self, host: str, port: int) -> BaseModel:
        return self._config(base_url=f"http://{host}:{port}", attempts=1, connect_timeout_s=1, request_timeout_s=1)
