"""The job: one request to do work, with its state, attempts and progress. The queue carries only its id."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed

JOB_STATES = ("waiting", "running", "done", "failed", "held", "cancelled")
FINAL_STATES = ("done", "failed", "cancelled")


class Job(Keyed, Base):
    """At most one job waits per `waiting_key` and at most one runs per `running_key`.

    `attempts` is counted when a run starts, so a run that kills its worker counts too; it also fences: a write of
    attempt n is refused once attempt n + 1 has begun. A parent job holds the `steps` still to come and runs nothing
    itself.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(f"state in {JOB_STATES}", name="state"),
        CheckConstraint("progress >= 0 and progress <= 1", name="progress"),
        Index("uq_job_waiting_key", "waiting_key", unique=True, postgresql_where=text("state = 'waiting'")),
        Index("uq_job_running_key", "running_key", unique=True, postgresql_where=text("state = 'running'")),
        Index("ix_job_state_created_at", "state", "created_at"),
        UniqueConstraint("requested_by", "idempotency_key"),
    )

    kind: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="waiting")
    waiting_key: Mapped[str | None]
    running_key: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"), index=True)
    steps: Mapped[list[Any]] = mapped_column(server_default="[]")
    attempts: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int] = mapped_column(server_default="4")
    progress: Mapped[float] = mapped_column(server_default="0")
    step: Mapped[str] = mapped_column(server_default="")
    message: Mapped[str] = mapped_column(server_default="")
    parameters: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    traceback: Mapped[str | None]
    requested_by: Mapped[str] = mapped_column(server_default="system")
    cancel_requested: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
