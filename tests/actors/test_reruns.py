"""Rejected rows are corrected and run again; nothing is taken twice, and what was right stays right."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from queue_world import get, perform, scalar, start
from sqlalchemy import select, text
from test_ingestion_work import DEMAND, ITEMS, counts, runs, upload

from actors.ingestion import IngestionWork
from actors.owner import Connections, Outcome
from db.models import IngestRun, Job, RejectedRow

BROKEN = DEMAND + "NOPE,2026-11-03,1,1\nB1,someday,2,\nB1\n"
SALES = "document;item;day;customer;quantity;price\n"


async def rejected(connections: Connections) -> list[RejectedRow]:
    async with connections.sessions() as session:
        return list((await session.execute(select(RejectedRow).order_by(RejectedRow.line))).scalars())


async def correct(connections: Connections, line: int, **values: str) -> None:
    """As somebody does by hand."""
    async with connections.sessions.begin() as session:
        row = (await session.execute(select(RejectedRow).where(RejectedRow.line == line))).scalar_one()
        row.corrected = {**json.loads(row.raw), **values}
        row.revision += 1


async def rerun(connections: Connections, run_id: uuid.UUID) -> tuple[Outcome, Job]:
    job = await start(connections, "ingest", {"rerun_of": str(run_id)})
    outcome = await perform(connections, IngestionWork(connections), job.id)
    if outcome.end != "done":
        async with connections.sessions.begin() as session:
            await session.execute(text("UPDATE job SET state = 'failed' WHERE id = :id"), {"id": job.id})
    return outcome, await get(connections, job.id)


async def taken_with_faults(connections: Connections, content: str = BROKEN, mapping: str = "erp_demand") -> IngestRun:
    await upload(connections, "items.csv", ITEMS)
    _, job = await upload(connections, "demand.csv", content, mapping)
    (run,) = await runs(connections, job)
    return run


def numbers(run: IngestRun) -> tuple[int, int, int, int]:
    return run.read, run.taken, run.merged, run.rejected


async def test_corrected_rows_are_taken_and_the_others_keep_their_place(connections: Connections) -> None:
    run = await taken_with_faults(connections)
    assert numbers(run) == (6, 3, 0, 3)
    await correct(connections, 6, day="2026-11-04")
    outcome, job = await rerun(connections, run.id)
    assert outcome.end == "done", outcome.error
    (again,) = await runs(connections, job)
    assert (numbers(again), again.rerun_of) == ((2, 1, 0, 1), run.id)
    assert await scalar(connections, "SELECT quantity FROM demand WHERE day = '2026-11-04'") == 2
    found = [(row.line, row.state, row.run_id, row.judged_by) for row in await rejected(connections)]
    assert found == [(5, "open", run.id, again.id), (6, "taken", run.id, again.id), (7, "open", run.id, None)]


async def test_running_again_without_a_change_changes_nothing_but_the_record(connections: Connections) -> None:
    run = await taken_with_faults(connections)
    before = await counts(connections)
    for _ in range(2):
        _, job = await rerun(connections, run.id)
        assert [numbers(each) for each in await runs(connections, job)] == [(2, 0, 0, 2)]
    assert await counts(connections) == before


async def test_an_item_that_is_there_by_now_needs_no_correction(connections: Connections) -> None:
    run = await taken_with_faults(connections)
    await upload(connections, "more.csv", ITEMS + "NOPE,Saddle,component\n")
    await rerun(connections, run.id)
    assert [row.state for row in await rejected(connections)] == ["taken", "open", "open"]
    assert (await counts(connections))["demand"] == 4


async def test_rows_of_a_snapshot_run_again_leave_the_rest_of_it_standing(connections: Connections) -> None:
    run = await taken_with_faults(connections, "item;warehouse;on_hand\nB1;main;4,5\nW1;main;many\n", "erp_stock")
    await correct(connections, 3, on_hand="10,5")
    await rerun(connections, run.id)
    assert (
        await scalar(connections, "SELECT string_agg(on_hand::float::text, ' ' ORDER BY on_hand) FROM stock")
        == "4.5 10.5"
    )


async def test_a_killed_attempt_takes_corrected_rows_once(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actors.run import JobRun

    class Killed(BaseException):
        """The process dies here."""

    run = await taken_with_faults(connections)
    await correct(connections, 6, day="2026-11-04")
    job = await start(connections, "ingest", {"rerun_of": str(run.id)})

    async def dies(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(JobRun, "finish", dies)
        with pytest.raises(Killed):
            await perform(connections, IngestionWork(connections), job.id)
    assert (await perform(connections, IngestionWork(connections), job.id)).end == "done"
    assert [numbers(each) for each in await runs(connections, await get(connections, job.id))] == [(2, 1, 0, 1)]


async def test_a_run_that_is_not_there_is_named(connections: Connections) -> None:
    outcome, _ = await rerun(connections, uuid.UUID(int=1))
    assert (outcome.end, outcome.passing) == ("failed", False)
    assert "there is none whose rows can be read again" in (outcome.error or "")
