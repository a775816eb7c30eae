"""Events are numbered, replayable from any id, bounded, and a gap is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from actors.events import STREAM, Event, EventStream, JobChanged, JobData, id_key, job_event
from actors.owner import Connections
from db.models import Job


def event(number: int, topic: str = "jobs") -> Event:
    return JobChanged(topic=topic, data=JobData(job_id=f"job-{number}", message=str(number)))


async def publish(connections: Connections, count: int) -> list[str]:
    ids = [await connections.events.publish(event(n)) for n in range(count)]
    assert all(ids)
    return [one for one in ids if one]


def numbers(events: list[Any]) -> list[int]:
    return [int(each.data.message) for each in events]


async def test_a_published_event_is_read_back_whole(connections: Connections) -> None:
    sent = event(1)
    made = await connections.events.publish(sent)
    (read,), is_gap = await connections.events.replay("0-0", "+")
    assert (read.type, read.topic, read.data, read.at, read.version) == ("job.changed", "jobs", sent.data, sent.at, 1)
    assert (read.id, read.seq, is_gap) == (made, 1, False)


async def test_replay_gives_what_came_after_an_id_up_to_another(connections: Connections) -> None:
    ids = await publish(connections, 6)
    assert numbers((await connections.events.replay(ids[1], "+"))[0]) == [2, 3, 4, 5]
    assert numbers((await connections.events.replay(ids[1], ids[3]))[0]) == [2, 3]
    assert await connections.events.replay(ids[5], "+") == ([], False)
    assert await connections.events.newest_id() == ids[5]


async def test_the_sequence_counts_up_in_each_topic_of_its_own(connections: Connections) -> None:
    for topic in ("jobs", "jobs", "plans", "jobs", "plans"):
        await connections.events.publish(event(0, topic))
    events, _ = await connections.events.replay("0-0", "+")
    assert [(e.topic, e.seq) for e in events] == [("jobs", 1), ("jobs", 2), ("plans", 1), ("jobs", 3), ("plans", 2)]
    ids = [id_key(e.id) for e in events]
    assert ids == sorted(set(ids))


async def test_an_id_whose_successors_were_trimmed_away_is_told_as_a_gap(connections: Connections) -> None:
    ids = await publish(connections, 10)
    await connections.redis.xtrim(STREAM, maxlen=4, approximate=False)
    events, is_gap = await connections.events.replay(ids[2], "+")
    assert numbers(events) == [6, 7, 8, 9]
    assert is_gap
    assert (await connections.events.replay(ids[6], "+"))[1] is False
    assert (await connections.events.replay("0-0", "+"))[1] is False  # who asks for everything there is misses nothing


async def test_the_stream_is_bounded(connections: Connections) -> None:
    stream = EventStream(connections.redis, max_length=100)
    for number in range(600):
        await stream.publish(event(number))
    kept = numbers((await stream.replay("0-0", "+"))[0])
    assert len(kept) < 400  # trimmed by whole nodes, so never to the exact length
    assert kept[-1] == 599


@pytest.mark.parametrize("unknown", ["", "yesterday", "5-x", "-1-0", " 5-0", "1_0-0", "٣-0", "5-0-0", f"{2**64}-0"])
async def test_what_is_no_id_is_refused_on_an_empty_stream_as_on_a_full_one(
    connections: Connections, unknown: str
) -> None:
    with pytest.raises(ValueError, match="expected an event id"):
        await connections.events.replay(unknown, "+")
    await publish(connections, 1)
    with pytest.raises(ValueError, match="expected an event id"):
        await connections.events.replay(unknown, "+")


def test_ids_are_ordered_by_number_and_not_by_letter() -> None:
    assert id_key("9-2") < id_key("10-1") < id_key("10-11") < id_key(f"{2**64 - 1}-0")
    assert id_key("7") == (7, 0)


async def test_following_gives_what_is_there_and_then_what_comes(connections: Connections) -> None:
    ids = await publish(connections, 3)
    heard: list[int] = []

    async def listen() -> None:
        nonlocal heard
        async for each in connections.events.follow(ids[0], block_ms=1000):
            heard += numbers([each])
            if heard[-1] == 2:
                await connections.events.publish(event(3))
            if heard[-1] == 3:
                return

    await asyncio.wait_for(listen(), 10)
    assert heard == [1, 2, 3]


async def test_a_jobs_event_tells_its_state(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        session.add(Job(kind="plan"))
        await session.flush()
        job = (await session.execute(select(Job))).scalar_one()
    made = job_event(job)
    assert made.data.changed_at == job.changed_at
    assert (made.type, made.topic) == ("job.changed", "jobs")
    assert made.data.job_id == str(job.id)
    assert (made.data.kind, made.data.state, made.data.error) == ("plan", "waiting", None)
