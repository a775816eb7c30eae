"""Rejected rows that can be corrected and run again; where a file came from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("source_file", sa.Column("origin", postgresql.JSONB(), server_default="{}", nullable=False))
    op.add_column("ingest_run", sa.Column("parked", sa.Integer(), server_default="0", nullable=False))
    op.add_column("ingest_run", sa.Column("numbers_are_plain", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("ingest_run", sa.Column("rerun_of", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_ingest_run_rerun_of_ingest_run"), "ingest_run", "ingest_run", ["rerun_of"], ["id"], ondelete="CASCADE"
    )
    op.create_index(op.f("ix_ingest_run_rerun_of"), "ingest_run", ["rerun_of"])
    op.create_check_constraint(op.f("ck_ingest_run_parked"), "ingest_run", "parked <= rejected")
    op.add_column(
        "rejected_row", sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False)
    )
    op.create_unique_constraint(op.f("uq_rejected_row_id"), "rejected_row", ["id"])
    op.add_column("rejected_row", sa.Column("parked", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("rejected_row", sa.Column("state", sa.Text(), server_default="open", nullable=False))
    op.add_column("rejected_row", sa.Column("corrected", postgresql.JSONB(), nullable=True))
    op.add_column("rejected_row", sa.Column("corrected_by", sa.Text(), nullable=True))
    op.add_column("rejected_row", sa.Column("judged_by", sa.Uuid(), nullable=True))
    op.add_column("rejected_row", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.create_foreign_key(
        op.f("fk_rejected_row_judged_by_ingest_run"), "rejected_row", "ingest_run", ["judged_by"], ["id"],
        ondelete="SET NULL",
    )  # fmt: skip
    op.create_index(op.f("ix_rejected_row_judged_by"), "rejected_row", ["judged_by"])
    op.create_index(
        "ix_rejected_row_parked", "rejected_row", ["run_id"], postgresql_where=sa.text("parked AND state = 'open'")
    )
    op.create_check_constraint(op.f("ck_rejected_row_state"), "rejected_row", "state in ('open', 'taken', 'dismissed')")


def downgrade() -> None:
    """Undo."""
    for column in ("id", "parked", "state", "corrected", "corrected_by", "judged_by", "revision"):
        op.drop_column("rejected_row", column)
    for column in ("parked", "numbers_are_plain", "rerun_of"):
        op.drop_column("ingest_run", column)
    op.drop_column("source_file", "origin")
