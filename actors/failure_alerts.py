"""Alerts about work that went wrong: dead letters, refused files, rejected rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from db.models import IngestRun
from db.models.job import DEAD_STATES, Job
from db.repositories import alerts
from db.repositories.alerts import Finding

JOB_FAILED, REFUSED_FILES, REJECTED_ROWS = "job_failed", "refused_files", "rejected_rows"


async def job_ended(session: AsyncSession, job: Job | None) -> None:
    """A job that is dead waits for a person: say so, once for all jobs of its kind and source."""
    if job is None or job.state not in DEAD_STATES:
        return
    reason = (job.error or job.state).partition("\n")[0]
    source = job.parameters.get("source")
    finding = Finding("critical", f"{job.kind} job {job.state}: {reason}", source if isinstance(source, str) else None)
    await alerts.settle_one(session, JOB_FAILED, _subject(job.kind, job.parameters), finding)


async def job_succeeded(session: AsyncSession, kind: str, parameters: Mapping[str, Any]) -> None:
    """The same work went well: whatever was wrong with it is over."""
    await alerts.settle_one(session, JOB_FAILED, _subject(kind, parameters), None)


def _subject(kind: str, parameters: Mapping[str, Any]) -> str:
    source = parameters.get("source")
    return f"{kind} {source}" if isinstance(source, str) else kind


def rejected_rows(record: IngestRun, limit: float) -> Finding | None:
    """What is wrong when more than `limit` of a file's rows were rejected."""
    share = record.rejected / record.read if record.read else 0.0
    if share <= limit:
        return None
    severity = "critical" if share > 0.5 else "warning"
    text = f"{record.file}: {record.rejected:,} of {record.read:,} rows rejected ({share:.0%})"
    return Finding(severity, text, record.source)


def refused_files(source: str, totals: Mapping[str, int]) -> Finding | None:
    """What is wrong when files of a source were refused as a whole."""
    if not totals["failed_files"]:
        return None
    return Finding("critical", f"{source}: {totals['failed_files']} files refused: see the runs of this source", source)
