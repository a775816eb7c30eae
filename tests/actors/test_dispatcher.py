"""The dispatcher runs each job to one end, whatever fails on the way: its owner, a dispatcher, Redis, a connection."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest
from planned_work import HeldWork, PlannedWork, effects
from pydantic import SecretStr
from queue_world import (
    children,
    dispatching,
    get,
    owners_of,
    scalar,
    start,
    until,
    until_ended,
    until_state,
)
from sqlalchemy import text

from actors import jobs
from actors.attempts import OwnerPort
from actors.metrics import REGISTRY
from actors.owner import Connections, Outcome
from actors.run import Attempt, JobRun
from cluster.local.redis import EmbeddedRedis
from settings import Settings

DISPATCHER_PROCESS = Path(__file__).resolve().parent / "dispatcher_process.py"


async def test_a_job_is_done_once(connections: Connections) -> None:
    work = PlannedWork()
    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "plan")
        ended = await until_ended(connections, job.id)
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


async def test_a_passing_failure_is_tried_again_after_a_while_and_counted(connections: Connections) -> None:
    work = PlannedWork(ConnectionError("database away"))
    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "plan")
        ended = await until_ended(connections, job.id)
    assert (ended.state, ended.attempts, ended.failures, ended.losses, ended.error) == ("done", 2, 1, 0, None)
    assert work.calls == [1, 2]
    assert await effects(connections) == 1
    told = [e.data for e in (await connections.events.replay("0-0", "+"))[0] if e.data.state == "waiting"]
    assert told[0].message == "will retry: database away"
    logged = "SELECT message FROM job_log WHERE job_id = :id AND level = 'error'"
    assert "ConnectionError: database away" in await scalar(connections, logged, id=job.id)


async def test_passing_failures_end_when_the_attempts_are_used_up(connections: Connections) -> None:
    work = PlannedWork(*[ConnectionError("away")] * 9)
    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "plan", max_attempts=2)
        ended = await until_ended(connections, job.id)
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


class Dies:
    """An owner whose process dies over every attempt; another takes its place at once."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def run(self, attempt: Attempt) -> Outcome:
        self.calls.append(attempt.number)
        raise RuntimeError("actor died")

    async def cancel(self, job_id: str, number: int) -> None: ...

    async def ping(self) -> object: ...

    async def replace(self) -> None: ...


async def test_a_poison_job_is_held_after_so_many_workers_with_the_reason(settings: Settings) -> None:
    connections = Connections(settings.model_copy(update={"job_max_losses": 2}), "test")
    owner = Dies()
    async with dispatching(connections, {"planning": owner}):
        job = await start(connections, "plan", max_attempts=1)
        ended = await until_ended(connections, job.id)
    assert (ended.state, ended.attempts, ended.losses, ended.failures) == ("held", 2, 2, 0)
    assert (ended.error or "").startswith("it took its worker down 2 times: the planning worker was lost: RuntimeError")
    assert owner.calls == [1, 2]
    await connections.close()


async def test_a_held_step_holds_its_day_and_one_click_lets_both_go_on(settings: Settings) -> None:
    connections = Connections(settings.model_copy(update={"job_max_losses": 1}), "test")
    owner: dict[str, OwnerPort] = {"source": Dies()}
    async with dispatching(connections, owner):
        day = await start(connections, "day")
        ended = await until_ended(connections, day.id)
    assert (ended.state, ended.step) == ("held", "ingest")
    async with connections.sessions.begin() as session:
        await jobs.retry(session, day.id)
    async with dispatching(connections, owners_of(connections, PlannedWork())):
        assert (await until_ended(connections, day.id)).state == "done"
    await connections.close()


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
    assert (ended.state, ended.attempts, ended.losses) == ("done", 2, 1)
    assert work.calls == [2]
    assert await effects(connections) == 1
    assert took < 10


async def test_a_dispatcher_whose_connection_is_cut_goes_on_serving(connections: Connections) -> None:
    work = PlannedWork()
    async with dispatching(connections, owners_of(connections, work)):
        await until_ended(connections, (await start(connections, "plan")).id)
        cut = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name LIKE 'fmrp-%' AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert await scalar(connections, cut) > 1
        job = await start(connections, "plan")
        assert (await until_ended(connections, job.id)).state == "done"
    assert await effects(connections) == 2


async def test_two_dispatchers_share_the_queue_and_do_each_job_once(connections: Connections) -> None:
    work = PlannedWork()
    owners = owners_of(connections, work)
    async with dispatching(connections, owners, "one"), dispatching(connections, owners, "two"):
        started = [await start(connections, "ingest", {"source": f"s{n}"}) for n in range(12)]
        for job in started:
            assert (await until_ended(connections, job.id)).state == "done"
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
        wanted = [{"source": source, "n": n} for n, source in enumerate(("a", "a", "b"))]
        started = [await start(connections, "ingest", each) for each in wanted]
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
    assert await scalar(connections, "SELECT count(*) FROM worker") == 0


async def test_without_redis_jobs_end_done_and_the_lost_events_are_counted(settings: Settings) -> None:
    deaf = Connections(settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")}), "deaf")
    try:
        failed = REGISTRY.get_sample_value("fmrp_event_publish_failures_total") or 0
        async with dispatching(deaf, owners_of(deaf, PlannedWork())):
            job = await start(deaf, "plan")
            assert (await until_ended(deaf, job.id)).state == "done"
        assert await effects(deaf) == 1
        assert (REGISTRY.get_sample_value("fmrp_event_publish_failures_total") or 0) > failed
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


async def test_a_claim_whose_answer_was_lost_is_found_in_the_books_and_given_back(connections: Connections) -> None:
    async with dispatching(connections, {**owners_of(connections, PlannedWork())}):

        async def serving() -> bool:
            return bool(await scalar(connections, "SELECT count(*) FROM worker"))

        await until(serving, "the dispatcher's entry")
        job = await start(connections, "plan", delay_s=3600)
        # As if the claim had been committed and the connection had broken before the answer.
        async with connections.sessions.begin() as session:
            await session.execute(
                text("UPDATE job SET state = 'running', attempts = 1, worker = (SELECT id FROM worker) WHERE id = :id"),
                {"id": job.id},
            )
        ended = await until_ended(connections, job.id)
    assert (ended.state, ended.attempts, ended.losses) == ("done", 2, 1)


async def test_an_idempotency_key_belongs_to_one_kind_of_job(connections: Connections) -> None:
    await start(connections, "plan", idempotency_key="k")
    with pytest.raises(jobs.NotAllowed, match="plan"):
        await start(connections, "forecast", idempotency_key="k")
