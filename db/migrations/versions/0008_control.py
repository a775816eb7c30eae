"""Mappings of the plant's own; sources that are deleted and kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import audit

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("source", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "mapping",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", postgresql.JSONB(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mapping")),
    )
    op.create_index("uq_mapping_name", "mapping", ["name"], unique=True, postgresql_where=sa.text("deleted_at IS NULL"))
    audit.watch(op.get_bind(), "mapping")


def downgrade() -> None:
    """Undo."""
    audit.unwatch(op.get_bind(), "mapping")
    op.drop_table("mapping")
    op.drop_column("source", "deleted_at")
