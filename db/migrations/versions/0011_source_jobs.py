"""The newest jobs of a source are found without looking at those of others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INDEX = "ix_job_source_created_at"


def upgrade() -> None:
    """Apply."""
    source = sa.text("coalesce(parameters ->> 'source', 'upload')")
    op.create_index(INDEX, "job", [source, "created_at"], postgresql_where=sa.text("kind = 'ingest'"))


def downgrade() -> None:
    """Undo."""
    op.drop_index(INDEX, table_name="job")
