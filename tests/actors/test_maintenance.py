"""The nightly maintenance lets go of old jobs and old series, and is a job like any other."""

from __future__ import annotations

from datetime import UTC, datetime

from queue_world import get, perform, scalar, start
from sqlalchemy import text

from actors.maintenance import MaintenanceWork
from actors.owner import Connections
from db.models import Job
from db.repositories import alerts, mails
from db.repositories.alerts import Finding


async def test_old_jobs_and_old_series_go(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        session.add(Job(kind="noop", state="done", finished_at=datetime(2020, 1, 1, tzinfo=UTC)))
    hypertables = await scalar(connections, "SELECT count(*) FROM capability")
    if hypertables:  # there a policy lets go, and follows the setting
        connections.settings = connections.settings.model_copy(update={"job_event_retention_days": 45})
    else:
        async with connections.sessions.begin() as session:
            for table in ("job_event", "forecast"):
                bounds = "FROM ('2020-01-01') TO ('2020-02-01')"
                await session.execute(text(f"CREATE TABLE {table}_2020_01 PARTITION OF {table} FOR VALUES {bounds}"))
    job = await start(connections, "tidy")
    outcome = await perform(connections, MaintenanceWork(connections), job.id)
    assert outcome.end == "done", outcome.traceback
    assert (await get(connections, job.id)).result == {
        "jobs": 1,
        "log_lines": 0,
        "log_ins": 0,
        "series": 1 if hypertables else 2,
    }
    assert await scalar(connections, "SELECT count(*) FROM job WHERE kind = 'noop'") == 0


async def test_mails_go_once_they_were_sent_long_ago_and_those_that_wait_stay(connections: Connections) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    async with connections.sessions.begin() as session:
        alert_id = await alerts.settle_one(session, "job_failed", "plan", Finding("critical", "no such item"))
        assert alert_id is not None
        await mails.put(session, alert_id, "wrong", ["a@b", "c@d"], subject="s", body="b", domain="b")
        await session.execute(
            text("UPDATE alert_mail SET state = 'sent', ended_at = :at WHERE recipient = 'a@b'"), {"at": long_ago}
        )
    job = await start(connections, "tidy")
    assert (await perform(connections, MaintenanceWork(connections), job.id)).end == "done"
    assert await scalar(connections, "SELECT string_agg(recipient, ' ') FROM alert_mail") == "c@d"
