"""Access: rotating refresh tokens, keys of machines, the audit log, and revisions of what people change."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import audit

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Table -> its columns that the audit log never shows.
WATCHED: dict[str, tuple[str, ...]] = {
    "user_account": ("password_hash",),
    "source": ("config", "state"),
    "schedule": (),
    "kind_control": (),
    "api_key": ("hash",),
}
REVISED = ("user_account", "source", "schedule")


def _time(name: str, *, default: bool = False, nullable: bool = False) -> sa.Column[Any]:
    now = sa.text("now()") if default else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=now, nullable=nullable)


def upgrade() -> None:
    """Apply."""
    for table in REVISED:
        op.add_column(table, sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.add_column(
        "user_account", sa.Column("must_change_password", sa.Boolean(), server_default="false", nullable=False)
    )
    _create_tokens()
    _create_api_key()
    _create_audit_entry()
    connection = op.get_bind()
    audit.install(connection)
    for table, hidden in WATCHED.items():
        audit.watch(connection, table, hidden)


def _create_tokens() -> None:
    op.create_table(
        "token_family",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("client", sa.Text(), server_default="", nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        _time("created_at", default=True),
        _time("last_used_at", default=True),
        _time("expires_at"),
        _time("revoked_at", nullable=True),
        sa.Column("revoked_for", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_token_family_user_id_user_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_family")),
    )
    op.create_index(op.f("ix_token_family_user_id"), "token_family", ["user_id"])
    op.create_index(op.f("ix_token_family_expires_at"), "token_family", ["expires_at"])
    op.create_table(
        "refresh_token",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("family_id", sa.Uuid(), nullable=False),
        _time("created_at", default=True),
        _time("expires_at"),
        _time("used_at", nullable=True),
        sa.ForeignKeyConstraint(
            ["family_id"], ["token_family.id"], name=op.f("fk_refresh_token_family_id_token_family"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_refresh_token")),
    )
    op.create_index(op.f("ix_refresh_token_family_id"), "refresh_token", ["family_id"])
    op.create_index(op.f("ix_refresh_token_expires_at"), "refresh_token", ["expires_at"])


def _create_api_key() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        _time("expires_at", nullable=True),
        _time("last_used_at", nullable=True),
        _time("revoked_at", nullable=True),
        _time("created_at", default=True),
        _time("updated_at", default=True),
        sa.CheckConstraint("role in ('viewer', 'operator', 'manager', 'admin')", name=op.f("ck_api_key_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("name", name=op.f("uq_api_key_name")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_key_hash")),
    )


def _create_audit_entry() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        _time("at", default=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint("action in ('insert', 'update', 'delete')", name=op.f("ck_audit_entry_action")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
    op.create_index("ix_audit_entry_entity_entity_id_id", "audit_entry", ["entity", "entity_id", "id"])
    op.create_index("ix_audit_entry_actor_id", "audit_entry", ["actor", "id"])
    op.create_index("ix_audit_entry_at", "audit_entry", ["at"])


def downgrade() -> None:
    """Undo. The audit log goes with its table."""
    connection = op.get_bind()
    for table in WATCHED:
        audit.unwatch(connection, table)
    audit.remove(connection)
    for table in ("audit_entry", "api_key", "refresh_token", "token_family"):
        op.drop_table(table)
    op.drop_column("user_account", "must_change_password")
    for table in REVISED:
        op.drop_column(table, "revision")
