"""The job table becomes the queue: priority, due time, stages, losses, its log, switches, dispatchers and schedules."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def _column(name: str, type_: Any, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, type_, server_default=default, nullable=default is None)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=None if nullable else _NOW, nullable=nullable)


def upgrade() -> None:
    """Apply."""
    _create_schedule()
    for column in (
        _column("priority", sa.Integer(), "0"),
        _time("run_at"),
        _column("worker", sa.Uuid()),
        _column("schedule_id", sa.Uuid()),
        _column("stage", sa.Integer(), "0"),
        _column("failures", sa.Integer(), "0"),
        _column("losses", sa.Integer(), "0"),
        _column("trace_context", sa.Text()),
        _time("changed_at"),
    ):
        op.add_column("job", column)
    op.create_foreign_key(
        op.f("fk_job_schedule_id_schedule"), "job", "schedule", ["schedule_id"], ["id"], ondelete="SET NULL"
    )
    due: list[Any] = ["kind", sa.text("priority DESC"), "run_at", "id"]
    op.create_index("ix_job_due", "job", due, postgresql_where=sa.text("state = 'waiting'"))
    suspect = sa.text("state = 'waiting' AND losses >= 2")
    op.create_index("ix_job_suspect", "job", ["kind"], postgresql_where=suspect)
    op.create_index("ix_job_running", "job", ["worker"], postgresql_where=sa.text("state = 'running'"))
    op.create_index("ix_job_changed_at", "job", ["changed_at"])
    day_done = sa.text("kind = 'day' AND state = 'done'")
    op.create_index("ix_job_day_done", "job", ["finished_at"], postgresql_where=day_done)
    taken = sa.text("state <> 'failed'")
    op.create_index("ix_ingest_run_finished_at", "ingest_run", ["finished_at"], postgresql_where=taken)
    # A job that ran under the schema before has no dispatcher any more: it waits, and its next attempt fences the old.
    op.execute("UPDATE job SET state = 'waiting', waiting_key = NULL WHERE state = 'running' AND kind <> 'day'")
    # The stages of a day are written otherwise now, so an unfinished one cannot go on.
    ended = "error = 'interrupted by an upgrade; start it again', finished_at = now()"
    op.execute(f"UPDATE job SET state = 'failed', {ended} WHERE state = 'running'")
    op.execute("UPDATE job SET steps = '[]' WHERE kind = 'day'")
    _create_log_and_control()
    for statement in (
        "DROP TABLE IF EXISTS pgqueuer, pgqueuer_log, pgqueuer_statistics, pgqueuer_schedules CASCADE",
        "DROP FUNCTION IF EXISTS fn_pgqueuer_changed CASCADE",
        "DROP TYPE IF EXISTS pgqueuer_status, pgqueuer_statistics_status CASCADE",
    ):
        op.execute(statement)


def _create_schedule() -> None:
    op.create_table(
        "schedule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(), server_default="{}", nullable=False),
        _column("priority", sa.Integer(), "0"),
        sa.Column("cron", sa.Text(), nullable=False),
        _column("time_zone", sa.Text(), "UTC"),
        _column("missed_runs", sa.Text(), "run_once"),
        _column("enabled", sa.Boolean(), "true"),
        _time("next_run_at", nullable=True),
        _time("last_run_at", nullable=True),
        _column("last_job_id", sa.Uuid()),
        _column("last_error", sa.Text()),
        _time("created_at"),
        _time("updated_at"),
        sa.CheckConstraint("missed_runs in ('skip', 'run_once', 'run_all')", name=op.f("ck_schedule_missed_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
        sa.UniqueConstraint("name", name=op.f("uq_schedule_name")),
    )
    op.create_index("ix_schedule_next_run_at", "schedule", ["next_run_at"], postgresql_where=sa.text("enabled"))


def _create_log_and_control() -> None:
    op.create_table(
        "job_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        _time("at"),
        _column("level", sa.Text(), "info"),
        sa.Column("message", sa.Text(), nullable=False),
        sa.CheckConstraint("level in ('info', 'warning', 'error')", name=op.f("ck_job_log_level")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_log_job_id_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_log")),
    )
    op.create_index("ix_job_log_job_id_id", "job_log", ["job_id", "id"])
    op.create_table(
        "kind_control",
        sa.Column("kind", sa.Text(), nullable=False),
        _column("paused", sa.Boolean(), "false"),
        _column("concurrency", sa.Integer()),
        _column("changed_by", sa.Text(), "system"),
        _time("changed_at"),
        sa.CheckConstraint("concurrency >= 0", name=op.f("ck_kind_control_concurrency")),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_kind_control")),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        _column("state", sa.Text(), "serving"),
        _column("beat", sa.BigInteger(), "0"),
        _time("started_at"),
        _time("heartbeat_at"),
        sa.CheckConstraint("state in ('serving', 'draining')", name=op.f("ck_worker_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )


def downgrade() -> None:
    """Undo. Jobs that run go back to waiting."""
    for table in ("worker", "kind_control", "job_log"):
        op.drop_table(table)
    op.execute("UPDATE job SET state = 'waiting', waiting_key = NULL WHERE state = 'running' AND kind <> 'day'")
    op.drop_index("ix_ingest_run_finished_at", table_name="ingest_run")
    for index in ("ix_job_suspect", "ix_job_day_done", "ix_job_changed_at", "ix_job_running", "ix_job_due"):
        op.drop_index(index, table_name="job")
    op.drop_constraint(op.f("fk_job_schedule_id_schedule"), "job", type_="foreignkey")
    for column in (
        "changed_at",
        "trace_context",
        "losses",
        "failures",
        "stage",
        "schedule_id",
        "worker",
        "run_at",
        "priority",
    ):
        op.drop_column("job", column)
    op.drop_table("schedule")
