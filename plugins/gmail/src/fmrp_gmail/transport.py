"""The HTTP that Google's library speaks: each answer bounded in size and time, and only reading goes out."""

import time
from functools import partial
from http.client import HTTPResponse, IncompleteRead
from typing import Any

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
        super().__init__(timeout=timeout_s, ca_certs=ca_file)
        # A token is for the address it was asked for.
        self.follow_redirects = False
        self._token_uri = token_uri
        self._writing = writing
        bounded = staticmethod(partial(_Bounded, most_bytes=most_bytes, most_s=_PATIENCE * timeout_s))
        self._kinds = {
            "http": type("Plain", (httplib2.HTTPConnectionWithTimeout,), {"response_class": bounded}),
            "https": type("Tls", (httplib2.HTTPSConnectionWithTimeout,), {"response_class": bounded}),
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
