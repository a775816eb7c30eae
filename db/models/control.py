"""Control tables: users, sources, the files they delivered, ingestion runs and rejected rows."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed, Retired, Revised, Stamped

ROLES = ("viewer", "operator", "manager", "admin")


class UserAccount(Keyed, Stamped, Revised, Base):
    """Who may log in. Only the argon2 hash of the password is kept; e-mail is stored in lower case."""

    __tablename__ = "user_account"
    __table_args__ = (
        CheckConstraint(f"role in {ROLES}", name="role"),
        CheckConstraint("email = lower(email)", name="email"),
    )

    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str]
    must_change_password: Mapped[bool] = mapped_column(server_default="false")
    active: Mapped[bool] = mapped_column(server_default="true")


class Source(Keyed, Stamped, Retired, Base):
    """A configured connector. `rules` map file patterns to mappings, in the order files must be read.

    `state` is the connector's own resume state; it moves only in the transaction that stores the rows before it.
    `revision` counts what people changed, not what runs moved.
    """

    __tablename__ = "source"

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    connector: Mapped[str]
    config: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    rules: Mapped[list[Any]] = mapped_column(server_default="[]")
    state: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    active: Mapped[bool] = mapped_column(server_default="true")
    revision: Mapped[int] = mapped_column(server_default="1")


class SavedMapping(Keyed, Stamped, Revised, Retired, Base):
    """A mapping of the plant's own, beside those that come with the product. A deleted one leaves its name free."""

    __tablename__ = "mapping"
    __table_args__ = (Index("uq_mapping_name", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),)

    name: Mapped[str]
    definition: Mapped[dict[str, Any]]


class SourceFile(Keyed, Base):
    """The bytes of a delivered file, kept so that it can be read again. `origin` says where it came from.

    An upload that is `received` waits to be ingested. What a connector gave is kept in the transaction of its rows.
    """

    __tablename__ = "source_file"
    __table_args__ = (
        UniqueConstraint("source", "name", "sha256"),
        CheckConstraint("state in ('received', 'ingested', 'failed')", name="state"),
    )

    source: Mapped[str]
    mapping: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="received")

    sha256: Mapped[str]
    name: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    origin: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())


class IngestRun(Keyed, Base):
    """One reading of one file, or of the rows of one stream, through one mapping: read = taken + merged + rejected.

    `parked` of the rejected rows wait for what they refer to. A run of rejected rows again is a `rerun_of` the run they
    came from. `numbers_are_plain`: the rows as they stood have numbers and dates of the usual form, not the mapping's.
    """

    __tablename__ = "ingest_run"
    __table_args__ = (
        CheckConstraint("state in ('done', 'failed', 'unchanged')", name="state"),
        CheckConstraint("read = taken + merged + rejected", name="accounted"),
        CheckConstraint("parked <= rejected", name="parked"),
        UniqueConstraint("job_id", "source_file_id", "mapping"),
        Index("ix_ingest_run_finished_at", "finished_at", postgresql_where=text("state <> 'failed'")),
        Index("ix_ingest_run_source_finished_at", "source", "finished_at", postgresql_where=text("state <> 'failed'")),
    )

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("job.id"))
    source_file_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("source_file.id"), index=True)
    source: Mapped[str] = mapped_column(index=True)
    file: Mapped[str]
    mapping: Mapped[str]
    target: Mapped[str]
    state: Mapped[str]
    read: Mapped[int] = mapped_column(server_default="0")
    taken: Mapped[int] = mapped_column(server_default="0")
    merged: Mapped[int] = mapped_column(server_default="0")
    rejected: Mapped[int] = mapped_column(server_default="0")
    parked: Mapped[int] = mapped_column(server_default="0")
    numbers_are_plain: Mapped[bool] = mapped_column(server_default="false")
    rerun_of: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("ingest_run.id", ondelete="CASCADE"), index=True)
    error: Mapped[str | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RejectedRow(Base):
    """A row that was not taken: its line in the file, the field at fault, the reason, and the row as it stood.

    `open` until a later run takes it, as it stood or as `corrected` (header to text), or somebody dismisses it.
    `judged_by` is the run that last looked at it, if not the one it came from. `parked`: all that is wrong with it is
    that what it refers to is not there yet.
    """

    __tablename__ = "rejected_row"
    __table_args__ = (
        CheckConstraint("state in ('open', 'taken', 'dismissed')", name="state"),
        Index("ix_rejected_row_parked", "run_id", postgresql_where=text("parked AND state = 'open'")),
    )

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("ingest_run.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, server_default=text("gen_random_uuid()"))
    field: Mapped[str]
    reason: Mapped[str]
    raw: Mapped[str]
    parked: Mapped[bool] = mapped_column(server_default="false")
    state: Mapped[str] = mapped_column(server_default="open")
    corrected: Mapped[dict[str, Any] | None]
    corrected_by: Mapped[str | None]
    judged_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("ingest_run.id", ondelete="SET NULL"), index=True)
    revision: Mapped[int] = mapped_column(server_default="1")
