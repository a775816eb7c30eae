"""Alerts: what the system found that a person should look at, and the mails that tell of them."""

from __future__ import annotations

import uuid
from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed, Revised
from db.models.master import search_text

MAIL_SUBJECTS = ("wrong", "well")
MAIL_STATES = ("waiting", "sent", "undeliverable")
SEVERITIES = ("info", "warning", "critical")
ALERT_STATES = ("open", "acknowledged", "resolved")


class Alert(Keyed, Revised, Base):
    """One finding about one subject. Found again it is counted, not doubled; found no more it is resolved.

    `urgency` puts the most severe first, and of these the newest; `day` is the day the finding is about.
    `changed_by` acknowledged or resolved it, `system` when it was found no more.
    """

    __tablename__ = "alert"
    __table_args__ = (
        CheckConstraint(f"severity in {SEVERITIES}", name="severity"),
        CheckConstraint(f"state in {ALERT_STATES}", name="state"),
        Index("uq_alert_kind_subject", "kind", "subject", unique=True, postgresql_where=text("state <> 'resolved'")),
        Index("ix_alert_state_urgency", "state", "urgency"),
        Index("ix_alert_item_id", "item_id", postgresql_where=text("item_id IS NOT NULL")),
    )

    kind: Mapped[str]
    subject: Mapped[str]
    severity: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="open")
    urgency: Mapped[float]
    message: Mapped[str]
    item_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("item.id"))
    supplier_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("supplier.id"))
    work_centre_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("work_centre.id"))
    source: Mapped[str | None]
    day: Mapped[date | None]
    count: Mapped[int] = mapped_column(server_default="1")
    first_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    changed_by: Mapped[str | None]
    changed_at: Mapped[datetime | None]
    search_text: Mapped[str] = search_text("subject", "message")


class AlertMail(Keyed, Base):
    """A mail about an alert to one recipient, as it is sent: that something is `wrong`, or that all is `well` again.

    It is written in the transaction that raises or resolves the alert, and waits until `due_at`, later after each of
    its `attempts`. The recipients of one mail share its `message_id`. `undeliverable` is one given up.
    """

    __tablename__ = "alert_mail"
    __table_args__ = (
        CheckConstraint(f"about in {MAIL_SUBJECTS}", name="about"),
        CheckConstraint(f"state in {MAIL_STATES}", name="state"),
        UniqueConstraint("alert_id", "about", "recipient"),
        Index("ix_alert_mail_due_at", "due_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_alert_mail_ended_at", "ended_at"),
    )

    alert_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("alert.id", ondelete="CASCADE"))
    about: Mapped[str]
    recipient: Mapped[str]
    message_id: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
