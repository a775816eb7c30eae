"""A source that is away is tried again at the steps of its schedule, and is a dead letter after the last."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_work import PlannedWork
from queue_world import dispatching, get, owners_of, scalar, start, until, until_ended

from actors import jobs, schedules
from actors.owner import Connections
from actors.retry import LONGEST_WAIT_S, GiveUp, Retry, asked_wait_s, decide
from actors.retry_steps import Step, next_step
from db.models import Job, Schedule, Source
from fmrp_sdk import RetriableError

STEPS = ("06:30", "07:00", "07:30")
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")


def berlin(moment: str) -> datetime:
    return datetime.fromisoformat(f"2026-{moment}").replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


def step(used: int, due: str, now: str, until: str = "11-25T06:00") -> Step | None:
    return next_step(STEPS, used, "Europe/Berlin", since=berlin(due), now=berlin(now), until=berlin(until))


def test_each_failure_goes_on_to_the_next_time_and_none_follows_the_last() -> None:
    assert step(0, "11-24T06:00", "11-24T06:00:05") == Step(berlin("11-24T06:30"), 1)
    assert step(1, "11-24T06:30", "11-24T06:30:09") == Step(berlin("11-24T07:00"), 2)
    assert step(2, "11-24T07:00", "11-24T07:01") == Step(berlin("11-24T07:30"), 3)
    assert step(3, "11-24T07:30", "11-24T07:31") is None


def test_times_that_an_attempt_has_slept_through_are_used_up() -> None:
    assert step(0, "11-24T06:00", "11-24T07:10") == Step(berlin("11-24T07:30"), 3)
    assert step(0, "11-24T06:00", "11-24T07:40") is None


def test_a_run_by_hand_at_noon_has_no_steps_as_the_schedule_itself_comes_before_them() -> None:
    assert step(0, "11-24T12:00", "11-24T12:00:05") is None


def test_delays_count_from_the_failure_and_end_where_the_schedule_starts_anew() -> None:
    now = berlin("11-24T06:20")
    given_: dict[str, Any] = {"since": berlin("11-24T06:00"), "now": now}
    later = next_step(("30m", "2h"), 1, "UTC", until=berlin("11-25T06:00"), **given_)
    assert later == Step(now + timedelta(hours=2), 2)
    assert next_step(("30m",), 0, "UTC", until=now + timedelta(minutes=5), **given_) is None
    with pytest.raises(ValueError, match="expected a time like 06:30 or a delay like 30m, not 'soon'"):
        next_step(("soon",), 0, "UTC", until=berlin("11-25T06:00"), **given_)


def test_where_the_clocks_change_a_left_out_time_follows_the_gap_and_a_double_one_comes_once() -> None:
    # 29 March 2026, 02:00 -> 03:00; 25 October 2026, 03:00 -> 02:00.
    spring = next_step(
        ("02:30",), 0, "Europe/Berlin",
        since=berlin("03-29T01:00"), now=berlin("03-29T01:01"), until=berlin("03-30T01:00"),
    )  # fmt: skip
    assert spring == Step(datetime(2026, 3, 29, 1, 0, tzinfo=UTC), 1)
    autumn: dict[str, Any] = {"since": berlin("10-25T01:00"), "until": berlin("10-26T01:00")}
    first = next_step(("02:30", "02:30"), 0, "Europe/Berlin", now=berlin("10-25T01:01"), **autumn)
    assert first == Step(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), 1)
    autumn["since"] = first.at
    assert next_step(("02:30", "02:30"), 1, "Europe/Berlin", now=first.at + timedelta(minutes=1), **autumn) is None


@given(
    zone=st.sampled_from(ZONES),
    since=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
    lasted=st.timedeltas(timedelta(0), timedelta(hours=6)),
    hours=st.integers(1, 48),
    steps=st.lists(st.times().map(lambda at: f"{at:%H:%M}") | st.sampled_from(["1s", "45m", "9h"]), max_size=5),
)
def test_a_job_goes_through_its_steps_forward_in_time_and_ends(
    zone: str, since: datetime, lasted: timedelta, hours: int, steps: list[str]
) -> None:
    until_, used, due, seen = since + timedelta(hours=hours), 0, since, 0
    while found := next_step(steps, used, zone, since=due, now=due + lasted, until=until_):
        assert due + lasted < found.at < until_
        assert used < found.used <= len(steps)
        wanted = steps[found.used - 1]
        if ":" in wanted:
            local = found.at.astimezone(ZoneInfo(zone))
            is_wanted = local.time() == time.fromisoformat(wanted)
            # A time that the clocks leave out comes at the end of the gap.
            before = (found.at - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
            assert is_wanted or local.utcoffset() != before.utcoffset()
        due, used, seen = found.at, found.used, seen + 1
    assert seen <= len(steps)


# -- the decision ----------------------------------------------------------------------------------------------------


def test_a_source_that_is_away_goes_by_the_steps_at_once_and_is_given_up_after_the_last() -> None:
    assert decide(True, 1, 4, source_wait_s=0.0, step_in_s=1800.0) == Retry(1800.0, takes_step=True)
    assert decide(True, 9, 4, source_wait_s=0.0, step_in_s=60.0, used_steps=2) == Retry(60.0, takes_step=True)
    assert decide(True, 2, 4, source_wait_s=0.0, used_steps=3) == GiveUp()


def test_a_fault_of_our_own_is_tried_within_seconds_before_any_step_is_used() -> None:
    assert isinstance(quick := decide(True, 3, 4, step_in_s=1800.0), Retry)
    assert (quick.delay_s <= 4.0, quick.takes_step) == (True, False)
    assert decide(True, 4, 4, step_in_s=1800.0) == Retry(1800.0, takes_step=True)
    assert decide(True, 4, 4, used_steps=1) == GiveUp()


@given(asked=st.floats(allow_nan=True), failures=st.integers(1, 3))
def test_a_source_is_left_alone_for_as_long_as_it_asked(asked: float, failures: int) -> None:
    wait_s = asked_wait_s(RetriableError("quota", retry_after_s=asked))
    assert wait_s is not None
    assert 0 <= wait_s <= LONGEST_WAIT_S
    for step_in_s in (None, 600.0):
        decision = decide(True, failures, 4, source_wait_s=wait_s, step_in_s=step_in_s)
        assert isinstance(decision, Retry)
        assert decision.delay_s >= wait_s
        assert decision.delay_s >= (step_in_s or 0.0)


def test_only_a_source_asks_to_be_left_alone() -> None:
    assert asked_wait_s(ConnectionError("database away")) is None
    assert asked_wait_s(RetriableError("away")) == 0.0


# -- through the queue -----------------------------------------------------------------------------------------------


async def scheduled(connections: Connections, retry_steps: list[str] | None, kind: str = "ingest") -> Job:
    """Run a schedule's job of a source, as a person would, its next time being tomorrow."""
    async with connections.sessions.begin() as session:
        session.add(Source(code="inbox", name="inbox", connector="folder"))
        schedule = Schedule(
            name="morning",
            kind=kind,
            cron="0 6 * * *",
            parameters={"source": "inbox"} if kind == "ingest" else {},
            retry_steps=retry_steps,
            next_run_at=datetime.now(UTC) + timedelta(hours=20),
        )
        session.add(schedule)
        await session.flush()
        job, _ = await schedules.run_now(session, schedule, "anna", 4)
    return job


async def waits(connections: Connections, kind: str = "ingest") -> Job:
    """The job, once it waits for another attempt."""

    async def put_back() -> Any:
        query = "SELECT id FROM job WHERE kind = :kind AND state = 'waiting' AND failures > 0"
        return await scalar(connections, query, kind=kind)

    return await get(connections, await until(put_back, "another attempt"))


async def test_a_scheduled_reading_waits_for_its_steps_and_is_a_dead_letter_after_the_last(
    connections: Connections,
) -> None:
    work = PlannedWork(*[RetriableError("host is down")] * 3)
    async with dispatching(connections, owners_of(connections, work)):
        job = await scheduled(connections, ["1s", "1s"])
        ended = await until_ended(connections, job.id)
        assert (ended.state, ended.failures, ended.retry_step, ended.error) == ("failed", 3, 2, "host is down")
        told = [e.data.message for e in (await connections.events.replay("0-0", "+"))[0] if e.data.state == "waiting"]
        assert [each.partition("UTC ")[2] for each in told if "step" in each] == [
            "(step 1 of 2): host is down",
            "(step 2 of 2): host is down",
        ]
        assert await scalar(connections, "SELECT count(*) FROM alert WHERE kind = 'job_failed'") == 1
        async with connections.sessions.begin() as session:
            await jobs.retry(session, job.id)  # with all its steps again
        assert (await until_ended(connections, job.id)).state == "done"
    assert (await get(connections, job.id)).retry_step == 0


async def test_without_steps_of_its_own_a_schedules_reading_has_those_of_the_settings(connections: Connections) -> None:
    async with dispatching(connections, owners_of(connections, PlannedWork(RetriableError("host is down")))):
        job = await scheduled(connections, None)
        waiting = await waits(connections)
    assert waiting.id == job.id
    assert timedelta(minutes=29) < waiting.run_at - waiting.changed_at <= timedelta(minutes=30)


async def test_steps_of_a_day_are_those_of_its_readings(connections: Connections) -> None:
    async with dispatching(connections, owners_of(connections, PlannedWork(RetriableError("host is down")))):
        await scheduled(connections, None, kind="day")
        waiting = await waits(connections)
    assert (waiting.retry_step, waiting.message.partition("(")[2]) == (1, "step 1 of 3): host is down")


async def test_a_reading_by_hand_has_no_steps_and_waits_as_long_as_its_source_asks(connections: Connections) -> None:
    away = RetriableError("too many requests", retry_after_s=600)
    async with dispatching(connections, owners_of(connections, PlannedWork(away))):
        await start(connections, "ingest", {"source": "inbox"})
        waiting = await waits(connections)
    assert waiting.message == "will retry: too many requests"
    assert timedelta(seconds=599) < waiting.run_at - waiting.changed_at <= timedelta(seconds=600)
