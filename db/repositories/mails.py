"""SQL of mails about alerts: written with what they tell of, claimed by one sender at a time, kept until sent."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import CursorResult, delete, exists, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from uuid_utils.compat import uuid7

from db.models import AlertMail

# From being claimed to being sent; then another sender may try. Longer than any try takes.
LEASE = timedelta(minutes=3)


async def put(
    session: AsyncSession,
    alert_id: uuid.UUID,
    about: str,
    recipients: Sequence[str],
    *,
    subject: str,
    body: str,
    domain: str,
) -> None:
    """Have a mail about the alert sent to each recipient. `domain` is the sender's, for the mail's id."""
    values = {
        "alert_id": alert_id,
        "about": about,
        "message_id": message_id(alert_id, about, domain),
        "subject": subject,
        "body": body,
    }
    rows = [{**values, "id": uuid7(), "recipient": recipient} for recipient in dict.fromkeys(recipients)]
    if rows:
        await session.execute(insert(AlertMail), rows)


def message_id(alert_id: uuid.UUID, about: str, domain: str) -> str:
    """The same for every try and recipient, so that a mail program shows once what came twice."""
    return f"<{alert_id}.{about}@{domain}>"


async def told_of(session: AsyncSession, alert_id: uuid.UUID) -> Sequence[str]:
    """Who was written that something is wrong."""
    query = select(AlertMail.recipient).where(AlertMail.alert_id == alert_id, AlertMail.about == literal("wrong"))
    return (await session.execute(query.order_by(AlertMail.recipient))).scalars().all()


async def claim(session: AsyncSession, limit: int) -> Sequence[AlertMail]:
    """Mails that are due, oldest first, for this sender alone until their lease is over; each counts one attempt more.

    That all is well waits for the mail that something was wrong, so that nobody reads them in the wrong order.
    """
    earlier = aliased(AlertMail)
    comes_too_early = exists().where(
        AlertMail.about == literal("well"),
        earlier.about == literal("wrong"),
        earlier.alert_id == AlertMail.alert_id,
        earlier.recipient == AlertMail.recipient,
        earlier.state == literal("waiting"),
    )
    due = (
        select(AlertMail.id)
        .where(AlertMail.state == literal("waiting"), AlertMail.due_at <= func.now(), ~comes_too_early)
        .order_by(AlertMail.due_at, AlertMail.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    query = (
        update(AlertMail)
        .where(AlertMail.id.in_(due.scalar_subquery()))
        .values(due_at=func.now() + LEASE, attempts=AlertMail.attempts + 1)
        .returning(AlertMail)
    )
    claimed = (await session.execute(query, execution_options={"synchronize_session": False})).scalars().all()
    return sorted(claimed, key=lambda mail: mail.id)


async def end(session: AsyncSession, mail: AlertMail, state: str, error: str | None = None) -> None:
    """The mail is `sent`, or `undeliverable`."""
    await _change(session, mail, state=state, ended_at=func.now(), last_error=error)


async def put_off(session: AsyncSession, mail: AlertMail, delay: timedelta, error: str) -> None:
    """It could not be sent: try again later."""
    await _change(session, mail, due_at=func.now() + delay, last_error=error)


async def remove_old(session: AsyncSession, *, days: float) -> int:
    """Delete mails that were sent or given up long ago."""
    removed = await session.execute(delete(AlertMail).where(AlertMail.ended_at < func.now() - timedelta(days=days)))
    assert isinstance(removed, CursorResult)
    return removed.rowcount


async def _change(session: AsyncSession, mail: AlertMail, **values: object) -> None:
    # Only by whoever claimed it last: another sender may have taken it over, and sent it.
    query = update(AlertMail).where(
        AlertMail.id == mail.id, AlertMail.state == literal("waiting"), AlertMail.attempts == mail.attempts
    )
    await session.execute(query.values(**values), execution_options={"synchronize_session": False})
