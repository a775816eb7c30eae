"""The least a fan-out through Ray Serve's proxy can cost: a bare Litestar socket that is sent the time.

Run as `python -m bench.event_bare RAY_ADDRESS` beside a running stack; the application goes when standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from typing import Any

import ray
from litestar import Litestar, WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect
from ray import serve

NAME = "bench-bare"
# As long as one of our events.
PADDING = "x" * 400
_sockets: dict[WebSocket[Any, Any, Any], asyncio.Event] = {}
_ticking: list[asyncio.Task[None]] = []
_newest = [""]


async def _tick(rate: float) -> None:
    """Everybody at once, as one event reaches all sockets at once."""
    while _sockets:
        await asyncio.sleep(1 / rate)
        _newest[0] = f"@{time.time() * 1000:.1f} {PADDING}"
        for news in _sockets.values():
            news.set()


@websocket("/")
async def bare(socket: WebSocket[Any, Any, Any]) -> None:
    """Send the time whenever it ticks."""
    await socket.accept()
    news = _sockets[socket] = asyncio.Event()
    if not _ticking or _ticking[0].done():
        _ticking[:] = [asyncio.create_task(_tick(float(socket.query_params["rate"])))]
    sending = asyncio.create_task(_send(socket, news))
    try:
        with suppress(WebSocketDisconnect):
            while True:
                await socket.receive_data(mode="text")
    finally:
        del _sockets[socket]
        sending.cancel()


async def _send(socket: WebSocket[Any, Any, Any], news: asyncio.Event) -> None:
    while True:
        await news.wait()
        news.clear()
        await socket.send_text(_newest[0])


def build() -> Litestar:
    """In the replica."""
    return Litestar([bare], openapi_config=None)


@serve.deployment(max_ongoing_requests=2000, ray_actor_options={"num_cpus": 0.1})
@serve.ingress(build)
class Bare:
    """The application."""


def main() -> None:
    """Deploy until standard input ends."""
    ray.init(address=sys.argv[1], log_to_driver=False)
    application: Any = Bare
    serve.run(application.bind(), name=NAME, route_prefix="/bare")
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.read()
    serve.delete(NAME)


if __name__ == "__main__":
    main()
