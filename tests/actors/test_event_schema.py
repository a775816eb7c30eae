"""What events look like on the wire, which clients written elsewhere rely on."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest

from actors.data_changes import DataChange
from actors.events import (
    VERSION,
    DataChanged,
    Draining,
    DrainingData,
    Event,
    Gap,
    GapData,
    JobChanged,
    JobData,
    JobProgressed,
    JobRow,
    Ping,
    Snapshot,
    SnapshotData,
    Subscribed,
    SubscribedData,
    decode,
    encode,
    progress_event,
)

AT = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
ENVELOPE = {"type", "topic", "data", "at", "version", "id", "seq"}
JOB = {
    "job_id", "parent_id", "kind", "state", "progress", "step", "message", "rate", "eta_s", "source", "rows_per_s",
    "error", "attempt", "changed_at",
}  # fmt: skip
ROW = JOB | {"max_attempts", "requested_by", "created_at", "started_at", "finished_at"}
CHANGE = {"resource", "keys", "count", "complete", "actor"}
DATA = JobData(
    job_id="j",
    state="running",
    progress=0.25,
    rate=0.01,
    eta_s=75.0,
    source="erp",
    rows_per_s=1.5,
    attempt=2,
    changed_at=AT,
)
EXAMPLES: list[tuple[Any, str, str, set[str]]] = [
    (JobChanged(data=DATA, at=AT), "job.changed", "jobs", JOB),
    (JobProgressed(data=DATA, at=AT), "job.progressed", "jobs", JOB),
    (Snapshot(data=SnapshotData([JobRow(job_id="j")]), at=AT), "snapshot", "jobs", {"jobs"}),
    (DataChanged(data=DataChange.of("items", ["A-100"], "maria@example.com"), at=AT), "data.changed", "data", CHANGE),
    (Subscribed(data=SubscribedData(["data:items", "jobs"]), at=AT), "subscribed", "", {"topics"}),
    (Gap(data=GapData("5-0"), at=AT), "gap", "", {"after"}),
    (Ping(at=AT), "ping", "", set()),
    (Draining(data=DrainingData("a new version"), at=AT), "draining", "", {"reason"}),
]


@pytest.mark.parametrize(("event", "type_", "topic", "fields"), EXAMPLES, ids=[each[1] for each in EXAMPLES])
def test_every_event_has_the_same_envelope_and_its_own_data(
    event: Any, type_: str, topic: str, fields: set[str]
) -> None:
    frame = json.loads(encode(event))
    assert frame.keys() == ENVELOPE
    assert (frame["type"], frame["topic"], frame["version"]) == (type_, topic, VERSION)
    assert event.type == type_
    assert frame["at"] == "2026-11-24T06:00:00Z"
    assert frame["data"].keys() == fields
    for row in frame["data"].get("jobs", []):
        assert row.keys() == ROW
    fields_of = {b"event": encode(event).encode(), b"seq": b"7"}
    assert decode(b"3-1", fields_of) == msgspec.structs.replace(event, id="3-1", seq=7)


def test_no_other_events_exist() -> None:
    assert {type(each[0]) for each in EXAMPLES} == set(get_args(Event))


def test_progress_tells_step_share_rate_and_time_left() -> None:
    job = uuid.uuid4()
    event = progress_event("job.progressed", job, None, "plan", progress=0.5, step="netting", rate=0.1, eta_s=5.0)
    assert event.type == "job.progressed"
    assert event.data == JobData(job_id=str(job), kind="plan", progress=0.5, step="netting", rate=0.1, eta_s=5.0)
    with pytest.raises(KeyError):
        progress_event("job.vanished", job, None, "plan")


def test_fields_that_a_later_release_adds_are_no_hindrance() -> None:
    text = b'{"type":"ping","topic":"","at":"2026-11-24T06:00:00Z","version":1,"data":{"new":1},"more":[]}'
    assert decode(b"1-0", {b"event": text, b"seq": b"1"}) == Ping(at=AT, id="1-0", seq=1)
