"""Who gets in, and what they changed: log-ins and their refresh tokens, keys of machines, the audit log."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed, Stamped
from db.models.control import ROLES

AUDIT_ACTIONS = ("insert", "update", "delete")


class TokenFamily(Keyed, Base):
    """One log-in: the refresh tokens that followed from it. Revoked, none of them is worth anything."""

    __tablename__ = "token_family"

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    client: Mapped[str] = mapped_column(server_default="")
    address: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]
    revoked_for: Mapped[str | None]


class RefreshToken(Base):
    """A token by its SHA-256. It is exchanged once; one that comes again was stolen, and ends its family."""

    __tablename__ = "refresh_token"

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    family_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("token_family.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class ApiKey(Keyed, Stamped, Base):
    """A machine's key by its SHA-256; `prefix` is what a list may show of it."""

    __tablename__ = "api_key"
    __table_args__ = (CheckConstraint(f"role in {ROLES}", name="role"),)

    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    prefix: Mapped[str]
    hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AuditEntry(Base):
    """One change of one row, written by the database's triggers (db/audit.py) and never by code of ours.

    `before` and `after` hold the whole row of a deletion and an insertion, of an update the columns that changed.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (
        CheckConstraint(f"action in {AUDIT_ACTIONS}", name="action"),
        Index("ix_audit_entry_entity_entity_id_id", "entity", "entity_id", "id"),
        Index("ix_audit_entry_actor_id", "actor", "id"),
        Index("ix_audit_entry_at", "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    request_id: Mapped[str | None]
    action: Mapped[str]
    entity: Mapped[str]
    entity_id: Mapped[str]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
