"""A system in a process of its own whose sources go wrong in every way they can, telling their secret each time.

What its API answers goes to the given file, what it logs to stderr.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httpx
from serve_world import API, add_user, bearer, http_client, predict, started, token_for

from actors.dispatch import Dispatcher
from actors.ingestion import IngestionWork
from actors.owner import Connections, Owner
from serve.application import build_app
from settings import load

HOSTS = ("fine", "says", "tells", "broken", "chained", "down", "skips")
ENDS = ("done", "failed", "held", "cancelled")


class Caller:
    """Sends requests and writes down every answer."""

    def __init__(self, client: httpx.AsyncClient, answers: Path) -> None:
        self._client = client
        self._answers = answers.open("a")

    async def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's body."""
        answer = await self._client.request(method, f"{API}{path}", json=body)
        self._answers.write(f"{method} {path} {answer.status_code} {dict(answer.headers)}\n{answer.text}\n")
        self._answers.flush()
        return answer.json() if answer.text else None


async def set_up(call: Caller, secret: str) -> None:
    """Sources of every kind, and requests that are refused."""
    rules = [{"pattern": "*", "mapping": "erp_items"}]
    for host in HOSTS:
        config = {"host": host, "password": secret, "logins": [{"user": "anna", "password": secret}]}
        source = {"code": f"s-{host}", "name": host, "connector": "erp", "config": config, "rules": rules}
        await call("POST", "/sources", source)
        await call("PATCH", f"/sources/s-{host}", {"config": {**config, "password": "(set)"}})
        for question in ("check", "discover"):
            await call("POST", f"/sources/s-{host}/{question}", {})
            await call("POST", f"/sources/s-{host}/{question}", {"config": config})
        await call("POST", "/sources/check", {"connector": "erp", "config": config})
    for config in (
        {"host": "h", "pasword": secret},
        {"host": "h", "password": [secret]},
        {"host": f"https://anna:{secret}@h", "password": secret},
        {"host": "h", "logins": [{"user": "anna", "password": secret, "more": secret}]},
        {"host": "h", "logins": [{"user": "anna", "password": "(set)"}, {"user": "otto", "password": "(set)"}]},
    ):
        await call("POST", "/sources", {**source, "code": "refused", "config": config})
        await call("PATCH", "/sources/s-fine", {"config": config})
        await call("POST", "/sources/check", {"connector": "erp", "config": config})


async def read_all(call: Caller) -> None:
    """Every source read once, and everything there is to see of it."""
    jobs = {host: (await call("POST", f"/sources/s-{host}/ingest"))["id"] for host in HOSTS}
    for job_id in jobs.values():
        await until_tried(call, job_id)
        await call("GET", f"/jobs/{job_id}/log")
        await call("GET", f"/jobs/{job_id}/events")
    for path in ("/sources", "/sources/runs", "/alerts", "/audit", "/jobs", "/health", "/summary"):
        await call("GET", path)
    for host in HOSTS:
        await call("GET", f"/sources/s-{host}")
        await call("GET", f"/sources/s-{host}/status")


async def until_tried(call: Caller, job_id: str) -> None:
    """Wait until the job has ended, or waits for its next attempt."""
    for _ in range(600):
        job = await call("GET", f"/jobs/{job_id}")
        if job["state"] in ENDS or job["failures"]:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"job {job_id} was not tried")


async def main(answers: str, secret: str) -> None:
    """The whole of it."""
    settings = load()
    app = build_app(settings, predict)
    connections = Connections(settings, "test")
    dispatcher = Dispatcher(settings, connections, {"source": Owner(IngestionWork(connections), connections)})
    async with started(app):
        user = await add_user(app.state.connections, "admin")
        async with http_client(app, bearer(token_for(app, user.id))) as client:
            call = Caller(client, Path(answers))
            await set_up(call, secret)
            serving = asyncio.create_task(dispatcher.run())
            await read_all(call)
            await dispatcher.stop()
            await serving
    await connections.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # as in tests/conftest.py: collecting an application with its document may crash the interpreter
