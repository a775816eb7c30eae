"""One attempt: progress out, cancellation in, results and end in one commit, fenced by the attempt's number."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from queue_world import attempt_of, claim, get, perform, run_of, scalar, start, until
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from actors import jobs
from actors.owner import Connections, Outcome, Owner
from actors.run import JobRun
from db.models import Item
from db.repositories import jobs as repository
from db.repositories.jobs import Superseded


async def store_item(session: AsyncSession) -> None:
    """A result that can be counted."""
    session.add(Item(code="RESULT", name="r", kind="component"))


async def items(connections: Connections) -> int:
    return int(await scalar(connections, "SELECT count(*) FROM item"))


class FakeWork:
    """Work whose content the test gives."""

    name = "planning"

    def __init__(self, body: Any) -> None:
        self._body = body

    async def perform(self, run: JobRun) -> None:
        await self._body(run)


async def test_results_and_the_end_are_stored_together(connections: Connections) -> None:
    job = await start(connections, "plan")
    run = await run_of(connections, await claim(connections, job.id))
    await run.finish({"orders": 3}, "3 orders", store_item)
    ended = await get(connections, job.id)
    assert (ended.state, ended.result, ended.message, ended.progress) == ("done", {"orders": 3}, "3 orders", 1.0)
    assert await items(connections) == 1


async def test_results_that_cannot_be_stored_leave_the_job_running(connections: Connections) -> None:
    job = await start(connections, "plan")
    run = await run_of(connections, await claim(connections, job.id))

    async def store(session: AsyncSession) -> None:
        await store_item(session)
        await session.flush()
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        await run.finish({}, "", store)
    assert (await get(connections, job.id)).state == "running"
    assert await items(connections) == 0


async def test_a_superseded_attempt_stores_nothing(connections: Connections) -> None:
    job = await start(connections, "plan")
    first = await run_of(connections, await claim(connections, job.id))
    second = await run_of(connections, await claim(connections, job.id))
    with pytest.raises(Superseded):
        await first.finish({"by": 1}, "", store_item)
    assert await items(connections) == 0
    await second.finish({"by": 2}, "", store_item)
    assert (await get(connections, job.id)).result == {"by": 2}
    assert await items(connections) == 1


async def test_an_attempt_cannot_end_a_job_twice(connections: Connections) -> None:
    job = await start(connections, "plan")
    run = await run_of(connections, await claim(connections, job.id))
    await run.finish({}, "", store_item)

    async def store_nothing(session: AsyncSession) -> None: ...

    with pytest.raises(Superseded):
        await run.finish({"again": True}, "", store_nothing)
    assert (await get(connections, job.id)).result == {}
    assert await items(connections) == 1


async def test_a_superseded_attempt_cannot_report_or_be_put_back(connections: Connections) -> None:
    job = await start(connections, "plan")
    old = await claim(connections, job.id)
    await claim(connections, job.id)
    async with connections.sessions.begin() as session:
        with pytest.raises(Superseded):
            await repository.report_progress(session, old.id, old.attempts, 0.5, "planning", "")
        assert await repository.put_back(session, old.id, old.attempts, "again") is None
    assert (await get(connections, job.id)).progress == 0


async def test_progress_reaches_the_row_and_the_stream(connections: Connections) -> None:
    job = await start(connections, "plan")
    run = await run_of(connections, await claim(connections, job.id))
    async with run.reporting():
        run.report(0.4, "netting", "level 2")
        row = await until(lambda: _with_progress(connections, job.id), "progress in the row")
        assert (row.progress, row.step, row.message) == (0.4, "netting", "level 2")
        events = await until(lambda: _progressed(connections), "progress in the stream")
    assert events[-1].data.progress == 0.4
    assert events[-1].data.job_id == str(job.id)
    assert events[-1].data.eta_s > 0


async def test_rows_a_second_reach_the_stream_the_row_and_the_ended_job(connections: Connections) -> None:
    job = await start(connections, "plan")
    run = await run_of(connections, await claim(connections, job.id))

    async def store(session: AsyncSession) -> None: ...

    async with run.reporting():
        run.report(0.1, "reading", "a.csv", rows=0)
        run.report(0.4, "reading", "a.csv", rows=5000)
        run.report(0.4, "reading", "a.csv", rows=4000)  # a late word from a worker thread
        row = await until(lambda: _with_progress(connections, job.id), "progress in the row")
        events = await until(lambda: _progressed(connections), "progress in the stream")
        await run.finish({}, "", store)
    assert events[-1].data.rows_per_s == row.rows_per_s > 0
    ended = await get(connections, job.id)
    assert ended.rows_per_s is not None
    # Over all of the attempt, which went on a while without any.
    assert 0 < ended.rows_per_s < row.rows_per_s


async def test_a_new_attempt_begins_without_the_pace_of_the_one_before(connections: Connections) -> None:
    job = await start(connections, "plan")
    old = await claim(connections, job.id)
    async with connections.sessions.begin() as session:
        await repository.report_progress(session, old.id, old.attempts, 0.5, "reading", "", rows_per_s=9.5)
    assert (await get(connections, job.id)).rows_per_s == 9.5
    assert (await claim(connections, job.id)).rows_per_s is None


async def test_a_cancellation_that_gets_lost_while_progress_is_stored_holds_up_no_end(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_of(connections, await claim(connections, (await start(connections, "plan")).id))
    storing = asyncio.Event()

    async def loses_it(*_: Any, **__: Any) -> bool:
        storing.set()
        with suppress(asyncio.CancelledError):  # as a driver does whose connection breaks at that moment
            await asyncio.Event().wait()
        return False

    async def fails() -> None:
        async with run.reporting():
            await storing.wait()
            raise ValueError("no calendar")

    monkeypatch.setattr(repository, "report_progress", loses_it)
    with pytest.raises(ValueError, match="no calendar"):
        await asyncio.wait_for(fails(), 10)


async def _with_progress(connections: Connections, job_id: Any) -> Any:
    job = await get(connections, job_id)
    return job if job.progress > 0 else None


async def _progressed(connections: Connections) -> Any:
    return [event for event in (await connections.events.replay("0-0", "+"))[0] if event.type == "job.progressed"]


@pytest.mark.parametrize(("told", "kept"), [(-1.0, 0.0), (7.0, 1.0)])
async def test_progress_outside_its_bounds_is_brought_back(connections: Connections, told: float, kept: float) -> None:
    run = await run_of(connections, await claim(connections, (await start(connections, "plan")).id))
    run.report(told, "netting")
    await run._store_progress()
    assert (await get(connections, run.job_id)).progress == kept


async def test_a_childs_progress_moves_its_parent_in_the_stream(connections: Connections) -> None:
    day = await start(connections, "day")
    child = await claim(connections, await scalar(connections, "SELECT id FROM job WHERE kind = 'ingest'"))
    run = await run_of(connections, child)
    async with run.reporting():
        run.report(0.5, "reading")
        events = await until(lambda: _progressed(connections), "progress")
        events = await until(lambda: _of(connections, str(day.id)), "the parent's progress")
    assert events[-1].data.progress == pytest.approx(0.5 / 3)
    assert events[-1].data.step == "ingest"


async def _of(connections: Connections, job_id: str) -> Any:
    return [event for event in await _progressed(connections) if event.data.job_id == job_id]


async def test_a_cancellation_reaches_the_work_at_its_next_report(connections: Connections) -> None:
    job = await start(connections, "plan")

    async def until_told(run: JobRun) -> None:
        async with connections.sessions.begin() as session:
            await jobs.cancel(session, run.job_id)
        deadline = asyncio.get_running_loop().time() + 10
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.to_thread(run.report, 0.5, "netting")
            await asyncio.sleep(0.02)

    assert await perform(connections, FakeWork(until_told), job.id) == Outcome("cancelled")


async def test_a_superseded_work_is_stopped_at_its_next_report(connections: Connections) -> None:
    job = await start(connections, "plan")

    async def until_told(run: JobRun) -> None:
        await claim(connections, run.job_id)
        deadline = asyncio.get_running_loop().time() + 10
        while asyncio.get_running_loop().time() < deadline:
            run.report(0.5, "netting")
            await asyncio.sleep(0.02)

    assert await perform(connections, FakeWork(until_told), job.id) == Outcome("superseded")


async def test_a_later_attempt_at_the_same_owner_ends_the_earlier_one(connections: Connections) -> None:
    job = await claim(connections, (await start(connections, "plan")).id)
    begun = asyncio.Event()

    async def work(run: JobRun) -> None:
        if run.attempt == 1:
            begun.set()
            await asyncio.Event().wait()
        await run.finish({}, "")

    owner = Owner(FakeWork(work), connections)
    first = asyncio.create_task(owner.run(attempt_of(job)))
    await asyncio.wait_for(begun.wait(), 10)
    second = await owner.run(attempt_of(await claim(connections, job.id)))
    assert (await first).end == "cancelled"
    assert second.end == "done"
    assert owner.in_hand == {}


async def test_a_cancelled_thread_has_ended_when_its_attempt_has(connections: Connections) -> None:
    job = await claim(connections, (await start(connections, "plan")).id)
    begun, ended = threading.Event(), threading.Event()

    def blocking(run: JobRun) -> None:
        begun.set()
        try:
            while True:
                run.report(0.5, "netting")
                time.sleep(0.005)
        finally:
            ended.set()

    async def work(run: JobRun) -> None:
        await run.in_thread(blocking, run)

    owner = Owner(FakeWork(work), connections)
    running = asyncio.create_task(owner.run(attempt_of(job)))
    await asyncio.to_thread(begun.wait, 10)
    await owner.cancel(str(job.id), job.attempts)
    assert (await running).end == "cancelled"
    assert ended.is_set()


async def test_what_an_attempt_logs_is_kept_with_the_job(connections: Connections) -> None:
    async def work(run: JobRun) -> None:
        run.log("read 3 files")
        run.log("one was empty", "warning")
        await run.finish({}, "")

    job = await start(connections, "plan")
    await perform(connections, FakeWork(work), job.id)
    query = "SELECT string_agg(attempt || level || message, ';' ORDER BY id) FROM job_log WHERE job_id = :id"
    assert await scalar(connections, query, id=job.id) == "1inforead 3 files;1warningone was empty"


async def test_a_fault_of_the_work_is_an_outcome_with_its_traceback(connections: Connections) -> None:
    async def broken(run: JobRun) -> None:
        raise ValueError("no forecast for item B1")

    outcome = await perform(connections, FakeWork(broken), (await start(connections, "plan")).id)
    assert (outcome.end, outcome.error, outcome.passing) == ("failed", "no forecast for item B1", False)
    assert "in broken" in (outcome.traceback or "")


async def test_a_passing_fault_is_told_from_a_lasting_one(connections: Connections) -> None:
    async def away(run: JobRun) -> None:
        raise OperationalError("SELECT 1", {}, ConnectionRefusedError("database away"))

    assert (await perform(connections, FakeWork(away), (await start(connections, "plan")).id)).passing
