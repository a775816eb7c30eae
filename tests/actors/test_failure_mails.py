"""What a mail about a dead letter says, and when one is written: with the job's end, and once more when it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from planned_work import PlannedWork
from queue_world import claim, dispatching, end, get, owners_of, scalar, start, until_ended
from sqlalchemy import text

from actors import failure_alerts, failure_mails, jobs
from actors.failure_mails import Failure, SourceFacts
from actors.owner import Connections, Outcome
from actors.settle import Settlement
from db.repositories.queue import Claimed
from fmrp_sdk import FatalError
from settings import Settings

URL = "https://mrp.example.com"
SOURCE = SourceFacts("erp", "ERP Süd", {"host": "erp", "password": "hunter2!", "oauth": {"client_secret": "s3cr3t-x"}})
FAILURE = Failure(
    job_id="0193",
    kind="ingest",
    error="erp: no answer within 120 s",
    attempts=4,
    at=datetime(2026, 11, 24, 6, 31, tzinfo=UTC),
    requested_by="schedule morning",
    source=SOURCE,
    next_run_at=datetime(2026, 11, 25, 5, 0, tzinfo=UTC),
    time_zone="Europe/Berlin",
)


def test_it_says_which_source_what_happened_what_follows_what_to_do_and_where() -> None:
    mail = failure_mails.wrong(FAILURE, URL)
    assert mail.subject == "Reading ERP Süd has failed"
    for part in (
        "Source: ERP Süd (code erp)",
        "erp: no answer within 120 s",
        "Tried 4 times; the last attempt ended on 2026-11-24 07:31 (Europe/Berlin).",
        "Asked for by schedule morning; job 0193.",
        "The schedule starts it anew on 2026-11-25 06:00 (Europe/Berlin).",
        "POST /api/v1/sources/erp/check",
        "Retry on https://mrp.example.com/jobs, or POST /api/v1/jobs/0193/retry",
    ):
        assert part in mail.body


def test_a_job_that_no_schedule_starts_again_says_so_and_one_that_takes_workers_down_asks_for_the_log() -> None:
    mail = failure_mails.wrong(replace(FAILURE, next_run_at=None, is_held=True, attempts=1), URL)
    for part in ("Nothing starts it again by itself.", "Tried once;", "the log of the process"):
        assert part in mail.body


@pytest.mark.parametrize(
    "error",
    ["log-in refused: mrp/hunter2!", "POST s3cr3t-x: 401", "postgresql://mrp:pw@erp/x away", "token=abcdefgh refused"],
)
def test_no_secret_is_in_a_mail(error: str) -> None:
    body = failure_mails.wrong(replace(FAILURE, error=error), URL).body
    assert "[redacted]" in body
    for secret in ("hunter2!", "s3cr3t-x", ":pw@", "abcdefgh"):
        assert secret not in body


def test_what_others_have_written_makes_no_headers_and_no_endless_mail() -> None:
    source = replace(SOURCE, name="ERP\r\nBcc: everybody@example.com")
    mail = failure_mails.wrong(replace(FAILURE, source=source, error="x" * 100_000 + "\x1b[2J"), URL)
    assert mail.subject.splitlines() == [mail.subject]
    assert len(mail.body) < 5000
    assert "GET /api/v1/jobs/0193" in mail.body


# -- when one is written ---------------------------------------------------------------------------------------------


@pytest.fixture
async def mailing(settings: Settings) -> AsyncIterator[Connections]:
    """A process that writes mails for two people."""
    # Nobody listens there: the mails stay where they were written.
    more = {
        "smtp_host": "127.0.0.1",
        "smtp_port": 1,
        "smtp_tls": "none",
        "mail_from": "mrp@example.com",
        "mail_to": ("anna@example.com", "ben@example.com"),
    }
    opened = Connections(settings.model_copy(update=more), "test")
    yield opened
    await opened.close()


async def written(connections: Connections) -> list[tuple[Any, ...]]:
    """What is to be sent to whom, in the order it was written."""
    async with connections.sessions() as session:
        query = text("SELECT about, recipient, subject FROM alert_mail ORDER BY created_at, recipient")
        return [tuple(row) for row in await session.execute(query)]


async def fail(connections: Connections, kind: str = "ingest", **parameters: Any) -> None:
    """A job that nothing more is tried for."""
    async with dispatching(connections, owners_of(connections, PlannedWork(FatalError("log-in refused")))):
        job = await start(connections, kind, parameters)
        assert (await until_ended(connections, job.id)).state == "failed"


async def succeed(connections: Connections, kind: str = "ingest", **parameters: Any) -> None:
    async with connections.sessions.begin() as session:
        await failure_alerts.job_succeeded(session, kind, parameters, connections.settings)


async def test_one_mail_when_it_has_failed_one_when_it_works_again_and_none_between(mailing: Connections) -> None:
    both = [("wrong", "anna@example.com"), ("wrong", "ben@example.com")]
    for _ in range(2):
        await fail(mailing, source="erp")
        assert [row[:2] for row in await written(mailing)] == both
    for _ in range(2):
        await succeed(mailing, source="erp")
        assert [row[:2] for row in await written(mailing)][2:] == [("well", name) for _, name in both]
    await fail(mailing, source="erp")
    assert [row[0] for row in await written(mailing)] == ["wrong", "wrong", "well", "well", "wrong", "wrong"]


async def test_each_source_has_mails_of_its_own_and_a_plan_too(mailing: Connections) -> None:
    for parameters in ({"source": "erp"}, {"source": "shop"}):
        await fail(mailing, **parameters)
    await fail(mailing, "plan")
    await succeed(mailing, source="shop")
    subjects = [subject for _, recipient, subject in await written(mailing) if recipient.startswith("anna")]
    assert subjects == [
        "Reading erp has failed",
        "Reading shop has failed",
        "The plan has failed",
        "Reading shop works again",
    ]


async def test_whoever_uploads_a_file_sees_its_end_and_nobody_is_written(mailing: Connections) -> None:
    await fail(mailing, mapping="erp_items", source_file_id="x")
    assert await scalar(mailing, "SELECT count(*) FROM alert") == 1
    assert await written(mailing) == []


async def test_who_sees_to_an_alert_by_hand_gets_no_second_mail(mailing: Connections) -> None:
    await fail(mailing, source="erp")
    async with mailing.sessions.begin() as session:
        await session.execute(text("UPDATE alert SET state = 'resolved'"))
    await succeed(mailing, source="erp")
    assert [row[0] for row in await written(mailing)] == ["wrong", "wrong"]


async def test_without_a_mail_server_nothing_is_written(connections: Connections) -> None:
    await fail(connections, source="erp")
    assert await written(connections) == []


async def test_an_attempt_that_was_overtaken_writes_nothing(mailing: Connections) -> None:
    job = await claim(mailing, (await start(mailing, "ingest", {"source": "erp"})).id)
    await end(mailing, job)
    late = Claimed(**{name: getattr(job, name, None) for name in Claimed.__dataclass_fields__} | {"waited_s": 0.0})
    await Settlement(mailing).settle(late, Outcome("failed", "log-in refused"))
    assert (await get(mailing, job.id)).state == "done"
    assert await written(mailing) == []


async def test_the_dead_letter_is_kept_and_runs_again_when_asked(mailing: Connections) -> None:
    await fail(mailing, source="erp")
    job_id = await scalar(mailing, "SELECT id FROM job WHERE state = 'failed'")
    async with mailing.sessions.begin() as session:
        assert [job.id for job in await jobs.retry_dead(session, kind="ingest")] == [job_id]
    async with dispatching(mailing, owners_of(mailing, PlannedWork())):
        assert (await until_ended(mailing, job_id)).state == "done"
