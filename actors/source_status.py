"""When sources are read next, by the schedules there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from actors.kinds import KINDS
from db.models import Schedule, Source
from db.repositories.sources import UPLOAD


def next_runs(sources: Sequence[Source], schedules: Iterable[Schedule]) -> dict[str, datetime]:
    """By source, the next time one of these schedules has it read; a source that is switched off has none."""
    found: dict[str, datetime] = {}
    for schedule in schedules:
        if not schedule.enabled or schedule.next_run_at is None:
            continue
        for source in sources:
            known = found.get(source.code)
            if (
                source.active
                and source.code != UPLOAD
                and _reads(schedule, source.code)
                and (known is None or schedule.next_run_at < known)
            ):
                found[source.code] = schedule.next_run_at
    return found


def _reads(schedule: Schedule, code: str) -> bool:
    """Whether the schedule's job, or a step of it, reads that source."""
    kind = KINDS.get(schedule.kind)
    if kind is None:
        return False
    if kind.name == "ingest":
        return schedule.parameters.get("source") == code
    return any(
        stage.kind == "ingest" and schedule.parameters.get("ingest", {}).get("source", code) == code
        for stage in kind.stages
        if stage.each_source or "source" in schedule.parameters.get("ingest", {})
    )
