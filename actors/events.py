"""The one event type, and its way through a bounded Redis stream that can be replayed by id.

Events tell of changes; the `job` row is the truth. They are published after commit, and losing Redis loses events for a
while and never a job.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from actors import metrics
from db.models.job import Job

STREAM = "fmrp:events"
VERSION = 1
JOB_TOPIC = "jobs"
# Redis keeps both halves of an id in 64 bits.
MAX_ID_PART = 2**64 - 1
_STREAM_ID = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")

log = structlog.get_logger(__name__)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What happened. `id` is the Redis stream id, `seq` counts within the topic; both are given by the stream."""

    type: str
    topic: str
    data: dict[str, Any]
    at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    version: int = VERSION
    id: str = ""
    seq: int = 0


def job_event(job: Job, *, rate: float | None = None, eta_s: float | None = None) -> Event:
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
        error=job.error,
    )


def progress_event(
    type_: str, job_id: uuid.UUID, parent_id: uuid.UUID | None, kind: str, **state: str | float | None
) -> Event:
    """Either of the job events, with the fields both share."""
    data = {"job_id": str(job_id), "parent_id": str(parent_id) if parent_id else None, "kind": kind, **state}
    return Event(type=type_, topic=JOB_TOPIC, data=data)


class EventStream:
    """Publishes to and reads from the stream. One Redis client, closed by its owner."""

    # Sequence and entry are written together, so no reader sees a gap that is none.
    _APPEND = """
    local seq = redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
    return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'seq', seq, 'event', ARGV[2])
    """

    def __init__(self, redis: Redis, max_length: int) -> None:
        # The client's stubs give every answer a union of types; ours are always bytes (decode_responses is off).
        self._redis: Any = redis
        self._max_length = max_length
        self._append = redis.register_script(self._APPEND)

    async def publish(self, event: Event) -> str | None:
        """Append the event and return its id; None, with a warning logged, while Redis is away."""
        try:
            entry = await self._append(
                keys=[STREAM, f"{STREAM}:seq"], args=[event.topic, msgspec.json.encode(event), self._max_length]
            )
        except (RedisError, OSError) as error:
            metrics.event_published(False)
            log.warning("event not published", type=event.type, topic=event.topic, reason=str(error))
            return None
        metrics.event_published(True)
        return str(entry.decode())

    async def publish_all(self, events: Iterable[Event]) -> None:
        """Append several events in order."""
        for event in events:
            await self.publish(event)

    async def newest_id(self) -> str:
        """Id of the last entry; '0-0' on an empty stream."""
        entries = await self._redis.xrevrange(STREAM, count=1)
        return str(entries[0][0].decode()) if entries else "0-0"

    async def replay(self, after: str, upto: str) -> tuple[list[Event], bool]:
        """Return the events in (after, upto], and whether older ones were already trimmed away (a gap).

        Raises:
            ValueError: `after` is no stream id.
        """
        wanted = id_key(after)
        first = await self._redis.xrange(STREAM, count=1)
        is_gap = bool(first) and (0, 0) < wanted < id_key(first[0][0].decode())
        entries = await self._redis.xrange(STREAM, min=f"({after}", max=upto)
        return [decode(entry_id, fields) for entry_id, fields in entries], is_gap

    async def follow(self, after: str, block_ms: int = 5000) -> AsyncIterator[Event]:
        """Yield events after an id for ever; Redis errors reach the caller, who reconnects from the last id seen."""
        while True:
            batches = await self._redis.xread({STREAM: after}, count=500, block=block_ms)
            for _stream, entries in batches or []:
                for entry_id, fields in entries:
                    yield decode(entry_id, fields)
                    after = entry_id


def decode(entry_id: bytes, fields: dict[bytes, bytes]) -> Event:
    """Rebuild an event from its stream entry."""
    event = msgspec.json.decode(fields[b"event"], type=Event)
    return msgspec.structs.replace(event, id=entry_id.decode(), seq=int(fields[b"seq"]))


def id_key(stream_id: str) -> tuple[int, int]:
    """Stream ids in their order. Raises ValueError for a text that is none."""
    parts = _STREAM_ID.fullmatch(stream_id)
    key = (int(parts[1]), int(parts[2] or 0)) if parts else (MAX_ID_PART + 1, 0)
    if max(key) > MAX_ID_PART:
        raise ValueError(f"expected an event id like 1700000000000-0, not {stream_id[:40]!r}")
    return key
