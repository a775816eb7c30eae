"""Sends the mails that wait in the database, exactly as they were written there.

At least once: one whose sending was cut off, or whose answer was lost, goes out again under the same Message-ID, by
which mail programs tell that they have it already.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import aiosmtplib
import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from actors.owner import Connections
from actors.redact import redact_text
from db.models import AlertMail
from db.repositories import alerts, mails
from db.repositories.alerts import Finding
from settings import MAIL_PORTS, Settings

# Of one answer of the mail server, and of a whole mail.
PATIENCE_S, LONGEST_S = 15.0, 60.0
FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=20), timedelta(minutes=10)
# A mail that has not gone out by then would tell of what nobody asks about any more.
GIVEN_UP_AFTER = timedelta(days=3)
# Servers that do not know us may put off a first try; from here on it is worth an alert.
ALERTED_FROM = 3
BATCH = 10
NOT_SENT = "mail_not_sent"

log = structlog.get_logger(__name__)


class Mailer:
    """One sender of mails; several may work beside each other."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def send_due(self) -> int:
        """Try each mail that is due, once; returns how many were sent."""
        async with self._connections.sessions.begin() as session:
            claimed = await mails.claim(session, BATCH)
        return sum([await self._send(mail) for mail in claimed])

    async def _send(self, mail: AlertMail) -> bool:
        try:
            async with asyncio.timeout(LONGEST_S):
                await deliver(message_of(mail, self._connections.settings), self._connections.settings)
        except Exception as error:  # noqa: BLE001 - whatever it was is kept with the mail, which is tried again
            async with self._connections.sessions.begin() as session:
                await self._note_failure(session, mail, error)
            return False
        async with self._connections.sessions.begin() as session:
            await mails.end(session, mail, "sent")
            await alerts.settle_one(session, NOT_SENT, mail.recipient, None)
        log.info("mail sent", mail=str(mail.id), about=mail.about, message_id=mail.message_id)
        return True

    async def _note_failure(self, session: AsyncSession, mail: AlertMail, error: Exception) -> None:
        reason = _reason(error)
        is_over = is_final(error) or datetime.now(UTC) - mail.created_at > GIVEN_UP_AFTER
        log.error("mail not sent", mail=str(mail.id), attempts=mail.attempts, reason=reason, is_given_up=is_over)
        if is_over:
            await mails.end(session, mail, "undeliverable", reason)
        else:
            await mails.put_off(session, mail, delay_after(mail.attempts), reason)
        if is_over or mail.attempts >= ALERTED_FROM:
            text = f"no mail to {mail.recipient} goes out: {reason}; see FMRP_SMTP_* and FMRP_MAIL_*"
            await alerts.settle_one(session, NOT_SENT, mail.recipient, Finding("warning", text))


def message_of(mail: AlertMail, settings: Settings) -> EmailMessage:
    """The mail as it goes over the wire; the same at every try, but for what the settings say of the sender."""
    message = EmailMessage()
    message["From"] = f"Forecasting MRP <{settings.mail_from}>"
    message["To"] = mail.recipient
    message["Subject"] = mail.subject
    message["Date"] = mail.created_at.astimezone(UTC)
    message["Message-ID"] = mail.message_id
    if mail.about == "well":  # shown below the mail it is the end of
        first = mails.message_id(mail.alert_id, "wrong", mail.message_id.rstrip(">").rpartition("@")[2])
        message["In-Reply-To"] = message["References"] = first
    message["Auto-Submitted"] = "auto-generated"  # no out-of-office answers
    message.set_content(mail.body)
    return message


async def send_test(settings: Settings) -> dict[str, str]:
    """Send everybody who gets mails one to try the settings; what went wrong (or nothing), by recipient.

    Raises:
        ValueError: no mail server is set.
    """
    if not settings.mail_recipients:
        raise ValueError("no mails are sent: set FMRP_SMTP_HOST, FMRP_MAIL_FROM and FMRP_MAIL_TO")
    body = f"Mails of this system reach you. It writes when work has failed for good.\n\n{settings.people_url}\n"
    results = dict.fromkeys(settings.mail_recipients, "")
    for recipient in results:
        trial = AlertMail(
            id=uuid7(),
            about="wrong",
            recipient=recipient,
            subject="A test mail",
            body=body,
            created_at=datetime.now(UTC),
        )
        trial.message_id = mails.message_id(trial.id, "test", settings.mail_from.partition("@")[2])
        try:
            await deliver(message_of(trial, settings), settings)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            results[recipient] = _reason(error)
    return results


async def deliver(message: EmailMessage, settings: Settings) -> None:
    """Hand a message to the mail server.

    Raises:
        aiosmtplib.SMTPException, OSError, TimeoutError: it did not take it.
    """
    assert settings.smtp_host is not None, "nobody gets mails without a mail server"
    password = settings.smtp_password
    await aiosmtplib.send(
        message,
        hostname=settings.smtp_host,
        port=settings.smtp_port or MAIL_PORTS[settings.smtp_tls],
        username=settings.smtp_user,
        password=password.get_secret_value() if password is not None else None,
        use_tls=settings.smtp_tls == "tls",
        start_tls=settings.smtp_tls == "starttls",
        tls_context=None if settings.smtp_tls == "none" else _trusting(settings),
        timeout=PATIENCE_S,
    )


def _trusting(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.smtp_ca_file is not None:
        context.load_verify_locations(settings.smtp_ca_file)
    return context


def is_final(error: BaseException) -> bool:
    """Whether the server will never take mails for this recipient. Whatever else it says may be mended on either side.

    A log-in or a sender that is refused is a matter of settings: once they are right, the mails that waited go out.
    """
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(500 <= each.code < 600 for each in error.recipients)
    return isinstance(error, aiosmtplib.SMTPRecipientRefused) and 500 <= error.code < 600


def delay_after(attempts: int) -> timedelta:
    """Time to the next try after so many."""
    doubled: int = 1 << min(attempts - 1, 20)
    return min(FIRST_DELAY * doubled, LONGEST_DELAY)


def _reason(error: BaseException) -> str:
    """What the server said, on one line."""
    refused = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else [error]
    said = "; ".join(str(getattr(each, "message", each)) or type(each).__name__ for each in refused)
    code = getattr(refused[0], "code", None) if refused else None
    return redact_text(" ".join((f"{code} " if code else "").split() + said.split()))[:500] or type(error).__name__
