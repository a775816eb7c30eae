"""Where all jobs stand, for clients that join late or have lost events."""

from __future__ import annotations

from actors.events import JobRow, job_event
from db.engine import SessionFactory
from db.models.job import Job
from db.repositories import job_changes

UNFINISHED = 200
ENDED = 50
_ROW_ONLY = ("max_attempts", "requested_by", "created_at", "started_at", "finished_at")


def job_row(job: Job) -> JobRow:
    """A stored job as a snapshot tells of it."""
    data = job_event(job).data
    shared = {name: getattr(data, name) for name in data.__struct_fields__}
    return JobRow(**shared, **{name: getattr(job, name) for name in _ROW_ONLY})


async def current_jobs(sessions: SessionFactory) -> list[JobRow]:
    """Unfinished jobs and the newest ended ones; raises SQLAlchemyError or OSError while the database is away."""
    async with sessions() as session:
        return [job_row(job) for job in await job_changes.current(session, unfinished=UNFINISHED, ended=ENDED)]
