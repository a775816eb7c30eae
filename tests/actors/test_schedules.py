"""Schedules: due in their own time zone, across clock changes, each time once; missed times by their policy."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_work import PlannedWork
from queue_world import dispatching, owners_of, scalar, until, until_ended
from sqlalchemy import text

from actors import jobs, schedules
from actors.cron import BadCron, next_runs
from actors.owner import Connections
from actors.schedules import due
from db.models import Schedule, Source


def at(text_: str) -> datetime:
    return datetime.fromisoformat(text_).replace(tzinfo=UTC)


def test_six_in_the_morning_is_six_in_the_plants_own_time_summer_and_winter() -> None:
    assert next_runs("0 6 * * *", "Europe/Berlin", at("2026-07-01 12:00")) == [at("2026-07-02 04:00")]
    assert next_runs("0 6 * * *", "Europe/Berlin", at("2026-12-01 12:00")) == [at("2026-12-02 05:00")]


def test_a_time_that_the_clock_change_leaves_out_runs_after_the_gap_and_one_that_comes_twice_runs_once() -> None:
    # 29 March 2026, 02:00 -> 03:00; 25 October 2026, 03:00 -> 02:00.
    assert next_runs("30 2 * * *", "Europe/Berlin", at("2026-03-28 12:00"), 2) == [
        at("2026-03-29 01:00"),
        at("2026-03-30 00:30"),
    ]
    assert next_runs("30 2 * * *", "Europe/Berlin", at("2026-10-24 12:00"), 2) == [
        at("2026-10-25 00:30"),
        at("2026-10-26 01:30"),
    ]


@pytest.mark.parametrize("cron", ["", "every day", "61 * * * *", "* * * *", "0 0 31 2 *"])
def test_what_is_no_cron_expression_is_refused_with_the_reason(cron: str) -> None:
    with pytest.raises(BadCron, match="cron: "):
        next_runs(cron, "UTC", at("2026-11-24 00:00"))


NIGHT = at("2026-11-20 06:00")


@pytest.mark.parametrize(
    ("policy", "now", "runs", "skipped"),
    [
        ("skip", "2026-11-20 06:00:30", 1, 0),
        ("skip", "2026-11-23 09:00", 0, 4),
        ("run_once", "2026-11-20 06:00:30", 1, 0),
        ("run_once", "2026-11-23 09:00", 1, 0),
        ("run_all", "2026-11-23 09:00", 4, 0),
        ("skip", "2026-11-23 06:00:10", 1, 3),
        ("run_all", "2026-11-19 09:00", 0, 0),
    ],
)
def test_missed_times_are_made_up_for_by_the_policy(policy: str, now: str, runs: int, skipped: int) -> None:
    decision = due("0 6 * * *", "UTC", policy, NIGHT, at(now))
    assert (decision.runs, decision.skipped) == (runs, skipped)
    assert decision.next_run_at > at(now)


@given(late=st.integers(0, 10**7), policy=st.sampled_from(["skip", "run_once", "run_all"]))
def test_however_long_nothing_ran_the_runs_are_bounded_and_the_next_time_lies_ahead(late: int, policy: str) -> None:
    now = NIGHT + timedelta(seconds=late)
    decision = due("*/5 * * * *", "UTC", policy, NIGHT, now)
    assert 0 <= decision.runs <= schedules.MOST_MISSED_RUNS
    assert now < decision.next_run_at <= now + timedelta(minutes=5)


async def put(connections: Connections, **values: object) -> Schedule:
    schedule = Schedule(**{"name": "morning", "kind": "plan", "cron": "0 6 * * *", "next_run_at": NIGHT, **values})
    async with connections.sessions.begin() as session:
        session.add(schedule)
    return schedule


async def test_a_due_schedule_starts_its_job_once_however_many_dispatchers_look(connections: Connections) -> None:
    schedule = await put(connections, priority=3)
    started = await asyncio.gather(*(schedules.start_due(connections) for _ in range(5)))
    assert sum(started) == 1
    async with connections.sessions() as session:
        job = (await session.execute(text("SELECT kind, priority, requested_by, schedule_id FROM job"))).one()
        stored = await session.get(Schedule, schedule.id)
    assert tuple(job) == ("plan", 3, "schedule morning", schedule.id)
    assert stored is not None
    assert stored.next_run_at is not None
    assert stored.next_run_at > datetime.now(UTC)
    assert stored.last_run_at is not None


async def test_a_schedule_that_cannot_run_says_why_and_stops_no_other(connections: Connections) -> None:
    broken = await put(connections, name="broken", kind="dance")
    await put(connections)
    assert await schedules.start_due(connections) == 1
    async with connections.sessions() as session:
        stored = await session.get(Schedule, broken.id)
    assert stored is not None
    assert stored.next_run_at is None
    assert "expected one of" in (stored.last_error or "")


async def test_a_switched_off_schedule_rests(connections: Connections) -> None:
    await put(connections, enabled=False)
    assert await schedules.start_due(connections) == 0


async def test_the_dispatcher_runs_what_is_due(connections: Connections) -> None:
    await put(connections)
    async with dispatching(connections, owners_of(connections, PlannedWork())):

        async def started() -> object:
            return await scalar(connections, "SELECT id FROM job")

        job_id = await until(started, "the schedule's job")
        assert (await until_ended(connections, job_id)).state == "done"


# -- schedules of sources --------------------------------------------------------------------------------------------


async def source(connections: Connections, **values: object) -> None:
    """A source that schedules may read."""
    async with connections.sessions.begin() as session:
        session.add(Source(**{"code": "erp", "name": "ERP", "connector": "folder", **values}))


async def stored(connections: Connections, schedule: Schedule) -> Schedule:
    async with connections.sessions() as session:
        found = await session.get(Schedule, schedule.id)
    assert found is not None
    return found


@pytest.mark.parametrize("is_deleted", [True, False])
async def test_a_schedule_of_a_source_that_is_not_there_rests_and_says_so(
    connections: Connections, is_deleted: bool
) -> None:
    if is_deleted:
        await source(connections, deleted_at=NIGHT)
    made = await put(connections, kind="ingest", parameters={"source": "erp"})
    assert await schedules.start_due(connections) == 0
    resting = await stored(connections, made)
    assert resting.next_run_at is None
    assert resting.last_error == "parameters.source: there is no source 'erp' to read; there are: none"


async def test_a_schedule_of_a_source_switched_off_passes_its_times_over_and_goes_on_later(
    connections: Connections,
) -> None:
    await source(connections, active=False)
    made = await put(connections, kind="ingest", parameters={"source": "erp"})
    assert await schedules.start_due(connections) == 0
    passed = await stored(connections, made)
    assert "this time was skipped: parameters.source: the source erp is switched off" in (passed.last_error or "")
    assert passed.next_run_at is not None
    async with connections.sessions.begin() as session:
        await session.execute(text("UPDATE source SET active = true"))
        await session.execute(text("UPDATE schedule SET next_run_at = now()"))
    assert await schedules.start_due(connections) == 1
    assert (await stored(connections, made)).last_error is None


async def test_a_schedule_and_somebody_by_hand_at_the_same_moment_start_one_reading(connections: Connections) -> None:
    await source(connections)
    await put(connections, kind="ingest", parameters={"source": "erp"})

    async def by_hand() -> None:
        async with connections.sessions.begin() as session:
            await jobs.start(session, "ingest", {"source": "erp"}, requested_by="anna")

    await asyncio.gather(schedules.start_due(connections), by_hand(), by_hand())
    assert await scalar(connections, "SELECT count(*) FROM job") == 1
    work = PlannedWork()
    async with dispatching(connections, owners_of(connections, work)):
        await until_ended(connections, await scalar(connections, "SELECT id FROM job"))
    assert work.calls == [1]
