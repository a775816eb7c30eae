"""A source that is read by processes that die, and what must be stored in the end."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
from pydantic import SecretStr
from queue_world import attempt_of, claim, get, scalar, start

from actors.owner import Connections
from actors.secrets import to_store
from db.models import Source
from db.repositories import sources
from fmrp_sdk import load_connectors

HERE = Path(__file__).parent
RULES = [{"pattern": "*", "mapping": "erp_demand"}]
ITEM_COUNT = 5


class DemandSource(Protocol):
    """A real source that holds days of demand; `put` adds one more file, or as many rows."""

    connector: str

    def config(self) -> dict[str, Any]: ...

    def put(self, number: int, rows: list[dict[str, Any]]) -> None: ...


class MortalReader:
    """The process of mortal_reader.py."""

    def __init__(self, process: subprocess.Popen[str], connections: Connections) -> None:
        self._process = process
        settings = connections.settings
        secrets = {name: value for name, value in settings if isinstance(value, SecretStr)}
        self._settings = settings.model_dump(mode="json", exclude=set(secrets)) | {
            name: value.get_secret_value() for name, value in secrets.items()
        }

    async def read(self, attempt: Any, die_at: int | None) -> dict[str, Any]:
        """One attempt; it is killed at a statement, if that many are sent."""
        request = {"attempt": msgspec.to_builtins(attempt), "settings": self._settings, "die_at": die_at}
        return await asyncio.to_thread(self._ask, json.dumps(request))

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def mortal_reader(connections: Connections) -> Iterator[MortalReader]:
    """A parent of readers, while the block lasts."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "mortal_reader.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield MortalReader(process, connections)
    finally:
        process.kill()
        process.wait()


def rows_of(number: int) -> list[dict[str, Any]]:
    """Demand of one day, different for each number."""
    day = f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}"
    return [
        {"item": f"I{item}", "day": day, "quantity": 10 * number + item, "revenue": 1.5 * item}
        for item in range(ITEM_COUNT)
    ]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """The rows as a file."""
    return "".join([",".join(rows[0]) + "\n", *(",".join(map(str, row.values())) + "\n" for row in rows)]).encode()


async def prepare(connections: Connections, source: DemandSource) -> None:
    """Items, and the source with its rule."""
    async with connections.sessions.begin() as session:
        from sqlalchemy import text

        for item in range(ITEM_COUNT):
            await session.execute(
                text(
                    "INSERT INTO item (id, code, name, kind, unit) VALUES (gen_random_uuid(), :code, :code, 'finished',"
                    " 'pcs') ON CONFLICT DO NOTHING"
                ),
                {"code": f"I{item}"},
            )
        connector = load_connectors().connectors[source.connector].connector
        config = to_store(source.config(), {}, connector, "mortal", connections.settings)
        configured = Source(code="mortal", name="Mortal", connector=source.connector, config=config)
        configured.rules = RULES
        await sources.put(session, configured)


async def read_with_kills(connections: Connections, source: DemandSource, kills: int, seed: int) -> int:
    """Add to the source and read it, each time with a reader that is to die at a random statement and one that is not,
    until `kills` have died; returns how often it was read.

    AssertionError: what is stored differs from what the source holds.
    """
    chance = random.Random(seed)
    await prepare(connections, source)
    died, rounds, statements, number = 0, 0, 30, 0
    with mortal_reader(connections) as reader:
        while died < kills:
            rounds += 1
            assert rounds <= 4 * kills, f"only {died} of {rounds} readers died"
            for _ in range(chance.randint(1, 3)):
                source.put(number, rows_of(number))
                number += 1
            job = await start(connections, "ingest", {"source": "mortal"})
            died += await _dies(connections, reader, job.id, chance.randint(1, statements))
            if (await get(connections, job.id)).state == "done":  # it died after its last commit: nothing is left to do
                job = await start(connections, "ingest", {"source": "mortal"})
            answer = await reader.read(attempt_of(await claim(connections, job.id)), None)
            assert answer.get("end") == "done", answer
            statements = max(answer["statements"], 10)
            await _same_as_source(connections, number)
    return rounds


async def _dies(connections: Connections, reader: MortalReader, job_id: uuid.UUID, die_at: int) -> bool:
    answer = await reader.read(attempt_of(await claim(connections, job_id)), die_at)
    return bool(answer.get("killed"))


async def _same_as_source(connections: Connections, count: int) -> None:
    expected = [row for number in range(count) for row in rows_of(number)]
    query = "SELECT count(*) || ' ' || sum(quantity)::float || ' ' || sum(revenue)::float FROM demand"
    stored = await scalar(connections, query)
    totals = len(expected), sum(row["quantity"] for row in expected), sum(row["revenue"] for row in expected)
    assert [float(each) for each in stored.split()] == [float(each) for each in totals]
    # Every row is accounted for once: no run tells of a row twice.
    assert await scalar(connections, "SELECT sum(taken) FROM ingest_run") == len(expected)
    assert await scalar(connections, "SELECT count(*) FROM rejected_row") == 0
    weeks = await scalar(connections, "SELECT sum(quantity)::float FROM demand_week")
    assert weeks == float(totals[1])
