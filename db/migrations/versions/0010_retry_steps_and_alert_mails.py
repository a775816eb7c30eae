"""Retry steps of schedules; how fast jobs read rows; mails about alerts, kept until they are sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("schedule", sa.Column("retry_steps", postgresql.JSONB(), nullable=True))
    op.add_column("job", sa.Column("retry_step", sa.Integer(), server_default="0", nullable=False))
    op.add_column("job", sa.Column("rows_per_s", sa.Float(), nullable=True))
    op.create_table(
        "alert_mail",
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("about in ('wrong', 'well')", name=op.f("ck_alert_mail_about")),
        sa.CheckConstraint("state in ('waiting', 'sent', 'undeliverable')", name=op.f("ck_alert_mail_state")),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alert.id"], name=op.f("fk_alert_mail_alert_id_alert"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_mail")),
        sa.UniqueConstraint("alert_id", "about", "recipient", name=op.f("uq_alert_mail_alert_id_about_recipient")),
    )
    waiting = sa.text("state = 'waiting'")
    op.create_index("ix_alert_mail_due_at", "alert_mail", ["due_at"], postgresql_where=waiting)
    op.create_index("ix_alert_mail_ended_at", "alert_mail", ["ended_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("alert_mail")
    op.drop_column("job", "rows_per_s")
    op.drop_column("job", "retry_step")
    op.drop_column("schedule", "retry_steps")
