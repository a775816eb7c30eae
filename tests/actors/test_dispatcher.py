"""The dispatcher runs each job to one end, whatever fails on the way: its owner, a dispatcher, Redis, a connection."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pgqueuer.executors import DatabaseRetryEntrypointExecutor
from pydantic import SecretStr
from queue_world import (
    children,
    claim,
    dispatching,
    get,
    queued_ids,
    scalar,
    start,
    until,
    until_ended,
    until_queue_is_empty,
    until_state,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from actors import jobs
from actors.dispatch import RunAttempt
from actors.owner import Connections, Outcome, Owner
from actors.run import JobRun
from cluster.local.redis import EmbeddedRedis
from db.models import Item
from settings import Settings

DISPATCHER_PROCESS = Path(__file__).resolve().parent / "dispatcher_process.py"


class PlannedWork:
    """Work that leaves one item behind for each job and fails as it is told, attempt by attempt."""

    name = "planning"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls: list[int] = []

    async def perform(self, run: JobRun) -> None:
        self.calls.append(run.attempt)
        if self.failures:
            raise self.failures.pop(0)

        async def store(session: AsyncSession) -> None:
            session.add(Item(code=str(run.job_id), name="effect", kind="component"))

        await run.finish({"attempt": run.attempt}, "planned", store)


class HeldWork(PlannedWork):
    """Work that begins and then waits to be let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def perform(self, run: JobRun) -> None:
        self.begun.set()
        await self.may_end.wait()
        await super().perform(run)


def owners_of(connections: Connections, work: Any) -> dict[str, RunAttempt]:
    """The same work for every kind of job."""
    owner = Owner(work, connections)
    return dict.fromkeys(("ingestion", "forecasting", "planning"), owner.run)


async def effects(connections: Connections) -> int:
    return int(await scalar(connections, "SELECT count(*) FROM item"))


async def test_a_job_is_done_once_and_its_delivery_acknowledged(connections: Connections) -> None:
    work = PlannedWork()
    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "plan")
        ended = await until_ended(connections, job.id)
        await until_queue_is_empty(connections)
    assert (ended.state, ended.attempts, ended.result) == ("done", 1, {"attempt": 1})
    assert work.calls == [1]
    assert await effects(connections) == 1


async def test_jobs_asked_for_before_the_dispatcher_came_are_done_too(connections: Connections) -> None:
    job = await start(connections, "plan")
    async with dispatching(connections, owners_of(connections, PlannedWork())):
        assert (await until_ended(connections, job.id)).state == "done"


async def test_a_whole_day_runs_through(connections: Connections) -> None:
    work = PlannedWork()
    async with dispatching(connections, owners_of(connections, work)):
        day = await start(connections, "day")
        assert (await until_ended(connections, day.id)).state == "done"
    assert [child.kind for child in await children(connections, day.id)] == ["ingest", "forecast", "plan"]
    assert await effects(connections) == 3
    changes = Counter(e.data.state for e in (await connections.events.replay("0-0", "+"))[0] if e.type == "job.changed")
    assert changes["done"] == 4


async def test_a_delivery_of_a_job_that_has_ended_runs_nothing(connections: Connections) -> None:
    work = PlannedWork()
    job = await start(connections, "plan")
    async with dispatching(connections, owners_of(connections, work)):
        await until_ended(connections, job.id)
        async with connections.sessions.begin() as session:
            await jobs.enqueue(session, job.id)
        await until_queue_is_empty(connections)
    assert len(work.calls) == 1
    assert await effects(connections) == 1


async def test_a_passing_failure_is_tried_again_after_a_while_and_counted(connections: Connections) -> None:
    work = PlannedWork(ConnectionError("database away"))
    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "plan")
        waiting = (
            await until_state(connections, job.id, "waiting") if not work.calls else await get(connections, job.id)
        )
        ended = await until_ended(connections, job.id)
    assert (ended.state, ended.attempts, ended.error) == ("done", 2, None)
    assert work.calls == [1, 2]
    assert await effects(connections) == 1
    told = [e.data for e in (await connections.events.replay("0-0", "+"))[0] if e.data.state == "waiting"]
    assert told[0].message == "will retry: database away"
    assert waiting is not None


async def test_passing_failures_end_when_the_attempts_are_used_up(connections: Connections) -> None:
    work = PlannedWork(*[ConnectionError("away")] * 9)
    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "plan", max_attempts=2)
        ended = await until_ended(connections, job.id)
        await until_queue_is_empty(connections)
    assert (ended.state, ended.attempts, ended.error) == ("failed", 2, "away")
    assert work.calls == [1, 2]


async def test_a_lasting_failure_fails_at_once_with_its_traceback_and_fails_the_day(connections: Connections) -> None:
    work = PlannedWork(ValueError("no such source"))
    async with dispatching(connections, owners_of(connections, work)):
        day = await start(connections, "day")
        assert (await until_ended(connections, day.id)).error == "ingest: no such source"
    child = (await children(connections, day.id))[0]
    assert (child.state, child.attempts, child.error) == ("failed", 1, "no such source")
    assert "in perform" in (child.traceback or "")
    assert work.calls == [1]


async def test_a_poison_job_that_takes_its_worker_down_each_time_ends_failed(connections: Connections) -> None:
    calls: list[int] = []

    async def dies(job_id: str, attempt: int) -> Outcome:
        calls.append(attempt)
        raise RuntimeError("actor died")

    async with dispatching(connections, {"planning": dies}):
        job = await start(connections, "plan", max_attempts=2)
        ended = await until_ended(connections, job.id)
        await until_queue_is_empty(connections)
    assert (ended.state, ended.attempts) == ("failed", 2)
    assert ended.error == "the planning worker was lost: RuntimeError"
    assert calls == [1, 2]


async def test_a_poison_job_that_takes_the_dispatcher_down_each_time_ends_failed(connections: Connections) -> None:
    day = await start(connections, "day")
    child = (await children(connections, day.id))[0]
    for _ in range(child.max_attempts):  # each of these dispatchers died between the claim and the end
        await claim(connections, child.id)
    work = PlannedWork()
    async with dispatching(connections, owners_of(connections, work)):
        ended = await until_ended(connections, day.id)
        await until_queue_is_empty(connections)
    assert ended.state == "failed"
    assert "died in every attempt" in (ended.error or "")
    assert work.calls == []


@pytest.mark.timeout(60)
async def test_a_killed_dispatchers_job_is_taken_over_within_seconds_and_done_once(
    connections: Connections, database_url: str, redis_url: str
) -> None:
    doomed = await asyncio.create_subprocess_exec(
        *(sys.executable, str(DISPATCHER_PROCESS), database_url, redis_url),
        env={"PYTHONPATH": str(DISPATCHER_PROCESS.parents[2]), "PATH": "/usr/bin:/bin"},
        cwd=connections.settings.data_dir.parent,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        job = await start(connections, "plan")
        await until_state(connections, job.id, "running")
    finally:
        doomed.kill()
        await doomed.wait()
    killed_at = asyncio.get_running_loop().time()
    work = PlannedWork()
    async with dispatching(connections, owners_of(connections, work)):
        ended = await until_ended(connections, job.id)
        took = asyncio.get_running_loop().time() - killed_at
        await until_queue_is_empty(connections)
    assert (ended.state, ended.attempts) == ("done", 2)
    assert work.calls == [2]
    assert await effects(connections) == 1
    assert took < 10


async def test_a_dispatcher_whose_connection_is_cut_goes_on_serving(connections: Connections) -> None:
    work = PlannedWork()
    async with dispatching(connections, owners_of(connections, work)):
        await until_ended(connections, (await start(connections, "plan")).id)
        cut = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'fmrp-dispatcher' AND datname = current_database()"
        )
        assert await scalar(connections, cut) == 1
        job = await start(connections, "plan")
        assert (await until_ended(connections, job.id)).state == "done"
    assert await effects(connections) == 2


async def test_two_dispatchers_share_the_queue_and_do_each_job_once(connections: Connections) -> None:
    work = PlannedWork()
    owners = owners_of(connections, work)
    async with dispatching(connections, owners), dispatching(connections, owners):
        started = [await start(connections, "ingest", {"source": f"s{n}"}) for n in range(12)]
        for job in started:
            assert (await until_ended(connections, job.id)).state == "done"
        await until_queue_is_empty(connections)
    assert work.calls == [1] * 12
    assert await effects(connections) == 12


async def test_equal_jobs_run_one_after_the_other_and_others_beside_them(connections: Connections) -> None:
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    both = asyncio.Event()

    class Watched(PlannedWork):
        async def perform(self, run: JobRun) -> None:
            key = run.parameters["source"]
            running[key] += 1
            most[key] = max(most[key], running[key])
            if running["a"] and running["b"]:
                both.set()
            await asyncio.wait_for(both.wait(), 10)  # until one of each runs at the same time
            running[key] -= 1
            await super().perform(run)

    async with dispatching(connections, owners_of(connections, Watched())):
        started = [await start(connections, "ingest", {"source": source}) for source in ("a", "a", "b")]
        for job in started:
            ended = await until_ended(connections, job.id)
            assert (ended.state, ended.attempts) == ("done", 1)
    assert most == {"a": 1, "b": 1}


async def test_a_cancelled_job_ends_cancelled_and_is_not_tried_again(connections: Connections) -> None:
    begun = asyncio.Event()

    class Patient(PlannedWork):
        async def perform(self, run: JobRun) -> None:
            self.calls.append(run.attempt)
            begun.set()
            deadline = asyncio.get_running_loop().time() + 10
            while asyncio.get_running_loop().time() < deadline:
                run.report(0.1, "planning")
                await asyncio.sleep(0.02)

    work = Patient()
    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "plan")
        await asyncio.wait_for(begun.wait(), 10)
        async with connections.sessions.begin() as session:
            await jobs.cancel(session, job.id)
        ended = await until_ended(connections, job.id)
        await until_queue_is_empty(connections)
    assert (ended.state, ended.error) == ("cancelled", None)
    assert work.calls == [1]


async def test_a_dispatcher_that_stops_lets_the_job_in_hand_end(connections: Connections) -> None:
    work = HeldWork()
    async with dispatching(connections, owners_of(connections, work)) as dispatcher:
        job = await start(connections, "plan")
        await asyncio.wait_for(work.begun.wait(), 10)
        await dispatcher.stop()
        work.may_end.set()
    assert (await get(connections, job.id)).state == "done"
    assert await queued_ids(connections) == []


async def test_every_entrypoint_holds_what_fails_and_tries_again(connections: Connections) -> None:
    async with dispatching(connections, {}) as dispatcher:

        async def served() -> Any:
            return dispatcher._queue and dispatcher._queue.qm.entrypoint_registry

        registry = await until(served, "a registered entrypoint")
        assert set(registry) == {jobs.ENTRYPOINT}
        for executor in registry.values():
            assert executor.parameters.on_failure == "hold"
            assert isinstance(executor, DatabaseRetryEntrypointExecutor)
            # A job that waits long for an equal one has been delivered thousands of times; neither may run out then.
            assert executor.max_attempts >= 10_000
            assert executor.initial_delay * executor.backoff_multiplier**executor.max_attempts <= executor.max_delay


async def test_without_redis_jobs_end_done_and_the_lost_events_are_logged(settings: Settings) -> None:
    deaf = Connections(settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")}), "deaf")
    try:
        with capture_logs() as logs:
            async with dispatching(deaf, owners_of(deaf, PlannedWork())):
                job = await start(deaf, "plan")
                assert (await until_ended(deaf, job.id)).state == "done"
        assert await effects(deaf) == 1
        assert {(line["event"], line["log_level"]) for line in logs if line["event"].startswith("event not")} == {
            ("event not published", "warning")
        }
    finally:
        await deaf.close()


async def test_redis_may_go_while_a_job_runs_and_events_come_again_with_it(settings: Settings, tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", "test", tmp_path)
    server.start()
    opened = Connections(settings.model_copy(update={"redis_url": SecretStr(server.url)}), "test")
    work = HeldWork()
    try:
        async with dispatching(opened, owners_of(opened, work)):
            job = await start(opened, "plan")
            await asyncio.wait_for(work.begun.wait(), 10)
            await asyncio.to_thread(server.stop)
            work.may_end.set()
            assert (await until_ended(opened, job.id)).state == "done"
            await asyncio.to_thread(server.restart)
            later = await start(opened, "plan")
            await until_ended(opened, later.id)

            async def heard() -> bool:
                events, _ = await opened.events.replay("0-0", "+")
                return any(e.data.job_id == str(later.id) and e.data.state == "done" for e in events)

            await until(heard, "events after Redis came back")
    finally:
        await opened.close()
        await asyncio.to_thread(server.stop)


async def test_a_job_whose_message_was_lost_is_given_a_new_one(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.dispatch.SWEEP_S", 0.2)
    job = await start(connections, "plan")
    fresh = await start(connections, "forecast")
    async with connections.sessions.begin() as session:
        await session.execute(text("DELETE FROM pgqueuer"))
        await session.execute(
            text("UPDATE job SET created_at = now() - interval '1 minute' WHERE id = :id"), {"id": job.id}
        )
    async with dispatching(connections, owners_of(connections, PlannedWork())):
        assert (await until_ended(connections, job.id)).state == "done"
    # Too young to be called lost: its message may be on its way.
    assert (await get(connections, fresh.id)).state == "waiting"


async def test_an_idempotency_key_belongs_to_one_kind_of_job(connections: Connections) -> None:
    await start(connections, "plan", idempotency_key="k")
    with pytest.raises(jobs.NotAllowed, match="plan"):
        await start(connections, "forecast", idempotency_key="k")
