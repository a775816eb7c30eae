"""Reads a source in a process that dies where it is told: one that has imported everything forks for each attempt.

    python mortal_reader.py < lines of JSON {"attempt": {...}, "settings": {...}, "die_at": statement or null}

Answers a line of JSON for each: {"statements": how many were sent, "outcome": ...}, or {"killed": true}.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
from typing import Any

import msgspec
from pydantic import SecretStr
from sqlalchemy import event

from actors.ingestion import IngestionWork
from actors.owner import Connections, Owner
from actors.run import Attempt
from fmrp_sdk import load_connectors
from settings import Settings


def main() -> None:
    """Serve attempts until the input ends."""
    load_connectors()  # imported once, for all children
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            answer = asyncio.run(_attempt(request))
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        print(told.decode() or '{"killed": true}', flush=True)


async def _attempt(request: dict[str, Any]) -> dict[str, Any]:
    given = request["settings"]
    secrets = {name: SecretStr(given.pop(name)) for name in ("database_url", "redis_url")}
    connections = Connections(Settings(**given, **secrets), "mortal")
    counter = _Counter(request["die_at"])
    counter.watch(connections)
    try:
        outcome = await Owner(IngestionWork(connections), connections).run(msgspec.convert(request["attempt"], Attempt))
    finally:
        await connections.close()
    return {"statements": counter.count, "end": outcome.end, "error": outcome.error}


class _Counter:
    """Counts what is sent to the database, commits among it, and dies at one of them: before, during or after."""

    def __init__(self, die_at: int | None) -> None:
        self.count = 0
        self._die_at = die_at

    def watch(self, connections: Connections) -> None:
        """Count what this engine sends."""
        engine = connections.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *_: self._sent())
        event.listen(engine, "commit", lambda *_: self._sent())

    def _sent(self) -> None:
        self.count += 1
        if self.count == self._die_at:
            # A commit takes about a millisecond: the death falls before, into or after what is being sent.
            threading.Thread(target=_die_after, args=(random.uniform(0, 0.003),), daemon=True).start()


def _die_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
