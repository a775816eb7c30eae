"""Jobs are started, joined, chained, cancelled and retried in the caller's transaction."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from queue_world import children, claim, end, get, run_of, scalar, start, waiting_ids
from sqlalchemy.ext.asyncio import AsyncSession

from actors import flow, jobs
from actors.job_sources import SourceOff, UnknownSource
from actors.owner import Connections
from db.models import Job, Source
from db.repositories import jobs as repository
from db.repositories.jobs import Superseded


async def cancel(connections: Connections, job: Job) -> list[Job]:
    async with connections.sessions.begin() as session:
        return await jobs.cancel(session, job.id)


async def retry(connections: Connections, job: Job) -> list[Job]:
    async with connections.sessions.begin() as session:
        return await jobs.retry(session, job.id)


async def count(connections: Connections) -> int:
    return int(await scalar(connections, "SELECT count(*) FROM job"))


async def states(connections: Connections, parent: Job) -> list[tuple[str, str]]:
    return [(child.kind, child.state) for child in await children(connections, parent.id)]


async def step(connections: Connections, parent: Job, state: str = "done", **rest: Any) -> Job:
    """Run the parent's newest child to that end."""
    child = (await children(connections, parent.id))[-1]
    await end(connections, await claim(connections, child.id), state, **rest)
    return child


# -- start -----------------------------------------------------------------------------------------------------------


async def test_a_started_job_waits_and_its_id_is_in_the_queue(connections: Connections) -> None:
    job = await start(connections, "plan", {"today": "2026-11-23"}, max_attempts=3)
    stored = await get(connections, job.id)
    assert (stored.state, stored.attempts, stored.max_attempts, stored.requested_by) == ("waiting", 0, 3, "anna")
    assert stored.parameters == {"today": "2026-11-23"}
    assert await waiting_ids(connections) == [str(job.id)]


@pytest.mark.parametrize("kind", ["plan", "day"])
async def test_a_rollback_leaves_neither_job_nor_queue_row(connections: Connections, kind: str) -> None:
    async with connections.sessions() as session:
        await jobs.start(session, kind, requested_by="anna")
        await session.rollback()
    assert await count(connections) == 0
    assert await waiting_ids(connections) == []


async def test_an_unknown_kind_names_those_there_are(connections: Connections) -> None:
    with pytest.raises(jobs.UnknownKind, match="kind: expected one of ingest, forecast, plan, tidy, day, not 'dance'"):
        await start(connections, "dance")


async def test_the_same_idempotency_key_gives_the_same_job_even_after_it_ended(connections: Connections) -> None:
    first = await start(connections, "plan", idempotency_key="k1")
    await end(connections, await claim(connections, first.id))
    assert (await start(connections, "plan", idempotency_key="k1")).id == first.id
    assert (await start(connections, "plan", idempotency_key="k1", requested_by="bert")).id != first.id
    assert await count(connections) == 2


@pytest.mark.parametrize(
    ("kind", "key"), [("ingest", "k1"), ("plan", "k1"), ("plan", None), ("day", "k1"), ("day", None)]
)
async def test_equal_requests_at_the_same_moment_give_one_job(
    connections: Connections, kind: str, key: str | None
) -> None:
    looked, may_commit = asyncio.Event(), asyncio.Event()

    async def first() -> tuple[Any, bool]:
        async with connections.sessions.begin() as session:
            job, is_new = await jobs.start(session, kind, {}, requested_by="anna", idempotency_key=key)
            looked.set()
            await may_commit.wait()
        return job.id, is_new

    async def second() -> tuple[Any, bool]:
        await looked.wait()  # the first has inserted and not committed: it cannot be seen
        async with connections.sessions.begin() as session:
            job, is_new = await jobs.start(session, kind, {}, requested_by="anna", idempotency_key=key)
        return job.id, is_new

    racing = [asyncio.create_task(first()), asyncio.create_task(second())]
    await looked.wait()
    deadline = asyncio.get_running_loop().time() + 10
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not await scalar(connections, blocked):
        assert asyncio.get_running_loop().time() < deadline, "the second request never met the first"
    may_commit.set()
    (one, is_new), (two, is_new_too) = await asyncio.gather(*racing)
    assert one == two
    assert (is_new, is_new_too) == (True, False)
    assert len(await waiting_ids(connections)) == 1
    assert await count(connections) == (2 if kind == "day" else 1)


async def test_a_request_joins_an_equal_job_that_still_waits(connections: Connections) -> None:
    first = await start(connections, "forecast")
    assert (await start(connections, "forecast", requested_by="bert")).id == first.id
    assert await waiting_ids(connections) == [str(first.id)]


async def test_a_request_with_other_parameters_gets_a_job_of_its_own(connections: Connections) -> None:
    everything = await start(connections, "plan")
    for_monday = await start(connections, "plan", {"today": "2026-11-23"})
    assert for_monday.id != everything.id
    assert (await start(connections, "plan", {"today": "2026-11-23"})).id == for_monday.id
    assert (await get(connections, for_monday.id)).parameters == {"today": "2026-11-23"}


async def test_a_change_that_comes_while_a_job_runs_is_not_lost(connections: Connections) -> None:
    running = await start(connections, "plan")
    await claim(connections, running.id)
    again = await start(connections, "plan")
    assert again.id != running.id
    assert (await start(connections, "plan")).id == again.id
    assert (await get(connections, again.id)).state == "waiting"
    assert await waiting_ids(connections) == [str(again.id)]


async def test_one_reading_of_a_source_that_waits_is_enough_and_uploads_never_join(connections: Connections) -> None:
    one = await start(connections, "ingest", {"source": "inbox"})
    assert (await start(connections, "ingest", {"source": "inbox"})).id == one.id
    assert (await start(connections, "ingest", {"source": "erp"})).id != one.id
    await claim(connections, one.id)
    assert (await start(connections, "ingest", {"source": "inbox"})).id != one.id  # it may find what came since
    upload = await start(connections, "ingest", {"mapping": "items"})
    assert (await start(connections, "ingest", {"mapping": "items"})).id != upload.id


async def test_a_source_that_is_not_there_starts_no_job_and_one_given_by_its_id_goes_by_its_code(
    connections: Connections,
) -> None:
    await start(connections, "ingest", {"source": "erp"})
    source_id = str(await scalar(connections, "SELECT id FROM source WHERE code = 'erp'"))
    async with connections.sessions.begin() as session:
        joined, is_new = await jobs.start(session, "ingest", {"source": source_id}, requested_by="anna")
    assert (joined.parameters, is_new) == ({"source": "erp"}, False)
    wrong = [{"source": "no"}, {"source": 7}, {"source": "upload"}]
    for kind, parameters in [*(("ingest", each) for each in wrong), ("day", {"ingest": wrong[0]})]:
        async with connections.sessions.begin() as session:
            with pytest.raises(UnknownSource, match=r"parameters.source: there is no source .* there are: erp"):
                await jobs.start(session, kind, parameters, requested_by="anna")
    assert await count(connections) == 1


async def test_a_source_switched_off_starts_no_job(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        session.add(Source(code="erp", name="ERP", connector="folder", active=False))
        await session.flush()
        with pytest.raises(SourceOff, match="the source erp is switched off"):
            await jobs.start(session, "ingest", {"source": "erp"}, requested_by="anna")


# -- parents ---------------------------------------------------------------------------------------------------------


async def test_a_day_goes_on_step_by_step_to_its_end(connections: Connections) -> None:
    day = await start(connections, "day", {"plan": {"today": "2026-11-23"}})
    assert await states(connections, day) == [("ingest", "waiting")]
    assert (await children(connections, day.id))[0].parameters == {"source": "inbox"}
    await step(connections, day, result={"read": 5})
    assert await states(connections, day) == [("ingest", "done"), ("forecast", "waiting")]
    half_way = await get(connections, day.id)
    assert (half_way.state, half_way.step) == ("running", "forecast")
    assert half_way.progress == pytest.approx(1 / 3)
    await step(connections, day)
    assert (await children(connections, day.id))[-1].parameters == {"today": "2026-11-23"}
    await step(connections, day)
    ended = await get(connections, day.id)
    assert (ended.state, ended.progress, ended.step) == ("done", 1.0, "")
    assert ended.result == {"ingest": {"read": 5}, "forecast": None, "plan": None}
    assert ended.finished_at is not None


async def test_a_second_day_joins_the_one_that_runs(connections: Connections) -> None:
    day = await start(connections, "day")
    await step(connections, day)
    assert (await start(connections, "day")).id == day.id
    await step(connections, day)
    await step(connections, day)
    assert (await start(connections, "day")).id != day.id


async def test_a_day_fails_with_its_child_and_says_why(connections: Connections) -> None:
    day = await start(connections, "day")
    await step(connections, day)
    await step(connections, day, "failed", error="no demand")
    ended = await get(connections, day.id)
    assert (ended.state, ended.error, ended.step) == ("failed", "forecast: no demand", "forecast")
    assert len(await children(connections, day.id)) == 2


async def test_a_retried_day_goes_on_at_the_failed_child_and_does_not_repeat_the_done_one(
    connections: Connections,
) -> None:
    day = await start(connections, "day")
    ingest = await step(connections, day)
    failed = await step(connections, day, "failed", error="no demand")
    changed = await retry(connections, day)
    assert {job.id for job in changed} == {failed.id, day.id}
    again = await get(connections, day.id)
    assert (again.state, again.error, again.finished_at) == ("running", None, None)
    assert await waiting_ids(connections) == [str(failed.id)]
    await step(connections, day)
    await step(connections, day)
    assert await states(connections, day) == [("ingest", "done"), ("forecast", "done"), ("plan", "done")]
    assert (await get(connections, ingest.id)).attempts == 1
    ended = await get(connections, day.id)
    assert (ended.state, ended.progress) == ("done", 1.0)


async def test_retrying_the_failed_child_wakes_its_day(connections: Connections) -> None:
    day = await start(connections, "day")
    failed = await step(connections, day, "failed", error="folder away")
    await retry(connections, failed)
    assert (await get(connections, day.id)).state == "running"
    assert (await get(connections, failed.id)).state == "waiting"


async def test_cancelling_a_day_before_its_child_began_ends_both(connections: Connections) -> None:
    day = await start(connections, "day")
    changed = await cancel(connections, day)
    assert {job.kind for job in changed} == {"ingest", "day"}
    assert await states(connections, day) == [("ingest", "cancelled")]
    assert (await get(connections, day.id)).state == "cancelled"


async def test_cancelling_a_day_asks_the_running_child_to_stop(connections: Connections) -> None:
    day = await start(connections, "day")
    child = await claim(connections, (await children(connections, day.id))[0].id)
    await cancel(connections, day)
    assert (await get(connections, child.id)).cancel_requested
    assert (await get(connections, day.id)).state == "running"
    await end(connections, child, "cancelled")
    assert (await get(connections, day.id)).state == "cancelled"
    assert len(await children(connections, day.id)) == 1


async def test_a_cancelled_day_starts_no_further_step_though_the_running_one_was_done_first(
    connections: Connections,
) -> None:
    day = await start(connections, "day")
    child = await claim(connections, (await children(connections, day.id))[0].id)
    await cancel(connections, day)
    await end(connections, child, "done")
    assert await states(connections, day) == [("ingest", "done")]
    assert (await get(connections, day.id)).state == "cancelled"
    await retry(connections, day)
    assert await states(connections, day) == [("ingest", "done"), ("forecast", "waiting")]
    assert (await get(connections, day.id)).state == "running"


async def test_a_cancel_that_comes_too_late_for_the_last_step_leaves_the_day_done(connections: Connections) -> None:
    day = await start(connections, "day")
    await step(connections, day)
    await step(connections, day)
    child = await claim(connections, (await children(connections, day.id))[-1].id)
    await cancel(connections, day)
    await end(connections, child, "done")
    assert (await get(connections, day.id)).state == "done"


async def test_cancelling_a_day_and_the_end_of_its_child_do_not_wait_for_each_other(connections: Connections) -> None:
    day = await start(connections, "day")
    child = await claim(connections, (await children(connections, day.id))[0].id)
    async with connections.sessions() as session:
        ended = await repository.finish(session, child.id, child.attempts, "done")
        cancelling = asyncio.create_task(cancel(connections, day))
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        deadline = asyncio.get_running_loop().time() + 10
        while not await scalar(connections, blocked):
            assert asyncio.get_running_loop().time() < deadline, "the two never met"
        await flow.advance_parent(session, ended)
        await session.commit()
    await asyncio.wait_for(cancelling, 10)
    assert await states(connections, day) == [("ingest", "done"), ("forecast", "cancelled")]
    assert (await get(connections, day.id)).state == "cancelled"


# -- cancel and retry of one -----------------------------------------------------------------------------------------


async def test_a_waiting_job_is_cancelled_at_once_and_never_claimed(connections: Connections) -> None:
    job = await start(connections, "plan")
    await cancel(connections, job)
    assert (await get(connections, job.id)).state == "cancelled"
    with pytest.raises(AssertionError):
        await claim(connections, job.id)


@pytest.mark.parametrize("state", ["done", "failed", "held", "cancelled"])
async def test_an_ended_job_cannot_be_cancelled(connections: Connections, state: str) -> None:
    job = await start(connections, "plan")
    await end(connections, await claim(connections, job.id), state)
    with pytest.raises(jobs.NotAllowed, match=f"the job is {state} and cannot be cancelled"):
        await cancel(connections, job)


@pytest.mark.parametrize("state", ["waiting", "running", "done"])
async def test_only_failed_and_cancelled_jobs_can_be_retried(connections: Connections, state: str) -> None:
    job = await start(connections, "plan")
    if state != "waiting":
        claimed = await claim(connections, job.id)
        if state == "done":
            await end(connections, claimed)
    with pytest.raises(jobs.NotAllowed, match=f"the job is {state}; only failed or cancelled jobs can be retried"):
        await retry(connections, job)


@pytest.mark.parametrize("state", ["failed", "held", "cancelled"])
async def test_a_retried_job_waits_in_the_queue_with_new_attempts_and_no_old_error(
    connections: Connections, state: str
) -> None:
    job = await start(connections, "plan", max_attempts=1)
    await end(connections, await claim(connections, job.id), state, error="no forecast", traceback="at line 1")
    await retry(connections, job)
    again = await get(connections, job.id)
    assert (again.state, again.error, again.traceback, again.cancel_requested) == ("waiting", None, None, False)
    assert (again.failures, again.losses) == (0, 0)
    assert await waiting_ids(connections) == [str(job.id)]
    assert (await claim(connections, job.id)).attempts == 2


async def test_a_run_from_before_a_retry_does_not_pass_for_the_new_one(connections: Connections) -> None:
    job = await start(connections, "plan", max_attempts=2)
    old = await claim(connections, job.id)
    await end(connections, await claim(connections, job.id), "failed", error="the worker was lost")
    await retry(connections, job)
    new = await claim(connections, job.id)

    async def store_nothing(session: AsyncSession) -> None: ...

    with pytest.raises(Superseded):
        await (await run_of(connections, old)).finish({"from": "the dead"}, "", store_nothing)
    await (await run_of(connections, new)).finish({"from": "the living"}, "", store_nothing)
    assert (await get(connections, job.id)).result == {"from": "the living"}


async def test_what_is_unknown_can_neither_be_cancelled_nor_retried(connections: Connections) -> None:
    from uuid_utils.compat import uuid7

    async with connections.sessions.begin() as session:
        with pytest.raises(jobs.NotAllowed, match="unknown"):
            await jobs.cancel(session, uuid7())
        with pytest.raises(jobs.NotAllowed, match="unknown"):
            await jobs.retry(session, uuid7())
