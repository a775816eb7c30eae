"""Hostile files and a real shop's sample through the runner itself: each file on record, each row accounted for."""

from __future__ import annotations

import gzip
import io
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hostile import demand_mapping, hostile_files
from queue_world import get, perform, scalar, start
from samples import archive
from sqlalchemy import func, select

from actors.ingestion import IngestionWork
from actors.owner import Connections
from db.models import IngestRun, RejectedRow, SavedMapping, Source
from db.repositories import sources
from settings import Settings

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "online_retail_raw_sample.csv.gz"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Limits as an operator may set them."""
    return settings.model_copy(update={"file_max_seconds": 1.0, "file_max_memory_bytes": 512 << 20})


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


async def read_folder(connections: Connections, inbox: Path, mapping: str) -> tuple[list[IngestRun], dict[str, Any]]:
    """One reading of the folder by a job; its run records, and the job's result."""
    config = {"path": str(inbox), "patterns": ["*"], "min_age_s": 0}
    rules = [{"pattern": "*", "mapping": mapping}]
    async with connections.sessions.begin() as session:
        if await sources.find(session, "inbox") is None:
            await sources.put(
                session, Source(code="inbox", name="Inbox", connector="folder", config=config, rules=rules)
            )
    job = await start(connections, "ingest", {"source": "inbox"})
    outcome = await perform(connections, IngestionWork(connections), job.id)
    assert outcome.end == "done", outcome.error
    async with connections.sessions() as session:
        query = select(IngestRun).where(IngestRun.job_id == job.id).order_by(IngestRun.id)
        runs = list((await session.execute(query)).scalars())
    return runs, dict((await get(connections, job.id)).result or {})


async def accounted(connections: Connections, runs: list[IngestRun]) -> None:
    """Each row read is taken, merged or rejected, and each rejected one is kept."""
    async with connections.sessions() as session:
        query = select(RejectedRow.run_id, func.count()).group_by(RejectedRow.run_id)
        kept = {row[0]: row[1] for row in await session.execute(query)}
    for run in runs:
        if run.state == "failed":
            assert run.error, run.file
            assert "Expected: " in run.error, run.error
        else:
            assert run.read == run.taken + run.merged + run.rejected, run.file
            assert kept.get(run.id, 0) == (run.rejected if run.state == "done" else 0), run.file


async def test_hostile_files_stop_no_other_and_every_row_of_theirs_is_accounted_for(
    connections: Connections, inbox: Path
) -> None:
    definition = demand_mapping(encoding="auto").model_dump(mode="json", exclude_unset=True, exclude={"name"})
    async with connections.sessions.begin() as session:
        session.add(SavedMapping(name="hostile", definition=definition))
    dropped = []
    for number, (_, name, content) in enumerate(hostile_files()):
        if number % 4 == 0 or name.endswith(".zip"):
            dropped.append(f"{number:03}-{name}")
            (inbox / dropped[-1]).write_bytes(content)
    (inbox / "999-good.csv").write_bytes(b"item,day,quantity\nGOOD,2024-05-01,7\n")
    runs, result = await read_folder(connections, inbox, "hostile")
    assert {run.file.split("/")[0] for run in runs} == {*dropped, "999-good.csv"}
    await accounted(connections, runs)
    ends = Counter(run.state for run in runs)
    assert min(ends["failed"], ends["done"]) > 15
    assert (
        await scalar(connections, "SELECT quantity FROM demand d JOIN item i ON i.id = item_id WHERE code = 'GOOD'")
        == 7
    )
    totals = {name: sum(getattr(run, name) or 0 for run in runs) for name in ("read", "taken", "merged", "rejected")}
    assert result == {"files": len(runs), "failed_files": ends["failed"], **totals}
    assert await read_folder(connections, inbox, "hostile") == ([], dict.fromkeys(result, 0))


@pytest.mark.skipif(not SAMPLE.exists(), reason="the shared data set is not beside this checkout")
async def test_all_rows_of_a_real_shop_are_accounted_for_packed_in_any_way(
    settings: Settings, connections: Connections, inbox: Path
) -> None:
    connections.settings = settings.model_copy(update={"file_max_seconds": 60.0, "file_max_memory_bytes": 2 << 30})
    rows = pl.read_csv(SAMPLE, infer_schema=False)
    typed = rows.with_columns(pl.col("Quantity").cast(pl.Int64), pl.col("UnitPrice").cast(pl.Float64))
    lines = io.BytesIO()
    typed.write_ndjson(lines)
    columns = io.BytesIO()
    typed.write_parquet(columns)
    (inbox / "a.csv.gz").write_bytes(SAMPLE.read_bytes())
    whole = {"june/a.csv": gzip.decompress(SAMPLE.read_bytes()), "june/b.jsonl": lines.getvalue()}
    (inbox / "b.zip").write_bytes(archive({**whole, "c.parquet": columns.getvalue()}))
    runs, _ = await read_folder(connections, inbox, "online_retail")
    assert [run.file for run in runs] == ["a.csv.gz", "b.zip/june/a.csv", "b.zip/june/b.jsonl", "b.zip/c.parquet"]
    await accounted(connections, runs)
    assert {(run.state, run.read, run.taken, run.rejected) for run in runs} == {("done", 20_000, 19_774, 226)}
    assert await scalar(connections, "SELECT count(*) FROM sales_line") == 19_774


async def test_the_limits_are_those_of_the_settings(settings: Settings, connections: Connections, inbox: Path) -> None:
    few = {"file_max_rows": 2, "file_max_columns": 3, "archive_max_files": 1, "file_max_unpacked_bytes": 10_000}
    connections.settings = settings.model_copy(update=few)
    head, row = "code,name,kind\n", "A{0},Pump,component\n"
    files = {
        "a.csv": head + row.format(1) + row.format(2),
        "b.csv": head + "".join(map(row.format, range(3))),
        "c.csv": head.strip() + ",unit,cost\nA,Pump,component,pcs,1\n",
        "d.zip": archive({"a.csv": head, "b.csv": head}),
        "e.zip": archive({"a.csv": head + " " * 20_000}),
    }
    for name, content in files.items():
        (inbox / name).write_bytes(content.encode() if isinstance(content, str) else content)
    runs, _ = await read_folder(connections, inbox, "erp_items")
    assert {run.file: run.taken for run in runs if run.state == "done"} == {"a.csv": 2}
    told = {run.file: run.error or "" for run in runs if run.state == "failed"}
    assert "3 rows. Expected: at most 2" in told["b.csv"]
    assert "5 columns. Expected: at most 3" in told["c.csv"]
    assert "2 files. Expected: at most 1" in told["d.zip"]
    assert "more than 10,000 bytes" in told["e.zip"]
