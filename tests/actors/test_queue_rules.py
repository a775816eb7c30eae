"""What may run when: priority, due time, limits, keys, pauses; and how what runs is brought to an end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from planned_work import HeldWork, PlannedWork, effects
from queue_world import children, dispatching, get, owners_of, scalar, start, until, until_ended, until_state

from actors import jobs
from actors.kinds import KINDS, Kind, Stage
from actors.owner import Connections, Outcome, Owner
from actors.run import Attempt, JobRun
from db.repositories import queue
from settings import Settings


class Gate(PlannedWork):
    """Work that tells how many run at once and ends when let go."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.running = self.most = 0
        self.order: list[object] = []

    async def perform(self, run: JobRun) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.order.append(run.parameters.get("n"))
        await self.open.wait()
        self.running -= 1
        await run.finish({}, "")


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Kind:
    """A kind without key or joining, two at once, that gives up soon."""
    made = Kind("sample", "planning", coalesce=False, keyed=False, concurrency=2, timeout_s=60, cancel_grace_s=0.3)
    monkeypatch.setitem(KINDS, "sample", made)
    return made


async def running(connections: Connections) -> int:
    return int(await scalar(connections, "SELECT count(*) FROM job WHERE state = 'running' AND worker IS NOT NULL"))


async def until_running(connections: Connections, count: int) -> None:
    async def reached() -> bool:
        return await running(connections) == count

    await until(reached, f"{count} running jobs")


async def set_kind(connections: Connections, **values: object) -> None:
    async with connections.sessions.begin() as session:
        await jobs.set_kind(session, "sample", changed_by="anna", **values)  # type: ignore[arg-type]


async def test_a_kinds_limit_holds_across_dispatchers_and_the_rest_waits(connections: Connections, kind: Kind) -> None:
    work = Gate()
    owners = owners_of(connections, work)
    async with dispatching(connections, owners, "one"), dispatching(connections, owners, "two"):
        made = [await start(connections, "sample", {"n": n}) for n in range(6)]
        other = await start(connections, "forecast")
        await until_running(connections, 3)
        await until_state(connections, other.id, "running")  # a full kind does not stand in another's way
        work.open.set()
        for job in made:
            assert (await until_ended(connections, job.id)).attempts == 1
    assert work.most == 3


async def test_an_operators_limit_replaces_the_kinds_own(connections: Connections, kind: Kind) -> None:
    work = Gate()
    await set_kind(connections, concurrency=1)
    async with dispatching(connections, owners_of(connections, work)):
        made = [await start(connections, "sample") for _ in range(4)]
        await until_running(connections, 1)
        await set_kind(connections, concurrency=None)
        await until_running(connections, 2)
        work.open.set()
        for job in made:
            await until_ended(connections, job.id)
    assert work.most == 2


async def test_the_urgent_goes_first_and_equals_in_the_order_they_came(connections: Connections, kind: Kind) -> None:
    work = Gate()
    work.open.set()
    await set_kind(connections, concurrency=1)
    for n, priority in enumerate((0, 5, 0, 9, 5)):
        await start(connections, "sample", {"n": n}, priority=priority)
    async with dispatching(connections, owners_of(connections, work)):

        async def all_done() -> bool:
            return int(await scalar(connections, "SELECT count(*) FROM job WHERE state = 'done'")) == 5

        await until(all_done, "all ends")
    assert work.order == [3, 1, 4, 0, 2]


async def test_a_delayed_job_waits_for_its_time_and_others_pass_it(connections: Connections, kind: Kind) -> None:
    async with dispatching(connections, owners_of(connections, PlannedWork())):
        later = await start(connections, "sample", delay_s=1.0)
        far = await start(connections, "sample", run_at=datetime.now(UTC) + timedelta(days=1))
        now = await start(connections, "sample")
        assert (await until_ended(connections, now.id)).state == "done"
        assert (await get(connections, later.id)).state == "waiting"
        ended = await until_ended(connections, later.id)
    assert ended.started_at is not None
    assert ended.started_at - ended.created_at >= timedelta(seconds=1)
    assert (await get(connections, far.id)).state == "waiting"


async def test_a_paused_kind_starts_nothing_and_goes_on_where_it_was(connections: Connections, kind: Kind) -> None:
    work = Gate()
    async with dispatching(connections, owners_of(connections, work)):
        first = await start(connections, "sample")
        await until_running(connections, 1)
        await set_kind(connections, paused=True)
        second, other = await start(connections, "sample"), await start(connections, "plan")
        work.open.set()
        assert (await until_ended(connections, first.id)).state == "done"  # what runs goes on
        assert (await until_ended(connections, other.id)).state == "done"
        assert (await get(connections, second.id)).state == "waiting"
        await set_kind(connections, paused=False)
        assert (await until_ended(connections, second.id)).state == "done"


async def test_an_attempt_that_takes_too_long_is_ended_tried_again_and_then_a_dead_letter(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Kind("sample", "planning", coalesce=False, keyed=False, timeout_s=0.2, cancel_grace_s=5)
    monkeypatch.setitem(KINDS, "sample", slow)
    work = HeldWork()
    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "sample", max_attempts=2)
        ended = await until_ended(connections, job.id)
    assert (ended.state, ended.failures) == ("failed", 2)
    assert ended.error == "it took longer than the 0.2 s a sample job may"


async def test_a_job_that_ignores_cancellation_loses_its_process_and_ends_cancelled(
    connections: Connections, kind: Kind
) -> None:
    release, begun = threading.Event(), threading.Event()

    class Stubborn(PlannedWork):
        async def perform(self, run: JobRun) -> None:
            def deaf() -> None:
                begun.set()
                release.wait(30)

            await run.in_thread(deaf)
            await super().perform(run)

    class Replaceable(Owner):
        replaced = 0

        async def replace(self) -> None:
            self.replaced += 1
            await super().replace()

    owner = Replaceable(Stubborn(), connections)
    try:
        async with dispatching(connections, {"planning": owner}):
            job = await start(connections, "sample")
            await asyncio.to_thread(begun.wait, 10)
            async with connections.sessions.begin() as session:
                await jobs.cancel(session, job.id)
            ended = await until_ended(connections, job.id)
    finally:
        release.set()
    assert (ended.state, owner.replaced) == ("cancelled", 1)
    assert await effects(connections) == 0


async def test_an_owner_that_no_longer_answers_is_replaced_and_its_job_done_again(connections: Connections) -> None:
    tight = Connections(connections.settings.model_copy(update={"owner_patience_s": 1.0}), "test")

    class Silent(Owner):
        is_silent = True

        async def ping(self) -> Mapping[str, str]:
            if self.is_silent:
                await asyncio.Event().wait()
            return self.in_hand

        async def replace(self) -> None:
            self.is_silent = False
            work.may_end.set()
            await super().replace()

    work = HeldWork()
    async with dispatching(tight, {"planning": Silent(work, tight)}):
        ended = await until_ended(tight, (await start(tight, "plan")).id)
    assert (ended.state, ended.losses) == ("done", 1)
    await tight.close()


async def test_what_does_not_end_within_the_drain_is_handed_to_the_next_dispatcher(connections: Connections) -> None:
    tight = Connections(connections.settings.model_copy(update={"drain_patience_s": 0.1}), "test")
    work = HeldWork()
    async with dispatching(tight, owners_of(tight, work)) as dispatcher:
        job = await start(tight, "plan")
        await asyncio.wait_for(work.begun.wait(), 10)
        await dispatcher.stop()
    waiting = await get(tight, job.id)
    assert (waiting.state, waiting.losses, waiting.failures) == ("waiting", 0, 0)
    work.may_end.set()
    async with dispatching(tight, owners_of(tight, work)):
        assert (await until_ended(tight, job.id)).state == "done"
    assert await effects(tight) == 1
    await tight.close()


async def test_a_dispatcher_asked_to_drain_in_the_database_ends_and_begins_nothing(connections: Connections) -> None:
    async with dispatching(connections, owners_of(connections, PlannedWork())) as dispatcher:

        async def serving() -> bool:
            return dispatcher.state == "serving"

        await until(serving, "a serving dispatcher")
        async with connections.sessions.begin() as session:
            assert await queue.drain(session, name="dispatcher") == 1
        job = await start(connections, "plan")

        async def stopped() -> bool:
            return dispatcher.state == "stopped"

        await until(stopped, "its end")
    assert (await get(connections, job.id)).state == "waiting"


async def test_one_taken_for_dead_lets_go_and_serves_again(connections: Connections) -> None:
    work = HeldWork()
    async with dispatching(connections, owners_of(connections, work)):
        job = await start(connections, "plan")
        await asyncio.wait_for(work.begun.wait(), 10)
        async with connections.sessions.begin() as session:
            worker = (await queue.workers(session))[0]
            await queue.bury(session, {worker.id: worker.beat})
        work.may_end.set()
        ended = await until_ended(connections, job.id)
    assert ended.state == "done"
    assert await effects(connections) == 1


async def test_a_stage_fans_out_and_the_next_begins_when_all_have_ended(
    connections: Connections, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        KINDS, "flow", Kind("flow", None, stages=(Stage("sample"), Stage("ingest", each_source=True), Stage("sample")))
    )
    async with connections.sessions.begin() as session:
        from db.models import Source

        session.add_all(Source(code=code, name=code, connector="folder") for code in ("a", "b", "c"))
    async with dispatching(connections, owners_of(connections, PlannedWork())):
        flow = await start(connections, "flow")
        ended = await until_ended(connections, flow.id)
    made = await children(connections, flow.id)
    assert [job.stage for job in made] == [0, 1, 1, 1, 2]
    assert sorted(job.parameters.get("source", "") for job in made) == ["", "", "a", "b", "c"]
    assert ended.state == "done"
    assert set(ended.result or {}) == {"sample", "ingest:a", "ingest:b", "ingest:c"}


async def test_a_day_goes_on_without_a_source_that_fails_and_says_so(connections: Connections) -> None:
    from db.models import Source

    async with connections.sessions.begin() as session:
        session.add(Source(code="erp", name="ERP", connector="folder"))

    class OneFails(PlannedWork):
        async def perform(self, run: JobRun) -> None:
            if run.parameters.get("source") == "erp":
                raise ValueError("host unknown")
            await super().perform(run)

    async with dispatching(connections, owners_of(connections, OneFails())):
        day = await until_ended(connections, (await start(connections, "day")).id)
    assert (day.state, day.message) == ("done", "without ingest:erp")


async def test_all_dead_letters_of_a_kind_are_retried_at_once(connections: Connections, kind: Kind) -> None:
    made = [await start(connections, "sample") for _ in range(3)]
    async with dispatching(connections, owners_of(connections, PlannedWork(*[ValueError("wrong")] * 3))):
        for job in made:
            assert (await until_ended(connections, job.id)).state == "failed"
        async with connections.sessions.begin() as session:
            assert len(await jobs.retry_dead(session, kind="plan")) == 0
            assert len(await jobs.retry_dead(session, kind="sample")) == 3
        for job in made:
            assert (await until_ended(connections, job.id)).state == "done"


async def test_a_result_the_database_refuses_fails_its_job_and_no_other(connections: Connections, kind: Kind) -> None:
    class NulResult(PlannedWork):
        async def perform(self, run: JobRun) -> None:
            await run.finish({"text": "a\x00b" if run.parameters["n"] == 1 else "fine"}, "")

    made = [await start(connections, "sample", {"n": n}) for n in range(3)]
    async with dispatching(connections, owners_of(connections, NulResult())):
        ended = [await until_ended(connections, job.id) for job in made]
    assert [job.state for job in ended] == ["done", "failed", "done"]
    assert "its result cannot be stored" in (ended[1].error or "")


async def test_many_jobs_are_started_in_one_statement(connections: Connections, kind: Kind) -> None:
    async with connections.sessions.begin() as session:
        ids = await jobs.start_many(session, "sample", [{"n": n} for n in range(1000)], requested_by="anna")
        with pytest.raises(jobs.UnknownKind, match="cannot be started in bulk"):
            await jobs.start_many(session, "plan", [{}], requested_by="anna")
    assert len(set(ids)) == 1000
    assert await scalar(connections, "SELECT count(*) FROM job WHERE state = 'waiting'") == 1000


async def test_one_that_was_cut_off_gives_way_to_its_successor(connections: Connections) -> None:
    work = PlannedWork()
    async with dispatching(connections, owners_of(connections, work), "one") as cut_off:

        async def serving() -> bool:
            return cut_off.state == "serving"

        await until(serving, "the first dispatcher")
        async with dispatching(connections, owners_of(connections, work), "one") as successor:

            async def gave_way() -> bool:
                return cut_off.state == "stopped"

            await until(gave_way, "the end of the one that was replaced")
            job = await start(connections, "plan")
            assert (await until_ended(connections, job.id)).attempts == 1
            assert successor.state == "serving"


async def test_a_job_that_keeps_losing_its_worker_runs_alone_so_that_only_it_is_held(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "sample", Kind("sample", "planning", coalesce=False, keyed=False))
    connections = Connections(settings.model_copy(update={"job_max_losses": 4}), "test")

    class OneProcess(Owner):
        """As an actor: the poison takes every attempt in hand down with it."""

        async def run(self, attempt: Attempt) -> Outcome:
            if attempt.parameters.get("poison"):
                await asyncio.sleep(0.05)
                await self.replace()
                raise ConnectionError("the process died")
            return await super().run(attempt)

    class Short(PlannedWork):
        async def perform(self, run: JobRun) -> None:
            await asyncio.sleep(0.1)
            await super().perform(run)

    async with dispatching(connections, {"planning": OneProcess(Short(), connections)}):
        poison = await start(connections, "sample", {"poison": True})
        beside = [await start(connections, "sample") for _ in range(12)]
        assert (await until_ended(connections, poison.id)).state == "held"
        for job in beside:
            ended = await until_ended(connections, job.id)
            assert (ended.state, ended.losses <= queue.SUSPECT) == ("done", True)
    assert await effects(connections) == 12
    await connections.close()
