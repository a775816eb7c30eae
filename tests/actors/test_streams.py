"""Rows of databases and APIs arrive in batches: stored as files' rows are, in as many rounds as it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import polars as pl
import pytest
from pydantic import BaseModel
from queue_world import scalar
from sqlalchemy import text
from test_ingestion_work import ingest, put_source, runs

from actors import rounds
from actors.ingestion import IngestionWork
from actors.owner import Connections
from db.models import SavedMapping
from db.repositories import sources
from fmrp_sdk import Batch, RecordsBatch, RetriableError
from fmrp_sdk.loader import LoadedConnector

RULES = [
    {"pattern": "demand", "mapping": "erp_demand"},
    {"pattern": "stock", "mapping": "erp_stock"},
    {"pattern": "invoices", "mapping": "invoices"},
]
INVOICES = {
    "target": "sales_lines",
    "grain": "line",
    "columns": {name: {"names": [name]} for name in ("document", "line", "item", "day", "quantity", "price")},
}
INVOICE_LINES = [
    {"document": "R1", "line": 1, "item": "A", "day": "2026-11-02", "quantity": 5, "price": 2.0},
    {"document": "R1", "line": 2, "item": "A", "day": "2026-11-02", "quantity": 5, "price": 2.0},
    {"document": "R1", "line": 3, "item": "B", "day": "2026-11-02", "quantity": 1, "price": 9.0},
    {"document": "R2", "line": 1, "item": "A", "day": "2026-11-03", "quantity": 2, "price": 2.0},
]


class NoConfig(BaseModel):
    """Nothing to configure."""


class Streams:
    """Gives the test's batches; the state says how many were given."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "streams"
    version: ClassVar[str] = "1"
    config_model: ClassVar[type[BaseModel]] = NoConfig
    given: ClassVar[Sequence[RecordsBatch | Exception]] = ()

    def read(self, config: Any, state: Any) -> Iterator[Batch]:
        done = (state or {}).get("done", 0)
        for number, batch in enumerate(self.given[done:], start=done + 1):
            if isinstance(batch, Exception):
                raise batch
            yield Batch(batch, {"version": 1, "done": number})


def work_with(connections: Connections, *given: RecordsBatch | Exception) -> IngestionWork:
    """Work that knows the connector, and gives these batches to whoever reads."""
    work = IngestionWork(connections)
    loaded = LoadedConnector("streams", "1", "tests", "streams", type("Given", (Streams,), {"given": given}))
    work._plugins = replace(work._plugins, connectors=MappingProxyType({"streams": loaded}))
    return work


def batch(stream: str, rows: list[dict[str, Any]], **how: bool) -> RecordsBatch:
    return RecordsBatch(stream, pl.DataFrame(rows), **how)


@pytest.fixture(autouse=True)
async def plant(connections: Connections) -> None:
    """Two items, and the source."""
    async with connections.sessions.begin() as session:
        for code in ("A", "B"):
            await session.execute(
                text("INSERT INTO item (id, code, name, kind) VALUES (gen_random_uuid(), :code, :code, 'finished')"),
                {"code": code},
            )
        session.add(SavedMapping(name="invoices", definition=INVOICES))
    await put_source(connections, "erp", connector="streams", rules=RULES)


def demand(item: str, day: int, quantity: float) -> dict[str, Any]:
    return {"item": item, "day": f"2026-11-{day:02d}", "quantity": quantity, "revenue": None}


async def test_rows_of_a_stream_are_stored_and_accounted_for(connections: Connections) -> None:
    wrong = demand("nobody", 3, 1)
    work = work_with(
        connections,
        batch("demand", [demand("A", 1, 3), demand("A", 2, 4), wrong]),
        batch("demand", [demand("A", 2, 5), demand("B", 2, 1.5)]),
    )
    outcome, job = await ingest(connections, "erp", work)
    assert outcome.end == "done"
    told = [(run.file, run.read, run.taken, run.merged, run.rejected) for run in await runs(connections, job)]
    assert told == [("demand", 5, 3, 1, 1)]
    assert await scalar(connections, "SELECT sum(quantity)::float FROM demand") == 3 + 5 + 1.5
    assert await scalar(connections, "SELECT raw::json ->> 'item' FROM rejected_row") == "nobody"


async def test_a_long_stream_is_stored_round_by_round(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MOST_ROWS", 2)
    given = [batch("demand", [demand("A", day, day), demand("B", day, 1)]) for day in (1, 2)]
    outcome, job = await ingest(connections, "erp", work_with(connections, *given, RetriableError("the link broke")))
    assert (outcome.end, outcome.passing) == ("failed", True)
    assert [run.taken for run in await runs(connections, job)] == [2, 2]
    async with connections.sessions() as session:
        source = await sources.find(session, "erp")
    assert source is not None
    assert source.state == {"version": 1, "done": 2}, "what came before the fault is not asked for again"
    outcome, job = await ingest(
        connections, "erp", work_with(connections, *given, batch("demand", [demand("A", 3, 3)]))
    )
    assert [run.taken for run in await runs(connections, job)] == [1]
    assert await scalar(connections, "SELECT count(*) FROM demand") == 5


async def test_only_a_snapshot_says_what_is_gone(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MOST_ROWS", 1)  # a snapshot is kept together all the same
    on_hand = {
        code: {"item": code, "warehouse": "main", "on_hand": number} for number, code in enumerate("AB", start=1)
    }
    whole = [
        batch("stock", [on_hand["A"]], is_snapshot=True, is_last=False),
        batch("stock", [on_hand["B"]], is_snapshot=True, is_last=True),
    ]
    await ingest(connections, "erp", work_with(connections, *whole))
    assert await scalar(connections, "SELECT count(*) FROM stock") == 2
    later = batch("stock", [{**on_hand["A"], "on_hand": 7}])
    await ingest(connections, "erp", work_with(connections, *whole, later))
    assert await scalar(connections, "SELECT sum(on_hand)::float FROM stock") == 9, "rows that changed, no more"
    half = batch("stock", [{**on_hand["B"], "on_hand": 8}], is_snapshot=True, is_last=False)
    await ingest(connections, "erp", work_with(connections, *whole, later, half, RetriableError("the link broke")))
    assert await scalar(connections, "SELECT sum(on_hand)::float FROM stock") == 9, "half a snapshot says nothing"
    new = batch("stock", [{**on_hand["B"], "on_hand": 8}], is_snapshot=True, is_last=True)
    await ingest(connections, "erp", work_with(connections, *whole, later, new))
    assert await scalar(connections, "SELECT sum(on_hand)::float FROM stock") == 8


async def test_invoice_lines_are_known_by_their_numbers_however_they_are_cut(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MOST_ROWS", 1)
    given = [batch("invoices", [line]) for line in INVOICE_LINES]
    again = batch("invoices", INVOICE_LINES[1:])  # as a lag window reads once more
    await ingest(connections, "erp", work_with(connections, *given, again))
    assert await scalar(connections, "SELECT count(*) FROM sales_line") == 4
    assert await scalar(connections, "SELECT sum(quantity)::float FROM demand") == 13
    assert await scalar(connections, "SELECT sum(revenue)::float FROM demand") == 33


async def test_invoice_lines_of_a_stream_without_numbers_are_refused_and_kept(connections: Connections) -> None:
    columns = {name: column for name, column in INVOICES["columns"].items() if name != "line"}
    async with connections.sessions.begin() as session:
        await session.execute(
            text("UPDATE mapping SET definition = cast(:new AS jsonb) WHERE name = 'invoices'"),
            {"new": json.dumps({**INVOICES, "columns": columns})},
        )
    _, job = await ingest(connections, "erp", work_with(connections, batch("invoices", INVOICE_LINES)))
    (run,) = await runs(connections, job)
    assert run.state == "failed"
    assert run.error is not None
    assert "field line: invoice lines of a stream need a number of their own" in run.error
    assert await scalar(connections, "SELECT count(*) FROM sales_line") == 0
    assert await scalar(connections, "SELECT name FROM source_file") == "invoices.parquet"
