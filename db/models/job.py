"""Jobs and what governs them: the job itself (which is also the queue), its log, its kind's switches, the dispatchers
that run jobs, and the schedules that start them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed, Stamped

JOB_STATES = ("waiting", "running", "done", "failed", "held", "cancelled")
# `failed` by its own fault, `held` because it took its worker down again and again: both wait for a person.
DEAD_STATES = ("failed", "held")
FINAL_STATES = ("done", *DEAD_STATES, "cancelled")
MISSED_RUN_POLICIES = ("skip", "run_once", "run_all")


def source_of(parameters: Mapping[str, Any]) -> str | None:
    """The code of the source that a job with these parameters reads; None when it reads none."""
    source = parameters.get("source")
    return source if isinstance(source, str) else None


class Job(Keyed, Base):
    """One request to do work. A waiting row is the queue's entry; a running row belongs to the dispatcher `worker`.

    At most one job waits per `waiting_key` and at most one runs per `running_key`. `attempts` counts every start and
    fences: a write of attempt n is refused once the job has moved on. `failures` are attempts that ended in a passing
    fault, `losses` attempts whose process died; each has a limit of its own. `retry_step` counts the retry steps of its
    schedule that are used up. `rows_per_s` is how fast its work goes, where that counts rows. A parent runs nothing
    itself: `steps` holds its stages, `stage` the one it is in; of a child, `stage` is the parent's stage it belongs to.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(f"state in {JOB_STATES}", name="state"),
        CheckConstraint("progress >= 0 and progress <= 1", name="progress"),
        Index("uq_job_waiting_key", "waiting_key", unique=True, postgresql_where=text("state = 'waiting'")),
        Index("uq_job_running_key", "running_key", unique=True, postgresql_where=text("state = 'running'")),
        Index("ix_job_due", "kind", text("priority DESC"), "run_at", "id", postgresql_where=text("state = 'waiting'")),
        Index("ix_job_suspect", "kind", postgresql_where=text("state = 'waiting' AND losses >= 2")),
        Index("ix_job_running", "worker", postgresql_where=text("state = 'running'")),
        Index("ix_job_state_created_at", "state", "created_at"),
        Index("ix_job_changed_at", "changed_at"),
        Index("ix_job_day_done", "finished_at", postgresql_where=text("kind = 'day' AND state = 'done'")),
        Index(
            "ix_job_source_created_at",
            text("coalesce(parameters ->> 'source', 'upload')"),
            "created_at",
            postgresql_where=text("kind = 'ingest'"),
        ),
        UniqueConstraint("requested_by", "idempotency_key"),
    )

    kind: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="waiting")
    priority: Mapped[int] = mapped_column(server_default="0")
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    worker: Mapped[uuid.UUID | None]
    waiting_key: Mapped[str | None]
    running_key: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"), index=True)
    schedule_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("schedule.id", ondelete="SET NULL"))
    steps: Mapped[list[Any]] = mapped_column(server_default="[]")
    stage: Mapped[int] = mapped_column(server_default="0")
    attempts: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[int] = mapped_column(server_default="0")
    losses: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int] = mapped_column(server_default="4")
    retry_step: Mapped[int] = mapped_column(server_default="0")
    progress: Mapped[float] = mapped_column(server_default="0")
    rows_per_s: Mapped[float | None]
    step: Mapped[str] = mapped_column(server_default="")
    message: Mapped[str] = mapped_column(server_default="")
    parameters: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    traceback: Mapped[str | None]
    trace_context: Mapped[str | None]
    requested_by: Mapped[str] = mapped_column(server_default="system")
    cancel_requested: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())

    @property
    def source(self) -> str | None:
        """The code of the source it reads."""
        return source_of(self.parameters)


class JobLog(Base):
    """A line an attempt wrote, kept as long as its job."""

    __tablename__ = "job_log"
    __table_args__ = (
        CheckConstraint("level in ('info', 'warning', 'error')", name="level"),
        Index("ix_job_log_job_id_id", "job_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    level: Mapped[str] = mapped_column(server_default="info")
    message: Mapped[str]


class KindControl(Base):
    """What an operator has set for a kind of job; a kind without a row runs as the code says.

    `concurrency` replaces the kind's own limit of jobs that run at once (0: no limit); null leaves it.
    """

    __tablename__ = "kind_control"
    __table_args__ = (CheckConstraint("concurrency >= 0", name="concurrency"),)

    kind: Mapped[str] = mapped_column(primary_key=True)
    paused: Mapped[bool] = mapped_column(server_default="false")
    concurrency: Mapped[int | None]
    changed_by: Mapped[str] = mapped_column(server_default="system")
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Worker(Base):
    """One incarnation of a dispatcher. Its running jobs are put back once it has not been heard of for too long.

    `actor` stays the same when Ray restarts the dispatcher, so that the new incarnation knows the old one is gone.
    """

    __tablename__ = "worker"
    __table_args__ = (CheckConstraint("state in ('serving', 'draining')", name="state"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    actor: Mapped[str]
    name: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="serving")
    beat: Mapped[int] = mapped_column(BigInteger, server_default="0")
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Schedule(Keyed, Stamped, Base):
    """Starts a job at the times of a cron expression in a time zone.

    `missed_runs` says what to do about times that passed while nothing ran: skip them, run once, or run each.
    `retry_steps` are times of the day or delays at which a job it started is tried again; null leaves it to the
    settings. `revision` counts what people changed, not runs.
    """

    __tablename__ = "schedule"
    __table_args__ = (
        CheckConstraint(f"missed_runs in {MISSED_RUN_POLICIES}", name="missed_runs"),
        UniqueConstraint("name"),
        Index("ix_schedule_next_run_at", "next_run_at", postgresql_where=text("enabled")),
    )

    name: Mapped[str]
    kind: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    priority: Mapped[int] = mapped_column(server_default="0")
    cron: Mapped[str]
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    missed_runs: Mapped[str] = mapped_column(server_default="run_once")
    retry_steps: Mapped[list[Any] | None]
    enabled: Mapped[bool] = mapped_column(server_default="true")
    next_run_at: Mapped[datetime | None]
    last_run_at: Mapped[datetime | None]
    last_job_id: Mapped[uuid.UUID | None]
    last_error: Mapped[str | None]
    revision: Mapped[int] = mapped_column(server_default="1")
