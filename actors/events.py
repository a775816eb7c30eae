"""The one event type, and its way through a bounded Redis stream that can be replayed by id.

Events tell of changes; the `job` row is the truth. They are published after commit, and losing Redis delays events and
never loses a job: the newest event of each job waits in the process until Redis answers again.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from actors import metrics
from actors.backlog import Backlog
from actors.data_changes import DataChange
from actors.ending import end
from db.models.job import Job

STREAM = "fmrp:events"
VERSION = 1
JOB_TOPIC = "jobs"
DATA_TOPIC = "data"
EVERY_TOPIC = ""
# Redis keeps both halves of an id in 64 bits.
MAX_ID_PART = 2**64 - 1
# Work never waits longer than this for an event to be taken; a Redis that hangs is as good as gone.
PUBLISH_PATIENCE_S = 2.0
FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 2.0
CHUNK = 200
_STREAM_ID = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")

log = structlog.get_logger(__name__)


class JobData(msgspec.Struct, frozen=True, kw_only=True):
    """A job's state. `rate`: share done a second; `eta_s`: seconds left.

    Of one that reads a source: the `source`'s code, and `rows_per_s`.

    `changed_at` orders the states of one job. Progress has none: it belongs to its `attempt` while that runs.
    """

    job_id: str
    parent_id: str | None = None
    kind: str = ""
    state: str = ""
    progress: float = 0.0
    step: str = ""
    message: str = ""
    rate: float | None = None
    eta_s: float | None = None
    source: str | None = None
    rows_per_s: float | None = None
    error: str | None = None
    attempt: int | None = None
    changed_at: datetime | None = None


class JobRow(JobData, frozen=True, kw_only=True):
    """A job as a snapshot tells of it, with what events leave out."""

    max_attempts: int = 0
    requested_by: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class SubscribedData(msgspec.Struct, frozen=True):
    """What the client listens to from now on; empty for everything."""

    topics: list[str]


class SnapshotData(msgspec.Struct, frozen=True):
    """Unfinished jobs and the newest ended ones; what is not among them is older or gone."""

    jobs: list[JobRow]


class GapData(msgspec.Struct, frozen=True):
    """Events after this id are gone; a snapshot follows."""

    after: str


class DrainingData(msgspec.Struct, frozen=True):
    """Why the server asks its clients to connect anew."""

    reason: str = ""


class Nothing(msgspec.Struct, frozen=True):
    """No data."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all events share. `id` is the Redis stream id, `seq` counts within the topic; the stream gives both."""

    topic: str = EVERY_TOPIC
    at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    version: int = VERSION
    id: str = ""
    seq: int = 0

    @property
    def type(self) -> str:
        """The tag."""
        return str(self.__struct_config__.tag)


class JobChanged(Envelope, frozen=True, kw_only=True, tag="job.changed"):
    """A job's state has changed."""

    data: JobData
    topic: str = JOB_TOPIC


class JobProgressed(Envelope, frozen=True, kw_only=True, tag="job.progressed"):
    """A running job has come further; newer progress makes older worthless."""

    data: JobData
    topic: str = JOB_TOPIC


class DataChanged(Envelope, frozen=True, kw_only=True, tag="data.changed"):
    """Rows were changed. A hint: it may be lost or told twice, and no snapshot makes up for it."""

    data: DataChange
    topic: str = DATA_TOPIC

    def after(self, older: DataChanged) -> DataChanged:
        """Both events of one resource as one, in this one's place."""
        return msgspec.structs.replace(self, data=self.data.after(older.data))


class Subscribed(Envelope, frozen=True, kw_only=True, tag="subscribed"):
    """The answer to a client that has changed its topics; what it asked for anew comes after `id`."""

    data: SubscribedData


class Snapshot(Envelope, frozen=True, kw_only=True, tag="snapshot"):
    """Where everything stands; whoever has it needs only what comes after `id`."""

    data: SnapshotData
    topic: str = JOB_TOPIC


class Gap(Envelope, frozen=True, kw_only=True, tag="gap"):
    """Events were lost on the way to this client."""

    data: GapData


class Ping(Envelope, frozen=True, kw_only=True, tag="ping"):
    """Nothing has happened for a while, and the path is alive."""

    data: Nothing = Nothing()


class Draining(Envelope, frozen=True, kw_only=True, tag="draining"):
    """The API is about to be replaced: sockets will be closed and should reconnect."""

    data: DrainingData = DrainingData()


JobEvent = JobChanged | JobProgressed
Event = JobChanged | JobProgressed | DataChanged | Subscribed | Snapshot | Gap | Ping | Draining
_JOB_EVENTS: dict[str, type[JobChanged] | type[JobProgressed]] = {
    "job.changed": JobChanged,
    "job.progressed": JobProgressed,
}
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def job_event(job: Job, *, rate: float | None = None, eta_s: float | None = None) -> JobEvent:
    """A job's state has changed."""
    return progress_event(
        "job.changed",
        job.id,
        job.parent_id,
        job.kind,
        state=job.state,
        progress=job.progress,
        step=job.step,
        message=job.message,
        rate=rate,
        eta_s=eta_s,
        source=job.source,
        rows_per_s=job.rows_per_s,
        error=job.error,
        attempt=job.attempts,
        changed_at=job.changed_at,
    )


def progress_event(type_: str, job_id: uuid.UUID, parent_id: uuid.UUID | None, kind: str, **state: Any) -> JobEvent:
    """Either of the job events; `state` holds the other fields of `JobData`."""
    data = JobData(job_id=str(job_id), parent_id=str(parent_id) if parent_id else None, kind=kind, **state)
    return _JOB_EVENTS[type_](data=data)


class Entry(NamedTuple):
    """One entry of the stream; `event` is None where this version cannot read it."""

    id: str
    event: Event | None


class EventStream:
    """Publishes to and reads from the stream. One Redis client, closed by its owner."""

    # Sequence and entry are written together, so no reader sees a gap that is none.
    _APPEND = """
    local id
    for i = 2, #ARGV, 2 do
      local seq = redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
      id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'seq', seq, 'event', ARGV[i + 1])
    end
    return id
    """

    def __init__(self, redis: Redis, max_length: int) -> None:
        # The client's stubs give every answer a union of types; ours are always bytes (decode_responses is off).
        self._redis: Any = redis
        self._max_length = max_length
        self._append = redis.register_script(self._APPEND)
        self._backlog: Backlog[Event] = Backlog(_newest)
        # One append at a time: on two connections a job's last progress could overtake its end.
        self._turn = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None

    async def publish(self, event: Event) -> str | None:
        """Append the event and return its id; None while Redis is away, when it is sent later unless a newer one of
        its job replaces it."""
        return await self.publish_all([event])

    async def publish_all(self, events: Iterable[Event]) -> str | None:
        """Append events in one round trip and return the last one's id; None while Redis is away (see `publish`)."""
        events = list(events)
        if not events:
            return None
        async with self._turn:
            if not self._backlog:
                try:
                    return await self._send(events)
                except (RedisError, OSError) as error:
                    metrics.events_published(0, failed=len(events))
                    log.warning("event not published", type=events[0].type, count=len(events), reason=str(error))
        # Behind what waits already, so that they arrive in order.
        for event in events:
            self._backlog.put(_waits_as(event), event)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return None

    async def close(self) -> None:
        """Try once more to send what waits, and end the task that does so. The Redis client stays open."""
        if self._flushing is not None:
            await end(self._flushing)
        if self._backlog:
            try:
                await self._flush_chunk()
            except (RedisError, OSError):
                log.warning("events left unpublished", count=len(self._backlog))

    async def _flush(self) -> None:
        delay_s = FIRST_RETRY_S
        while self._backlog:
            await asyncio.sleep(delay_s)
            try:
                await self._flush_chunk()
                delay_s = 0.0
            except (RedisError, OSError):
                delay_s = min(max(delay_s, FIRST_RETRY_S) * 2, LONGEST_RETRY_S)
        log.info("events published again", dropped=self._backlog.dropped)

    async def _flush_chunk(self) -> None:
        chunk = self._backlog.oldest(CHUNK)
        async with self._turn:
            await self._send([event for _, event in chunk])
        self._backlog.remove(chunk)

    async def _send(self, events: Sequence[Event]) -> str:
        arguments: list[Any] = [self._max_length]
        for event in events:
            arguments += (event.topic, _encoder.encode(event))
        # A TimeoutError is an OSError.
        async with asyncio.timeout(PUBLISH_PATIENCE_S):
            last = await self._append(keys=[STREAM, f"{STREAM}:seq"], args=arguments)
        metrics.events_published(len(events))
        return str(last.decode())

    async def newest_id(self) -> str:
        """Id of the last entry; '0-0' on an empty stream."""
        entries = await self._redis.xrevrange(STREAM, count=1)
        return str(entries[0][0].decode()) if entries else "0-0"

    async def is_gone(self, after: str) -> bool:
        """Whether entries behind this id were trimmed away or lost with the whole stream.

        Raises:
            ValueError: `after` is no stream id.
        """
        wanted = id_key(after)
        if wanted == (0, 0):
            return False
        first = await self._redis.xrange(STREAM, count=1)
        return not first or wanted < id_key(first[0][0].decode()) or wanted > id_key(await self.newest_id())

    async def read(self, after: str, count: int, upto: str = "+") -> list[Entry]:
        """The next entries in (after, upto], at most `count`."""
        entries = await self._redis.xrange(STREAM, min=f"({after}", max=upto, count=count)
        return [Entry(entry_id.decode(), decode(entry_id, fields)) for entry_id, fields in entries]

    async def replay(self, after: str, upto: str) -> tuple[list[Event], bool]:
        """Return the events in (after, upto], and whether older ones are gone (a gap).

        Raises:
            ValueError: `after` is no stream id.
        """
        is_gap = await self.is_gone(after)
        events: list[Event] = []
        while entries := await self.read(after, CHUNK, upto):
            events += [entry.event for entry in entries if entry.event is not None]
            after = entries[-1].id
        return events, is_gap

    async def follow_entries(self, after: str, block_ms: int = 5000) -> AsyncIterator[list[Entry]]:
        """Yield entries after an id for ever, as many at a time as are there; Redis errors reach the caller, who
        reconnects from the last id seen."""
        while True:
            batches = await self._redis.xread({STREAM: after}, count=500, block=block_ms)
            for _stream, entries in batches or []:
                found = [Entry(entry_id.decode(), decode(entry_id, fields)) for entry_id, fields in entries]
                after = found[-1].id
                yield found

    async def follow(self, after: str, block_ms: int = 5000) -> AsyncIterator[Event]:
        """Yield events after an id for ever, without those this version cannot read; errors as `follow_entries`."""
        async for entries in self.follow_entries(after, block_ms):
            for entry in entries:
                if entry.event is not None:
                    yield entry.event


def _waits_as(event: Event) -> str:
    """Every event of a job tells its whole state, so while it waits the newest one is enough."""
    if isinstance(event, DataChanged):
        return f"{event.type}:{event.data.resource}"
    return event.data.job_id if isinstance(event, (JobChanged, JobProgressed)) else event.type


def _newest(older: Event, newer: Event) -> Event:
    """What is left to tell of two events that wait in the same place."""
    if isinstance(older, DataChanged) and isinstance(newer, DataChanged):
        return newer.after(older)
    return newer


def decode(entry_id: bytes, fields: dict[bytes, bytes]) -> Event | None:
    """Rebuild an event from its stream entry; None when a newer version wrote it, or it is no event at all."""
    try:
        event = _decoder.decode(fields[b"event"])
        seq = int(fields[b"seq"])
    except (msgspec.MsgspecError, LookupError, ValueError):
        return None
    return None if event.version > VERSION else msgspec.structs.replace(event, id=entry_id.decode(), seq=seq)


def encode(event: Event) -> str:
    """The event as JSON text."""
    return _encoder.encode(event).decode()


def id_key(stream_id: str) -> tuple[int, int]:
    """Stream ids in their order. Raises ValueError for a text that is none."""
    parts = _STREAM_ID.fullmatch(stream_id)
    key = (int(parts[1]), int(parts[2] or 0)) if parts else (MAX_ID_PART + 1, 0)
    if max(key) > MAX_ID_PART:
        raise ValueError(f"expected an event id like 1700000000000-0, not {stream_id[:40]!r}")
    return key
