"""What one socket has yet to be sent: bounded, and cut to the newest state when its client is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from actors.events import (
    EVERY_TOPIC,
    JOB_TOPIC,
    DataChanged,
    Event,
    JobChanged,
    JobData,
    JobProgressed,
    JobRow,
    Snapshot,
    SnapshotData,
    encode,
    id_key,
)
from serve.event_topics import EVERYTHING, Topics, channels_of

QUEUE_LENGTH = 256
# Cut to this or told anew: a queue cut to just below its limit would be cut again at the next event.
LENGTH_AFTER_CUT = QUEUE_LENGTH // 2


class Item(NamedTuple):
    """An event encoded once, for all clients. `key` says which unsent one it replaces, `channels` whom it concerns."""

    number: tuple[int, int]
    key: str
    topic: str
    text: str
    type: str = ""
    channels: tuple[str, ...] = (EVERY_TOPIC,)
    job: JobData | None = None
    is_progress: bool = False
    change: DataChanged | None = None


def item_of(event: Event) -> Item:
    """Encode an event."""
    job = event.data if isinstance(event, (JobChanged, JobProgressed)) else None
    change = event if isinstance(event, DataChanged) else None
    is_progress = isinstance(event, JobProgressed)
    return Item(
        id_key(event.id or "0"),
        _key_of(event),
        event.topic,
        encode(event),
        event.type,
        channels_of(event),
        job,
        is_progress,
        change,
    )


def _key_of(event: Event) -> str:
    if isinstance(event, JobProgressed):
        return f"progress:{event.data.job_id}"
    if isinstance(event, DataChanged):
        return f"data:{event.data.resource}"
    return event.id or event.type


def put(unsent: dict[str, Item], item: Item) -> None:
    """Queue an item behind the others, in place of the one it makes old; changed rows of both are told."""
    older = unsent.pop(item.key, None)
    if older is not None and older.change is not None and item.change is not None:
        item = item_of(item.change.after(older.change))
    unsent[item.key] = item


class Known(NamedTuple):
    """How a snapshot told of a job."""

    changed_at: datetime | None
    attempt: int | None
    state: str

    def supersedes(self, job: JobData) -> bool:
        """Whether an event that tells so of the job is older than the snapshot."""
        if job.changed_at is not None:
            return self.changed_at is not None and job.changed_at < self.changed_at
        if job.attempt is None or self.attempt is None:
            return False
        return job.attempt < self.attempt or (job.attempt == self.attempt and self.state != "running")


class Told(NamedTuple):
    """A snapshot: its event, and what it tells of each job. `rows`: the same, for who wants only some of them."""

    item: Item
    jobs: Mapping[str, Known]
    rows: Sequence[JobRow] = ()

    @classmethod
    def of(cls, rows: Sequence[JobRow], upto: str) -> Told:
        """Encode a snapshot that was read after this stream id."""
        item = item_of(Snapshot(data=SnapshotData(list(rows)), id=upto))._replace(key="snapshot")
        return cls(item, {row.job_id: Known(row.changed_at, row.attempt, row.state) for row in rows}, rows)

    def narrowed(self, topics: Topics) -> Told:
        """What of it concerns a client."""
        if topics.have_all_jobs:
            return self
        major, minor = self.item.number
        return Told.of([row for row in self.rows if topics.want_job(row)], f"{major}-{minor}")


class Subscription:
    """One client's queue, oldest first. `pace_s`: time between two sends while there is always something to send."""

    def __init__(self, topics: Topics = EVERYTHING, pace_s: float = 0.2) -> None:
        self.topics = topics
        self.pace_s = pace_s
        self.needs_snapshot = False
        self.has_gap = False
        self.is_leaving = asyncio.Event()
        self.last_taken = (0, 0)
        self._unsent: dict[str, Item] = {}
        self._answer: Item | None = None
        self._seen = (0, 0)
        self._told_upto = (0, 0)
        self._told: dict[str, Known] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._unsent)

    @property
    def wants_jobs(self) -> bool:
        """Whether a snapshot of the jobs concerns this client."""
        return self.topics.have_jobs

    def change_topics(self, topics: Topics, answer: Item) -> None:
        """Listen to these from now on, which `answer` tells the client; jobs new to it begin with a snapshot."""
        self.needs_snapshot = topics.have_jobs and (self.needs_snapshot or topics.have_more_jobs_than(self.topics))
        self.topics = topics
        for key in [key for key, item in self._unsent.items() if not topics.want(item.channels)]:
            del self._unsent[key]
        self._answer = answer
        self._news.set()

    def offer(self, item: Item) -> None:
        """Queue an event for this client, unless it has it already; it replaces unsent progress of the same job."""
        if not self.topics.want(item.channels):
            return
        if item.number <= self._seen or (item.number <= self._told_upto and item.topic == JOB_TOPIC):
            return
        if item.job is not None and (known := self._told.get(item.job.job_id)):
            if known.supersedes(item.job):
                return
            if not item.is_progress:
                del self._told[item.job.job_id]  # the snapshot's word on this job no longer counts
        put(self._unsent, item)
        if len(self._unsent) > QUEUE_LENGTH:
            self._cut()
        self._news.set()

    def _cut(self) -> None:
        newest: dict[str, Item] = {}
        for item in self._unsent.values():
            key = f"job:{item.job.job_id}" if item.job is not None else item.key
            newest.pop(key, None)
            newest[key] = item
        self._unsent = newest
        if len(newest) > LENGTH_AFTER_CUT:
            self.lose()

    def lose(self) -> None:
        """Drop what is unsent: the client will be told of a gap, and where everything stands."""
        self._unsent.clear()
        self._seen = (0, 0)  # a server that lost everything may count from below
        self.has_gap = True
        self.needs_snapshot = self.wants_jobs
        self._news.set()

    def ask_for_snapshot(self) -> None:
        """Begin with a snapshot."""
        self.needs_snapshot = self.wants_jobs
        self._news.set()

    def skip_to(self, number: tuple[int, int]) -> None:
        """The client has what is up to this id."""
        self._seen = self.last_taken = number
        for key in [key for key, item in self._unsent.items() if item.number <= number]:
            del self._unsent[key]

    def restart(self, told: Told, later: Iterable[Item]) -> None:
        """Go on from a snapshot with what came after it; older events of jobs are dropped, now and when they come."""
        others = [item for item in self._unsent.values() if item.topic != JOB_TOPIC]
        self._told_upto, self._told = told.item.number, dict(told.jobs)
        self._unsent = {told.item.key: told.item}
        self.needs_snapshot = False
        for item in others:
            self.offer(item)
        for item in later:
            if item.topic == JOB_TOPIC or item.number > self.last_taken:
                self.offer(item)

    async def wait(self) -> None:
        """Return once there is something to send."""
        while not (self._unsent or self._answer or self.needs_snapshot or self.has_gap):
            self._news.clear()
            await self._news.wait()

    def take(self) -> list[Item]:
        """All that is unsent, oldest first, behind the answer to a change of topics."""
        items = list(self._unsent.values())
        self._unsent.clear()
        if items:
            self.last_taken = max(self.last_taken, items[-1].number)
        answer, self._answer = self._answer, None
        return [answer, *items] if answer is not None else items
