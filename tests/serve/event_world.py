"""Shared by the tests of the event socket: an application that listens, and what clients do with it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from litestar import Litestar
from serve_world import API, bearer, token_for
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from actors.events import EventStream, JobChanged, JobData
from serve.event_hub import EventHub
from serve.security import User


class World:
    """A listening application with one user."""

    def __init__(self, app: Litestar, address: str, user: User) -> None:
        self.app = app
        self.address = address
        self.user = user
        self.events: EventStream = app.state.connections.events
        self.hub: EventHub = app.state.hub
        self.headers = bearer(token_for(app, user.id))

    def connect(self, query: str = "", **options: Any) -> connect:
        options.setdefault("additional_headers", self.headers)
        return connect(f"ws://{self.address}{API}/events{query}", open_timeout=5, **options)

    async def publish(self, number: int, topic: str = "jobs") -> str:
        entry = await self.events.publish(JobChanged(topic=topic, data=JobData(job_id="j", message=str(number))))
        assert entry is not None
        return entry


async def receive(socket: ClientConnection) -> dict[str, Any]:
    """The next frame."""
    frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 5))
    return frame


async def number_of(socket: ClientConnection) -> int:
    """What `World.publish` was given, from the next frame."""
    return int((await receive(socket))["data"]["message"])


async def join(socket: ClientConnection) -> dict[str, Any]:
    """The snapshot that a client without a last id begins with."""
    frame = await receive(socket)
    assert frame["type"] == "snapshot"
    return frame


async def close_code(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(5):
        with suppress(ConnectionClosed):
            async for _ in socket:
                pass
        await socket.wait_closed()
    return socket.close_code


async def until(condition: Any) -> None:
    """Wait for something the application does on its own time."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the application signals nothing to tests
            await asyncio.sleep(0.01)
