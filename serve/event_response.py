"""An answer that goes on: server-sent events, written as they come, ended with whoever reads them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from litestar import Request, Response
from litestar.datastructures.cookie import Cookie
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send

MEDIA_TYPE = "text/event-stream"
# How long EventSource waits before it connects again.
RETRY_MS = 2000
# Proxies on the way must pass on each event as it comes.
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

SendText = Callable[[str], Awaitable[None]]
Serve = Callable[[SendText, Awaitable[None]], Awaitable[None]]


class EventStreamResponse(Response[str]):
    """`serve` is called with a way to write and what ends when the client goes; the answer ends when it returns.

    Not Litestar's Stream: a generator that is cancelled while a chunk is on its way is closed when it is collected.
    """

    def __init__(self, serve: Serve) -> None:
        super().__init__("", media_type=MEDIA_TYPE, headers=_HEADERS)
        self._serve = serve

    def to_asgi_response(
        self,
        app: Any,  # noqa: ARG002 - Litestar's signature
        request: Request[Any, Any, Any],  # noqa: ARG002
        *,
        headers: dict[str, str] | None = None,
        cookies: Iterable[Cookie] | None = None,
        **_rest: Any,
    ) -> ASGIResponse:
        """The answer as the server wants it."""
        return _Streaming(self._serve, {**(headers or {}), **self.headers}, cookies)


class _Streaming(ASGIResponse):
    _should_set_content_length = False

    def __init__(self, serve: Serve, headers: dict[str, Any], cookies: Iterable[Cookie] | None) -> None:
        super().__init__(headers=headers, cookies=cookies, media_type=MEDIA_TYPE, status_code=200)
        self._serve = serve

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Write until `serve` returns."""

        async def send_text(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        # At once: until something arrives, EventSource does not count as open.
        await send_text(f"retry: {RETRY_MS}\n\n")
        await self._serve(send_text, _until_disconnect(receive))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
