"""The dashboard as a process of its own, in front of the fake API on a thread."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from fake_api import FakeApi, World


class ApiThread:
    """The fake API on a loop in a thread, so that synchronous browser tests can drive it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.url = ""
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with FakeApi(self.world) as api:
            self.url = api.url
            self._ready.set()
            await self._stop.wait()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def call(self, function: Any, *args: Any) -> None:
        async def inside() -> None:
            function(*args)

        self.run(inside())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)


@dataclass
class Dashboard:
    """A running dashboard: its address, the API behind it and the process."""

    url: str
    api: ApiThread
    process: subprocess.Popen[bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_answers(url: str, process: subprocess.Popen[bytes], within_s: float = 60.0) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        assert process.poll() is None, "the dashboard ended while it was starting"
        try:
            with opener.open(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            threading.Event().wait(0.1)
    raise AssertionError(f"{url} did not answer within {within_s} s")
