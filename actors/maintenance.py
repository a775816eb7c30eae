"""The maintenance work: what has been kept long enough is deleted, and roll-ups are brought up to date. It runs inside
the dispatcher, having no library to load and little to do."""

from __future__ import annotations

from actors.kinds import MAINTENANCE
from actors.owner import Connections
from actors.run import JobRun
from db import retention, rollups
from db.repositories import jobs
from db.retention import Retention

BATCH = 5000


class MaintenanceWork:
    """Deletes ended jobs and their logs by age, in batches that hold no lock for long, and old months of series."""

    name = MAINTENANCE

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def perform(self, run: JobRun) -> None:
        """Parameters: none; the ages are settings."""
        settings = self._connections.settings
        removed = 0
        while True:
            run.report(0.5, "deleting", f"{removed:,} jobs")
            async with run.sessions.begin() as session:
                batch = await jobs.remove_old(
                    session,
                    done_days=settings.job_retention_days,
                    dead_days=settings.dead_letter_retention_days,
                    limit=BATCH,
                )
            removed += batch
            if batch == 0:
                break
        async with run.sessions.begin() as session:
            lines = await jobs.remove_old_logs(session, days=settings.job_retention_days)
        wanted = Retention(
            forecast_days=settings.forecast_retention_days,
            job_event_days=settings.job_event_retention_days,
            restatement_days=settings.restatement_days,
        )
        async with run.sessions.begin() as session:
            today = (await jobs.clock(session)).date()
            series = await retention.apply(await session.connection(), wanted, today)
        await rollups.refresh(self._connections.engine)
        result = {"jobs": removed, "log_lines": lines, "series": series}
        await run.finish(result, f"{removed:,} old jobs, {lines:,} log lines deleted")
