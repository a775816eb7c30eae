"""The demo's view of the system: a client of the API that outlives restarts of what it talks to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

RETRY_S = 0.3
PATIENCE_S = 60.0
FINAL = ("done", "failed", "cancelled")


class Gone(RuntimeError):
    """The API stayed away for longer than anyone should wait."""


class Client:
    """Logged in as one user. Reads are repeated while the API is away; a start carries an idempotency key."""

    def __init__(self, api_url: str) -> None:
        self._http = httpx.AsyncClient(base_url=api_url, timeout=20)
        self._socket_url = api_url.replace("http", "ws", 1) + "/events?topic=jobs"
        self._token = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def log_in(self, email: str, password: str) -> None:
        """Fetch a token for all further calls."""
        answer = await self._send("POST", "/auth/login", json={"email": email, "password": password})
        self._token = answer.json()["access_token"]

    async def get(self, path: str, **query: Any) -> Any:
        """JSON of a path."""
        return (await self._send("GET", path, params=query)).json()

    async def start(self, kind: str, key: str) -> dict[str, Any]:
        """Start a job; asking twice with the same key starts one."""
        answer = await self._send("POST", "/jobs", json={"kind": kind}, headers={"Idempotency-Key": key})
        job: dict[str, Any] = answer.json()
        return job

    async def follow(self, job_id: str, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Return the job once it has ended; `on_event` hears the live events on the way."""
        listener = asyncio.create_task(self._listen(on_event))
        try:
            while True:
                job: dict[str, Any] = await self.get(f"/jobs/{job_id}")
                if job["state"] in FINAL:
                    return job
                await asyncio.sleep(RETRY_S)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        last_id = ""
        while True:
            url = self._socket_url + (f"&after={last_id}" if last_id else "")
            try:
                async with connect(url, additional_headers={"Authorization": f"Bearer {self._token}"}) as socket:
                    async for text in socket:
                        event = json.loads(text)
                        last_id = event["id"] or last_id
                        on_event(event)
            except (OSError, WebSocketException):
                await asyncio.sleep(RETRY_S)

    async def _send(self, method: str, path: str, headers: dict[str, str] | None = None, **rest: Any) -> httpx.Response:
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        while True:
            try:
                answer = await self._http.request(method, path, headers={**authorization, **(headers or {})}, **rest)
            except httpx.TransportError as error:
                reason = str(error)
            else:
                # A 404 that is no problem document comes from the proxy while the API behind it is starting.
                is_starting = answer.status_code == 404 and "json" not in answer.headers.get("content-type", "")
                if answer.status_code < 500 and not is_starting:
                    answer.raise_for_status()
                    return answer
                reason = f"HTTP {answer.status_code}"
            if asyncio.get_running_loop().time() > deadline:
                raise Gone(f"{method} {path}: {reason}, for {PATIENCE_S:.0f} s")
            await asyncio.sleep(RETRY_S)
