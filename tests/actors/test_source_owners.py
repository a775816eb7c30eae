"""Each source's jobs go to an owner of their own: what takes one down, or holds it up, does not touch the others."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from planned_work import HeldWork, PlannedWork, effects
from queue_world import dispatching, get, start, until, until_ended, until_state

from actors import jobs
from actors.attempts import OwnerFamily, OwnerPort
from actors.kinds import KINDS, Kind
from actors.owner import Connections, Outcome, Owner, Work
from actors.run import Attempt
from settings import Settings


@pytest.mark.parametrize(
    ("parameters", "owner"),
    [
        ({"source": "inbox"}, "source:inbox"),
        ({"mapping": "items", "source_file_id": "x"}, "source:upload"),
        # What is no code names no actor; the job fails at the uploads' owner.
        ({"source": "a b\n"}, "source:upload"),
        ({"source": "x" * 61}, "source:upload"),
        ({"source": 7}, "source:upload"),
    ],
)
def test_a_job_belongs_to_its_sources_owner(parameters: dict[str, object], owner: str) -> None:
    assert KINDS["ingest"].owner_of(parameters) == owner
    assert KINDS["plan"].owner_of(parameters) == "planning"


class Places:
    """Owners by name, made when first asked for; `works` says what some of them do."""

    def __init__(self, connections: Connections, **works: Work) -> None:
        self._connections = connections
        self._works = works
        self.asked: dict[str, list[str]] = defaultdict(list)
        self.family = OwnerFamily(self.make)

    def make(self, name: str) -> OwnerPort:
        work = self._works.get(name.partition(":")[2], PlannedWork())
        self.asked[name].append("made")
        return Noting(Owner(work, self._connections), self.asked[name])


class Noting:
    """An owner that notes when it is replaced."""

    def __init__(self, owner: Owner, asked: list[str]) -> None:
        self._owner, self._asked = owner, asked

    async def run(self, attempt: Attempt) -> Outcome:
        return await self._owner.run(attempt)

    async def cancel(self, job_id: str, number: int) -> None:
        await self._owner.cancel(job_id, number)

    async def ping(self) -> object:
        return await self._owner.ping()

    async def replace(self) -> None:
        self._asked.append("replaced")
        await self._owner.replace()


class Dying:
    """An owner whose process dies over every attempt."""

    async def run(self, attempt: Attempt) -> Outcome:
        raise RuntimeError("actor died")

    async def cancel(self, job_id: str, number: int) -> None: ...

    async def ping(self) -> object: ...

    async def replace(self) -> None: ...


async def test_each_source_has_its_owner_and_they_run_side_by_side(connections: Connections) -> None:
    held = HeldWork()
    places = Places(connections, a=held)
    async with dispatching(connections, {"source": places.family}):
        one = await start(connections, "ingest", {"source": "a"})
        await asyncio.wait_for(held.begun.wait(), 10)
        other = await start(connections, "ingest", {"source": "b"})
        upload = await start(connections, "ingest", {"mapping": "items"})
        for job in (other, upload):
            assert (await until_ended(connections, job.id)).state == "done"
        assert (await get(connections, one.id)).state == "running"
        held.may_end.set()
        assert (await until_ended(connections, one.id)).state == "done"
    assert set(places.asked) == {"source:a", "source:b", "source:upload"}
    assert await effects(connections) == 3


async def test_a_source_that_takes_its_process_down_stops_no_other(settings: Settings) -> None:
    connections = Connections(settings.model_copy(update={"job_max_losses": 3}), "test")
    held = HeldWork()
    places = Places(connections, b=held)
    dying = Dying()
    family = OwnerFamily(lambda name: dying if name == "source:a" else places.make(name))
    async with dispatching(connections, {"source": family}):
        guilty = await start(connections, "ingest", {"source": "a"})
        running = await start(connections, "ingest", {"source": "b"})
        # A job that has lost two workers waits until it is alone at its owner; here it always is.
        ended = await until_ended(connections, guilty.id)
        assert (ended.state, ended.losses) == ("held", 3)
        assert "the source:a worker was lost" in (ended.error or "")
        assert (await get(connections, running.id)).state == "running"
        held.may_end.set()
        ended = await until_ended(connections, running.id)
    assert (ended.state, ended.attempts, ended.losses) == ("done", 1, 0)
    await connections.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ingestion that does not listen loses its process soon."""
    kind = KINDS["ingest"]
    quick = Kind("ingest", owner=kind.owner, by_source=True, concurrency=4, cancel_grace_s=0.2)
    monkeypatch.setitem(KINDS, "ingest", quick)


class Deaf(HeldWork):
    """Work that hears no cancellation."""

    async def perform(self, run: object) -> None:
        self.begun.set()
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                continue


@pytest.mark.usefixtures("short")
async def test_only_the_process_of_the_source_that_does_not_stop_is_replaced(connections: Connections) -> None:
    deaf, held = Deaf(), HeldWork()
    places = Places(connections, a=deaf, b=held)
    async with dispatching(connections, {"source": places.family}):
        stuck = await start(connections, "ingest", {"source": "a"})
        fine = await start(connections, "ingest", {"source": "b"})
        for job in (stuck, fine):
            await until_state(connections, job.id, "running")
        await asyncio.wait_for(deaf.begun.wait(), 10)
        async with connections.sessions.begin() as session:
            await jobs.cancel(session, stuck.id)
        assert (await until_ended(connections, stuck.id)).state == "cancelled"
        held.may_end.set()
        assert (await until_ended(connections, fine.id)).state == "done"

        async def noted() -> bool:
            return places.asked["source:a"] == ["made", "replaced"]

        await until(noted, "the replacement")
        deaf.may_end.set()
    assert places.asked["source:b"] == ["made"]
