"""Mails reach a real mail server as they were written: also one that is away, refuses, or loses its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mail_server import HOST, LOG_IN, Mailbox, certificate, serving
from planned_work import PlannedWork
from pydantic import SecretStr, ValidationError
from queue_world import dispatching, owners_of, scalar, until, until_ended
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from actors import failure_alerts, jobs, schedules
from actors.mailer import GIVEN_UP_AFTER, Mailer, delay_after, send_test
from actors.owner import Connections
from actors.run import JobRun
from cluster.local.redis import free_port
from db.models import AlertMail, Schedule, Source
from db.repositories import alerts, mails
from db.repositories.alerts import Finding
from fmrp_sdk import RetriableError
from settings import Settings

ANNA, BEN = "anna@example.com", "ben@example.com"
BODY = "Reading ERP Süd has failed.\n\nWhat happened\n  no answer: " + "x" * 1200 + "\n"


@pytest.fixture
def mailbox() -> Mailbox:
    """What the mail server has taken."""
    return Mailbox()


def sending(settings: Settings, **more: Any) -> Settings:
    """Settings of a system that sends mails to a server of this test."""
    given = {
        "smtp_host": HOST, "smtp_port": free_port(), "smtp_tls": "none", "mail_from": "mrp@example.com",
        "mail_to": (ANNA,), "public_url": "https://mrp.example.com", **more,
    }  # fmt: skip
    return settings.model_copy(update=given)


@asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[Connections]:
    opened = Connections(settings, "test")
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def mailing(settings: Settings) -> AsyncIterator[Connections]:
    """A process that sends mails without TLS to one recipient."""
    async with process(sending(settings)) as opened:
        yield opened


def port(connections: Connections) -> int:
    assert connections.settings.smtp_port is not None
    return connections.settings.smtp_port


async def write(connections: Connections, about: str = "wrong", *recipients: str) -> None:
    """Write the mail that something is wrong, or is over."""
    finding = Finding("critical", "no answer") if about == "wrong" else None
    async with connections.sessions.begin() as session:
        alert_id = await alerts.settle_one(session, "job_failed", "ingest erp", finding)
        assert alert_id is not None
        subject = f"Reading ERP Süd: {about}"
        await mails.put(session, alert_id, about, recipients or (ANNA,), subject=subject, body=BODY, domain="mrp.test")


async def stored(connections: Connections) -> list[AlertMail]:
    async with connections.sessions() as session:
        return list((await session.execute(select(AlertMail).order_by(AlertMail.id))).scalars())


async def make_due(connections: Connections) -> None:
    """The time of the next try has come."""
    async with connections.sessions.begin() as session:
        await session.execute(text("UPDATE alert_mail SET due_at = now() WHERE state = 'waiting'"))


async def open_alert(connections: Connections) -> str | None:
    found: str | None = await scalar(
        connections, "SELECT message FROM alert WHERE kind = 'mail_not_sent' AND state = 'open'"
    )
    return found


async def test_a_mail_arrives_as_it_was_written(mailing: Connections, mailbox: Mailbox) -> None:
    await write(mailing)
    async with serving(mailbox, port(mailing)):
        assert await Mailer(mailing).send_due() == 1
        assert await Mailer(mailing).send_due() == 0
    (kept,), (mail,) = await stored(mailing), mailbox.mails
    assert (kept.state, kept.attempts) == ("sent", 1)
    assert mail["Subject"] == "Reading ERP Süd: wrong"
    assert mail["To"] == ANNA
    assert mail["From"] == "Forecasting MRP <mrp@example.com>"
    assert mail["Message-ID"] == kept.message_id
    assert mail["Date"].datetime == kept.created_at.replace(microsecond=0)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().replace("\r\n", "\n") == BODY


async def test_a_server_that_is_away_costs_no_mail_and_is_told_of_on_the_dashboard(
    mailing: Connections, mailbox: Mailbox
) -> None:
    await write(mailing)
    mailer = Mailer(mailing)
    for tries in (1, 2, 3):
        assert await mailer.send_due() == 0
        assert await mailer.send_due() == 0, "tried again at once"
        (waiting,) = await stored(mailing)
        assert (waiting.state, waiting.attempts) == ("waiting", tries)
        assert (await open_alert(mailing) is None) is (tries < 3)
        await make_due(mailing)
    assert ANNA in str(await open_alert(mailing))
    async with serving(mailbox, port(mailing)):
        assert await mailer.send_due() == 1
    assert [mail["Message-ID"] for mail in mailbox.mails] == [waiting.message_id]
    assert await open_alert(mailing) is None


async def test_a_mail_nobody_could_be_sent_for_days_is_given_up(mailing: Connections) -> None:
    await write(mailing)
    async with mailing.sessions.begin() as session:
        await session.execute(
            text("UPDATE alert_mail SET created_at = :at"), {"at": datetime.now(UTC) - GIVEN_UP_AFTER}
        )
    await Mailer(mailing).send_due()
    assert (await stored(mailing))[0].state == "undeliverable"
    assert await open_alert(mailing)


async def test_a_recipient_that_is_refused_stops_no_other(mailing: Connections, mailbox: Mailbox) -> None:
    mailbox.answers = {ANNA: "550 no such user", BEN: "451 come back later"}
    await write(mailing, "wrong", ANNA, BEN, "carl@example.com")
    async with serving(mailbox, port(mailing)):
        assert await Mailer(mailing).send_due() == 1
        mailbox.answers = {}
        await make_due(mailing)
        assert await Mailer(mailing).send_due() == 1
    assert [mail["To"] for mail in mailbox.mails] == ["carl@example.com", BEN]
    kept = {mail.recipient: (mail.state, mail.last_error) for mail in await stored(mailing)}
    assert kept[ANNA] == ("undeliverable", "550 no such user")
    assert f"no mail to {ANNA} goes out: 550 no such user" in str(await open_alert(mailing))


async def test_a_lost_answer_sends_it_again_under_the_same_id(mailing: Connections, mailbox: Mailbox) -> None:
    mailbox.answers_to_lose = 1
    await write(mailing)
    async with serving(mailbox, port(mailing)):
        assert await Mailer(mailing).send_due() == 0
        await make_due(mailing)
        assert await Mailer(mailing).send_due() == 1
    first, second = mailbox.mails
    assert first.as_bytes() == second.as_bytes()


async def test_a_sender_that_dies_over_a_mail_leaves_it_to_another_after_a_while(
    mailing: Connections, mailbox: Mailbox
) -> None:
    await write(mailing)
    async with mailing.sessions.begin() as session:
        assert len(await mails.claim(session, 10)) == 1
    async with serving(mailbox, port(mailing)):
        assert await Mailer(mailing).send_due() == 0, "it may be at it still"
        await make_due(mailing)
        assert await Mailer(mailing).send_due() == 1


async def test_senders_beside_each_other_send_each_mail_once(settings: Settings, mailbox: Mailbox) -> None:
    async with process(sending(settings)) as mailing:
        await write(mailing, "wrong", *(f"p{number}@example.com" for number in range(20)))
        async with serving(mailbox, port(mailing)):
            await asyncio.gather(*(Mailer(mailing).send_due() for _ in range(4)))
    assert len({mail["To"] for mail in mailbox.mails}) == len(mailbox.mails) == 20


async def test_nobody_reads_that_it_works_again_before_that_it_had_failed(
    mailing: Connections, mailbox: Mailbox
) -> None:
    await write(mailing)
    await Mailer(mailing).send_due()  # the server is away
    await write(mailing, "well")
    async with serving(mailbox, port(mailing)):
        assert await Mailer(mailing).send_due() == 0
        await make_due(mailing)
        assert await Mailer(mailing).send_due() == 1
        assert await Mailer(mailing).send_due() == 1
    wrong, well = mailbox.mails
    assert (wrong["Subject"][-5:], well["Subject"][-4:]) == ("wrong", "well")
    assert well["In-Reply-To"] == wrong["Message-ID"]


async def test_over_tls_with_a_log_in(settings: Settings, mailbox: Mailbox, tmp_path: Path) -> None:
    tls, trusted = certificate(tmp_path)
    right = {
        "smtp_tls": "starttls", "smtp_ca_file": trusted, "smtp_user": LOG_IN[0], "smtp_password": SecretStr(LOG_IN[1]),
    }  # fmt: skip
    wrong: list[dict[str, Any]] = [
        {**right, "smtp_ca_file": None},  # a server that is not known to be the right one gets no password
        {**right, "smtp_password": SecretStr("open-barley-8")},
    ]
    address = free_port()
    async with serving(mailbox, address, tls):
        for given in (*wrong, right):
            async with process(sending(settings, smtp_port=address, **given)) as mailing:
                if given is wrong[0]:
                    await write(mailing)
                await make_due(mailing)
                sent = await Mailer(mailing).send_due()
                assert sent == (given is right)
                assert mailbox.logged_in == sent
                (kept,) = await stored(mailing)
                assert kept.state == ("sent" if given is right else "waiting"), "a wrong log-in can be mended"
                assert "open-" not in str(kept.last_error)
    assert len(mailbox.mails) == 1


async def test_a_trial_says_of_each_recipient_what_became_of_it(settings: Settings, mailbox: Mailbox) -> None:
    given = sending(settings, mail_to=(ANNA, BEN))
    mailbox.answers = {ANNA: "550 no such user"}
    assert given.smtp_port is not None
    async with serving(mailbox, given.smtp_port):
        assert await send_test(given) == {ANNA: "550 no such user", BEN: ""}
    assert all((await send_test(given)).values()), "the server is away by now"
    with pytest.raises(ValueError, match="set FMRP_SMTP_HOST"):
        await send_test(settings)


def test_tries_come_ever_later_but_not_too_late() -> None:
    delays = [delay_after(attempts) for attempts in range(1, 200)]
    assert delays == sorted(delays)
    assert timedelta(seconds=10) <= delays[0] < delays[-1] <= timedelta(minutes=15)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"smtp_host": "mail"}, "say who gets mails"),
        ({"mail_to": ("anna@example.com\nBcc: x@y",)}, "expected an address"),
        ({"mail_from": "mrp"}, "expected an address"),
        ({"smtp_user": "mrp"}, "FMRP_SMTP_USER and FMRP_SMTP_PASSWORD, or neither"),
        ({"smtp_user": "mrp", "smtp_password": "open-sesame-7", "smtp_tls": "none"}, "cross the network readable"),
        ({"public_url": "mrp.example.com"}, "pattern"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_at_the_start(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what) as refused:
        Settings(**given)
    assert "open-sesame-7" not in str(refused.value)


# -- from the schedule to the mailbox --------------------------------------------------------------------------------


class Reading(PlannedWork):
    """Work that says when it went well, as an ingestion does."""

    def __init__(self, settings: Settings, *failures: Exception) -> None:
        super().__init__(*failures)
        self._settings = settings

    async def perform(self, run: JobRun) -> None:
        self.calls.append(run.attempt)
        if self.failures:
            raise self.failures.pop(0)

        async def store(session: AsyncSession) -> None:
            await failure_alerts.job_succeeded(session, run.kind, run.parameters, self._settings)

        await run.finish({}, "read", store)


async def test_a_scheduled_reading_writes_once_all_its_steps_have_failed_and_once_when_it_works_again(
    mailing: Connections, mailbox: Mailbox
) -> None:
    down = RetriableError("erp: connection refused")
    async with mailing.sessions.begin() as session:
        session.add(Source(code="erp", name="ERP Süd", connector="folder", config={"token": "very-secret"}))
        schedule = Schedule(
            name="morning", kind="ingest", cron="0 6 * * *", parameters={"source": "erp"}, retry_steps=["1s"]
        )
        session.add(schedule)
        await session.flush()
        job, _ = await schedules.run_now(session, schedule, "schedule morning", 4)
    work = Reading(mailing.settings, *[down] * 4)

    async def arrived(count: int) -> bool:
        return len(mailbox.mails) >= count

    async with serving(mailbox, port(mailing)), dispatching(mailing, owners_of(mailing, work)):
        for _ in range(2):  # run again by hand, it fails again: nobody is told twice
            assert (await until_ended(mailing, job.id)).state == "failed"
            await until(lambda: arrived(1), "the mail that it has failed")
            async with mailing.sessions.begin() as session:
                await jobs.retry(session, job.id)
        assert (await until_ended(mailing, job.id)).state == "done"
        await until(lambda: arrived(2), "the mail that it works again")
    assert work.calls == [1, 2, 3, 4, 5]
    wrong, well = mailbox.mails
    assert (wrong["Subject"], well["Subject"]) == ("Reading ERP Süd has failed", "Reading ERP Süd works again")
    said = wrong.get_content()
    for part in ("code erp", "connection refused", "Tried 2 times", "schedule morning", str(job.id), "/jobs"):
        assert part in said
