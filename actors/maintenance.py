"""The maintenance work: what has been kept long enough is deleted, and roll-ups are brought up to date. It runs inside
the dispatcher, having no library to load and little to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from actors.failure_alerts import job_succeeded
from actors.kinds import MAINTENANCE
from actors.owner import Connections
from actors.run import JobRun
from db import retention, rollups
from db.repositories import jobs, mails, tokens
from db.retention import Retention

BATCH = 5000


class MaintenanceWork:
    """Deletes ended jobs, their logs, mails and log-ins that are over by their age, in batches that hold no lock for
    long, and old months of series."""

    name = MAINTENANCE

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def perform(self, run: JobRun) -> None:
        """Parameters: none; the ages are settings."""
        settings = self._connections.settings

        async def remove_jobs(session: AsyncSession) -> int:
            return await jobs.remove_old(
                session,
                done_days=settings.job_retention_days,
                dead_days=settings.dead_letter_retention_days,
                limit=BATCH,
            )

        async def remove_log_ins(session: AsyncSession) -> int:
            return await tokens.remove_expired(session, BATCH)

        removed = await _in_batches(run, "jobs", remove_jobs)
        log_ins = await _in_batches(run, "refresh tokens and log-ins", remove_log_ins)
        async with run.sessions.begin() as session:
            lines = await jobs.remove_old_logs(session, days=settings.job_retention_days)
            await mails.remove_old(session, days=settings.job_retention_days)
        wanted = Retention(
            forecast_days=settings.forecast_retention_days,
            job_event_days=settings.job_event_retention_days,
            restatement_days=settings.restatement_days,
        )
        async with run.sessions.begin() as session:
            today = (await jobs.clock(session)).date()
            series = await retention.apply(await session.connection(), wanted, today)
        await rollups.refresh(self._connections.engine)
        result = {"jobs": removed, "log_lines": lines, "log_ins": log_ins, "series": series}

        async def store(session: AsyncSession) -> None:
            await job_succeeded(session, run.kind, run.parameters, settings)

        await run.finish(result, f"{removed:,} old jobs, {lines:,} log lines, {log_ins:,} ended log-ins deleted", store)


async def _in_batches(run: JobRun, what: str, remove: Callable[[AsyncSession], Awaitable[int]]) -> int:
    """Call `remove` in one transaction after the other until nothing is left; returns how many it removed."""
    removed = 0
    while True:
        run.report(0.5, "deleting", f"{removed:,} {what}")
        async with run.sessions.begin() as session:
            batch = await remove(session)
        removed += batch
        if batch == 0:
            return removed
