"""Work that goes wrong raises an alert, and the same work going well resolves it."""

from __future__ import annotations

from typing import Any

import pytest
from planned_work import PlannedWork
from queue_world import dispatching, owners_of, perform, start, until_ended
from sqlalchemy import text

from actors.failure_alerts import job_succeeded, rejected_rows
from actors.ingestion import IngestionWork
from actors.owner import Connections
from actors.uploads import start_upload
from db.models import IngestRun

ITEMS = "code,name,kind\nB1,Bike,finished\nW1,Wheel,component\n"
WRONG = "".join(f"X{number},Thing,nonsense\n" for number in range(3))


async def stored(connections: Connections) -> list[tuple[Any, ...]]:
    """Kind, subject, state, severity and count of every alert."""
    async with connections.sessions() as session:
        query = text("SELECT kind, subject, state, severity, count FROM alert ORDER BY kind")
        return [tuple(row) for row in await session.execute(query)]


async def upload(connections: Connections, content: str) -> None:
    """Take in a file of items."""
    async with connections.sessions.begin() as session:
        job, _ = await start_upload(
            session, "items.csv", content.encode(), "erp_items", requested_by="anna", max_attempts=4
        )
    assert (await perform(connections, IngestionWork(connections), job.id)).end == "done"


async def test_many_rejected_rows_are_an_alert_until_the_file_is_sound(connections: Connections) -> None:
    await upload(connections, ITEMS + WRONG)
    assert await stored(connections) == [("rejected_rows", "upload erp_items", "open", "critical", 1)]
    await upload(connections, ITEMS)
    assert await stored(connections) == [("rejected_rows", "upload erp_items", "resolved", "critical", 1)]


@pytest.mark.parametrize(("rejected", "severity"), [(0, None), (5, None), (6, "warning"), (51, "critical")])
def test_the_share_of_rejected_rows_decides(rejected: int, severity: str | None) -> None:
    run = IngestRun(source="erp", file="a.csv", read=100, taken=100 - rejected, rejected=rejected)
    finding = rejected_rows(run, 0.05)
    assert (finding.severity if finding else None) == severity


async def test_dead_letters_are_one_alert_until_such_a_job_goes_well(connections: Connections) -> None:
    work = PlannedWork(ValueError("no such item"), ValueError("no such item"))
    async with dispatching(connections, owners_of(connections, work)):
        for _ in range(2):
            job = await start(connections, "plan")
            assert (await until_ended(connections, job.id)).state == "failed"
    assert await stored(connections) == [("job_failed", "plan", "open", "critical", 2)]
    async with connections.sessions.begin() as session:
        await job_succeeded(session, "plan", {}, connections.settings)
    assert await stored(connections) == [("job_failed", "plan", "resolved", "critical", 2)]
