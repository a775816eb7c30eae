"""While a source is read, everybody sees how many rows a second come in."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar

import polars as pl
import pytest
from pydantic import BaseModel
from queue_world import dispatching, owners_of, start, until, until_ended

from actors.ingestion import IngestionWork
from actors.owner import Connections
from db.models import Source
from fmrp_sdk import Batch, FileBatch, RecordsBatch
from fmrp_sdk.loader import LoadedConnector

ITEMS = pl.DataFrame({"code": [f"A{n}" for n in range(500)], "name": "Part", "kind": "component"})


class NoConfig(BaseModel):
    """Nothing to configure."""


class Slow:
    """Two batches of items, as rows or as files, and a third that comes only when the test lets it."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "slow"
    version: ClassVar[str] = "1"
    config_model: ClassVar[type[BaseModel]] = NoConfig
    as_files: ClassVar[bool] = False
    may_end: ClassVar[threading.Event] = threading.Event()

    def read(self, config: Any, state: Any) -> Iterator[Batch]:
        for number in range((state or {}).get("done", 0), 3):
            if number == 2:
                self.may_end.wait(20)
            yield Batch(self._content(number), {"version": 1, "done": number + 1})

    def _content(self, number: int) -> FileBatch | RecordsBatch:
        part = ITEMS[number * 100 : number * 100 + 100]
        if not self.as_files:
            return RecordsBatch("items", part)
        content = part.write_csv().encode()
        return FileBatch(f"items{number}.csv", len(content), datetime.now(UTC), 9999, lambda: io.BytesIO(content))


@pytest.mark.parametrize("as_files", [True, False])
async def test_a_running_reading_says_how_many_rows_a_second_come_in(
    connections: Connections, as_files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each file a round of its own: its rows are known once it was read.
    monkeypatch.setattr("actors.rounds.MOST_FILES", 1)
    connector = type("SlowHere", (Slow,), {"as_files": as_files, "may_end": threading.Event()})
    async with connections.sessions.begin() as session:
        rules = [{"pattern": "items*", "mapping": "erp_items"}]
        session.add(Source(code="erp", name="ERP", connector="slow", rules=rules))
    work = IngestionWork(connections)
    loaded = LoadedConnector("slow", "1", "tests", "slow", connector)
    work._plugins = replace(work._plugins, connectors=MappingProxyType({"slow": loaded}))

    async def live() -> list[float]:
        told = (await connections.events.replay("0-0", "+"))[0]
        return [
            event.data.rows_per_s
            for event in told
            if event.type == "job.progressed" and event.data.source == "erp" and event.data.rows_per_s
        ]

    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "ingest", {"source": "erp"})
        await until(live, "rows a second while it runs")
        connector.may_end.set()
        ended = await until_ended(connections, job.id)
    assert ended.state == "done"
    assert ended.result is not None
    seconds = (ended.finished_at - ended.started_at).total_seconds()
    assert ended.result["read"] == 300
    # Over all of it, which is a little longer for whoever looks at the database.
    assert 300 / seconds <= ended.rows_per_s < 10 * 300 / seconds
