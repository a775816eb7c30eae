"""Settings of the plant, and versions of the data that caches are kept under."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import audit, versions

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Tables that something slow is computed from.
WATCHED = (
    *("item", "bom_line", "supplier", "supplier_term", "routing_operation", "work_centre", "unit_conversion"),
    *("stock", "open_order", "firm_order", "calendar_day", "plant_setting", "planning_run", "forecast_run"),
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "plant_setting",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=True),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_plant_setting")),
    )
    op.create_table(
        "data_version",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "slot", name=op.f("pk_data_version")),
    )
    connection = op.get_bind()
    audit.watch(connection, "plant_setting")
    versions.install(connection)
    for table in WATCHED:
        versions.watch(connection, table)


def downgrade() -> None:
    """Undo."""
    connection = op.get_bind()
    for table in WATCHED:
        versions.unwatch(connection, table)
    versions.remove(connection)
    audit.unwatch(connection, "plant_setting")
    op.drop_table("data_version")
    op.drop_table("plant_setting")
