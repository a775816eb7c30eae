"""The HTTP that Google's library speaks: each answer bounded in size and time, and only reading goes out."""

import base64
import time
from functools import partial
from http.client import HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httplib2  # type: ignore[import-untyped]

from fmrp_sdk import FatalError

_CHUNK = 1 << 16
# A body may take as many times the longest wait for one piece of it.
_PATIENCE = 10


class AnswerTooLarge(Exception):
    """An answer of more bytes than any is taken of."""


class Transport(httplib2.Http):  # type: ignore[misc]
    """Requests other than reading are refused before they are sent, whatever the token allows, unless `writing`.

    `token_uri`: the one address that is posted to all the same, for access tokens.
    """

    def __init__(
        self, token_uri: str, *, writing: bool, most_bytes: int, timeout_s: float, ca_file: str | None
    ) -> None:
        super().__init__(timeout=timeout_s, ca_certs=ca_file, proxy_info=None)
        # A token is for the address it was asked for.
        self.follow_redirects = False
        self._token_uri = token_uri
        self._writing = writing
        bounded = staticmethod(partial(_Bounded, most_bytes=most_bytes, most_s=_PATIENCE * timeout_s))
        self._kinds = {
            "http": type("Plain", (httplib2.HTTPConnectionWithTimeout,), {"response_class": bounded}),
            "https": type("Tls", (_ThroughProxy,), {"response_class": bounded}),
        }

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Any = None, *_: Any, **__: Any
    ) -> tuple[Any, bytes]:
        """See httplib2. FatalError: it would change something, and nothing may be changed."""
        # Google's library posts a query that is too long for an address; it is read as GET.
        is_reading = method == "GET" or {**(headers or {})}.get("x-http-method-override") == "GET"
        if not (is_reading or self._writing or uri == self._token_uri):
            raise FatalError(f"a {method} request was refused: this source is only read")
        kind = self._kinds["https" if uri.lower().startswith("https:") else "http"]
        try:
            answer: tuple[Any, bytes] = super().request(uri, method, body, headers, connection_type=kind)
        except BaseException:
            self.close()  # half an answer may be waiting on the connection
            raise
        return answer


class _ThroughProxy(httplib2.HTTPSConnectionWithTimeout):  # type: ignore[misc]
    """Goes through the proxy that the environment names (https_proxy, no_proxy), where there is one.

    httplib2 leaves that to a library of its own that is seldom there.
    """

    host: str
    port: int

    def __init__(self, host: str, port: int | None = None, **named: Any) -> None:
        super().__init__(host, port, **named)
        given = None if proxy_bypass(self.host) else getproxies().get("https")
        if given:
            try:
                proxy = urlsplit(given if "://" in given else f"http://{given}")
                where = proxy.hostname or "", proxy.port or 80
            except ValueError:
                raise FatalError("https_proxy is not an address such as http://proxy.example:3128") from None
            self.set_tunnel(self.host, self.port, _login(proxy.username, proxy.password))
            self.host, self.port = where

    def connect(self) -> None:
        """FatalError: the proxy refuses."""
        try:
            HTTPSConnection.connect(self)
        except OSError as error:
            if str(error).startswith("Tunnel connection failed"):
                raise FatalError(
                    f"the proxy {self.host}:{self.port} of https_proxy lets nothing through to Google; check its rules "
                    "and, if it asks for one, its log-in"
                ) from None
            raise


def _login(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    both = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}


class _Bounded(HTTPResponse):
    def __init__(self, *arguments: Any, most_bytes: int, most_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._most_bytes = most_bytes
        self._most_s = most_s

    def read(self, amt: int | None = None) -> bytes:
        """The body, whole."""
        if amt is not None:
            return super().read(amt)
        content = bytearray()
        deadline = time.monotonic() + self._most_s
        while chunk := self.read1(_CHUNK):
            content += chunk
            if len(content) > self._most_bytes:
                raise AnswerTooLarge
            if time.monotonic() > deadline:
                raise TimeoutError
        if self.length:
            raise IncompleteRead(bytes(content), self.length)
        self.close()  # the body's end; the connection serves the next request
        return bytes(content)
