"""Alerts about work that went wrong: dead letters, refused files, rejected rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

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
