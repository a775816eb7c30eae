"""Alerts about work that went wrong: dead letters, refused files, rejected rows; and the mails about dead letters."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from actors import failure_mails
from actors.failure_mails import Failure, Mail, SourceFacts
from actors.kinds import KINDS
from db.models import IngestRun
from db.models.job import DEAD_STATES, Job, source_of
from db.repositories import alerts, jobs, mails, schedules, sources
from db.repositories.alerts import Finding
from settings import Settings

JOB_FAILED, REFUSED_FILES, REJECTED_ROWS = "job_failed", "refused_files", "rejected_rows"
# Kinds whose good end says so by `job_succeeded`.
MAILED = ("ingest", "forecast", "plan", "tidy")


async def job_ended(session: AsyncSession, job: Job | None, settings: Settings) -> None:
    """A job that is dead waits for a person: say so, once for all jobs of its kind and source, and by mail.

    The mail is written here, to be sent: it goes out if this transaction commits, and only then.
    """
    if job is None or job.state not in DEAD_STATES:
        return
    reason = (job.error or job.state).partition("\n")[0]
    source = job.source
    finding = Finding("critical", f"{job.kind} job {job.state}: {reason}", source)
    raised = await alerts.settle_one(session, JOB_FAILED, _subject(job.kind, job.parameters), finding)
    if raised is None or not settings.mail_recipients or not _is_mailed(job.kind, source):
        return
    mail = failure_mails.wrong(await _failure(session, job, settings), settings.people_url)
    await _put(session, raised, "wrong", mail, settings.mail_recipients, settings)


async def job_succeeded(session: AsyncSession, kind: str, parameters: Mapping[str, Any], settings: Settings) -> None:
    """The same work went well: whatever was wrong with it is over. Who was written so is written this too."""
    resolved = await alerts.settle_one(session, JOB_FAILED, _subject(kind, parameters), None)
    if resolved is None or not (told := await mails.told_of(session, resolved)):
        return
    source = await _facts(session, source_of(parameters))
    now = await jobs.clock(session)
    mail = failure_mails.well(kind, source, now, settings.time_zone, settings.people_url)
    await _put(session, resolved, "well", mail, told, settings)


async def _put(
    session: AsyncSession, alert_id: uuid.UUID, about: str, mail: Mail, recipients: Sequence[str], settings: Settings
) -> None:
    domain = settings.mail_from.partition("@")[2]
    await mails.put(session, alert_id, about, recipients, subject=mail.subject, body=mail.body, domain=domain)


async def _failure(session: AsyncSession, job: Job, settings: Settings) -> Failure:
    schedule = await schedules.of_job(session, job.id)
    return Failure(
        job_id=str(job.id),
        kind=job.kind,
        error=job.error or "",
        attempts=job.failures + job.losses,
        at=job.finished_at or job.changed_at,
        requested_by=job.requested_by,
        is_held=job.state == "held",
        source=await _facts(session, job.source),
        next_run_at=schedule.next_run_at if schedule is not None and schedule.enabled else None,
        time_zone=schedule.time_zone if schedule is not None else settings.time_zone,
    )


async def _facts(session: AsyncSession, code: str | None) -> SourceFacts | None:
    if code is None:
        return None
    source = await sources.find(session, code, deleted=None)
    return SourceFacts(code, code, {}) if source is None else SourceFacts(code, source.name, source.config)


def _is_mailed(kind: str, source: str | None) -> bool:
    """Whether a mail says more than is known: for an upload or a correction, whoever made it waits for its end."""
    return kind in MAILED and (source is not None or not KINDS[kind].by_source)


def _subject(kind: str, parameters: Mapping[str, Any]) -> str:
    source = source_of(parameters)
    return kind if source is None else f"{kind} {source}"


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
