"""A mailbox on a local server, for the conformance suite: as a service account, and as a user who consented."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from gmail_mailbox import Files, mail_of
from gmail_server import MODIFY, READONLY, GmailServer
from pydantic import BaseModel

from fmrp_gmail import GmailConfig, GmailConnector
from fmrp_sdk import FileBatch, SkippableError
from fmrp_sdk.testing import Content, SourceUnderTest


class AccountMailbox(SourceUnderTest):
    """Mails with one attachment, two and none, one forwarded, one too large, some that are not to be taken."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = GmailServer()
        self.server.start()
        self._contents: list[Content] = []
        self._deliver({"demand.csv": b"item,qty\nA,1\n"})
        self.server.mailbox.deliver(mail_of({}))
        self._deliver({"demand.csv": b"item,qty\nA,2\n", "stock.xlsx": b"PK stock", "notes.docx": b"no data"})
        self.server.mailbox.deliver(mail_of({"spam.csv": b"spam"}), ("SPAM",))
        self.server.mailbox.deliver(mail_of({"sent.csv": b"sent"}), ("SENT",))
        self._deliver({"forwarded.csv": b"item,qty\nB,3\n"}, forwarded=True)
        self.server.mailbox.deliver(mail_of({"huge.csv": b"x" * 60_000}))
        self._deliver({f"part{number}.csv": b"%d" % number for number in range(3)})

    def _deliver(self, files: Files, **given: Any) -> None:
        self.server.mailbox.deliver(mail_of(files, **given))
        self._contents += [(name, content) for name, content in files.items() if not name.endswith(".docx")]

    def close(self) -> None:
        self.server.stop()

    def key(self, **changes: str) -> str:
        """The key file, with changes."""
        return self.server.account_key(**changes)

    def config(self) -> BaseModel:
        return self._config(self.key())

    def _config(self, key: str, **given: Any) -> GmailConfig:
        settings = {"user": self.server.mailbox.address, "api_url": self.server.url, "max_mail_bytes": 50_000}
        return GmailConfig.model_validate({"credentials": key, **settings, **given})

    def contents(self) -> list[Content]:
        return list(self._contents)

    def add(self) -> None:
        self._deliver({"new.csv": b"item,qty\nC,4\n"})

    def spoil(self) -> None:
        torn = mail_of({"torn.csv": b"item,qty\nD,5\n" * 50})
        self.server.mailbox.deliver(torn[: len(torn) // 2])
        self.server.mailbox.deliver(b"\xff\xfe\x00 no mail at all")
        self.server.mailbox.deliver(b'Content-Type: multipart/mixed; boundary="x"\nFrom: =?bad?q?\n\n--x\n--x--\n')

    def bad_configs(self) -> list[BaseModel]:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        down = f"http://127.0.0.1:{port}"
        return [
            self._config(self.key(), api_url=down),
            self._config(self.key(token_uri=f"{down}/token")),
            self._config(self.key(), user="somebody@else.example"),
            self._config(self.key(), labels=["No such label"]),
        ]

    def silent_config(self, host: str, port: int) -> BaseModel | None:
        silent = f"http://{host}:{port}"
        return self._config(self.key(token_uri=f"{silent}/token"), api_url=silent, timeout_s=1)


class UserMailbox(AccountMailbox):
    """The same, as a user whose consent covers changing mails, of which use is made."""

    def key(self, **changes: str) -> str:
        return self.server.user_key(READONLY, MODIFY, **changes)

    def _config(self, key: str, **given: Any) -> GmailConfig:
        marking = {"when_done": "label", "done_label": "Taken", "remove_labels": ["UNREAD"]}
        return super()._config(key, **{**marking, **given})


@contextmanager
def serving(**given: Any) -> Iterator[GmailServer]:
    """A server, while the block lasts."""
    server = GmailServer(**given)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def config_of(server: GmailServer, key: str | None = None, **given: Any) -> GmailConfig:
    """How the connector reaches the server, as a user who consented to reading unless another key is given."""
    key = key or server.user_key(READONLY)
    settings = {"user": server.mailbox.address, "api_url": server.url, "credentials": key}
    return GmailConfig.model_validate({**settings, **given})


class Reader:
    """Reads as the product does: each state is stored with what came before it, settled, and read on from.

    `waits`: how long the connector was asked to wait for Gmail; no time passes in truth.
    """

    def __init__(self, config: GmailConfig, now: Callable[[], float] = time.time) -> None:
        self.config = config
        self.waits: list[float] = []
        self.connector = GmailConnector(now, self.waits.append)
        self.state: dict[str, Any] = {}
        self.refused: list[str] = []

    def read(self, at_most: int | None = None) -> list[Content]:
        """What is new. An error of the sdk comes through; what came before it is kept in `taken`."""
        if self.state:
            self.connector.settle(self.config, self.state)
        self.taken: list[Content] = []
        batches = self.connector.read(self.config, self.state or None)
        for batch in batches:
            if isinstance(batch.content, FileBatch):
                try:
                    self.taken.append((batch.content.name, asyncio.run(batch.content.read())))
                except SkippableError as error:
                    self.refused.append(str(error))
            self.state = json.loads(json.dumps(dict(batch.state)))
            if at_most is not None and len(self.taken) >= at_most:
                break
        batches.close()  # type: ignore[attr-defined]
        return self.taken

    def names(self) -> list[str]:
        """Names of what is new."""
        return [name for name, _ in self.read()]


class Proxy:
    """What a proxy was asked: the line of the last CONNECT, and the log-in that came with it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[str] = []


@contextmanager
def proxying() -> Iterator[Proxy]:
    """A proxy that asks for user:p@ss, while the block lasts."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode().strip()
            headers = http.client.parse_headers(self.rfile)
            login = base64.b64decode(headers.get("proxy-authorization", "").removeprefix("Basic ")).decode()
            proxy.asked[:] = [line, login]
            if login != "user:p@ss":
                self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return
            host, _, port = line.split()[1].rpartition(":")
            with socket.create_connection((host, int(port))) as onward:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_pass_on, args=(onward, self.connection), daemon=True)
                back.start()
                _pass_on(self.connection, onward)
                back.join()

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = Proxy(f"127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield proxy
        finally:
            server.shutdown()


def _pass_on(here: socket.socket, there: socket.socket) -> None:
    with suppress(OSError):
        while piece := here.recv(1 << 16):
            there.sendall(piece)
        there.shutdown(socket.SHUT_WR)
