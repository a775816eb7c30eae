"""WebSocket clients that cost next to nothing: raw frames, each stamped when it arrives and looked into afterwards.

Run as `python -m bench.event_clients COUNT URL`: opens so many sockets and prints a line; when standard input ends,
prints what arrived. With fewer cores than processes, a client that decodes every frame would be what is measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import time
from collections import Counter
from typing import cast
from urllib.parse import urlsplit

import uvloop

# The publisher writes the wall clock, in ms, into each message.
STAMP = re.compile(rb"@([0-9]+\.[0-9]+)")
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
OPEN_AT_ONCE = 20
OPEN_PATIENCE_S = 30.0


class RawClient(asyncio.Protocol):
    """One socket. `arrivals`: (when, payload) of each text frame."""

    def __init__(self, request: bytes) -> None:
        self.arrivals: list[tuple[float, bytes]] = []
        self.is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._request = request
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        # Not an instance of asyncio.Transport: uvloop has its own.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Stamp first, look afterwards."""
        now = time.time()
        self._received += data
        if not self.is_open.done():
            head, found, rest = bytes(self._received).partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self.is_open.set_exception(ConnectionError(head[:200].decode()))
                return
            self._received = bytearray(rest)
            self.is_open.set_result(None)
        while (frame := self._next_frame()) is not None:
            self._take(now, *frame)

    def connection_lost(self, error: Exception | None) -> None:
        """The server, or the path to it, has ended the socket."""
        if not self.is_open.done():
            self.is_open.set_exception(error or ConnectionError("closed before it was open"))
        if not self.is_over.done():
            self.is_over.set_result(1006)

    def close(self) -> None:
        """Leave without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _next_frame(self) -> tuple[int, bytes] | None:
        received = self._received
        if len(received) < 2:
            return None
        length, start = received[1] & 127, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(received[2:start], "big")
        if len(received) < start + length:
            return None
        opcode, payload = received[0] & 15, bytes(received[start : start + length])
        del received[: start + length]
        return opcode, payload

    def _take(self, now: float, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.arrivals.append((now, payload))
        elif opcode == PING and self._transport is not None:
            self._transport.write(bytes((0x80 | PONG, 0x80 | len(payload))) + bytes(4) + payload)
        elif opcode == CLOSE and not self.is_over.done():
            self.is_over.set_result(int.from_bytes(payload[:2], "big"))


def handshake(url: str, token: str) -> bytes:
    """The request that asks for a WebSocket."""
    parts = urlsplit(url)
    lines = [
        f"GET {parts.path}?{parts.query} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {token}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def latencies_of(arrivals: list[tuple[float, bytes]]) -> list[float]:
    """Milliseconds from publish to arrival, of every event in every frame."""
    return [at * 1000 - float(stamp) for at, payload in arrivals for stamp in STAMP.findall(payload)]


async def listen(count: int, url: str) -> None:
    """Open, say so, wait for the end of standard input, tell."""
    loop = asyncio.get_running_loop()
    parts, token = urlsplit(url), os.environ["FMRP_TOKEN"]
    turn = asyncio.Semaphore(OPEN_AT_ONCE)

    async def connect() -> RawClient:
        async with turn:
            _, client = await loop.create_connection(
                lambda: RawClient(handshake(url, token)), parts.hostname or "", parts.port or 80
            )
            async with asyncio.timeout(OPEN_PATIENCE_S):
                await client.is_open
        return client

    clients = await asyncio.gather(*(connect() for _ in range(count)))
    print(json.dumps({"open": len(clients)}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    told = {
        "latencies": [round(each, 2) for client in clients for each in latencies_of(client.arrivals)],
        "frames": sum(len(client.arrivals) for client in clients),
        "closed": Counter(str(client.is_over.result()) for client in clients if client.is_over.done()),
        "cpu_s": time.process_time(),
    }
    for client in clients:
        client.close()
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    uvloop.run(listen(int(sys.argv[1]), sys.argv[2]))
