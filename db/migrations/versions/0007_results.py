"""What runs find: stock parameters, action messages, pegging; the registry of models; alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import audit

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WATCHED = ("alert", "model_version")


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "capacity_load",
        sa.Column(
            "load_share",
            sa.Double(),
            sa.Computed("load_hours / nullif(capacity_hours, 0)", persisted=True),
            nullable=True,
        ),
    )
    op.create_index(
        "ix_ingest_run_source_finished_at",
        "ingest_run",
        ["source", "finished_at"],
        postgresql_where=sa.text("state <> 'failed'"),
    )
    _stock_parameter()
    _action_message()
    _pegging()
    _model_version()
    _alert()
    for table in WATCHED:
        audit.watch(op.get_bind(), table)


def downgrade() -> None:
    """Undo."""
    for table in WATCHED:
        audit.unwatch(op.get_bind(), table)
    for table in ("alert", "model_version", "pegging", "action_message", "stock_parameter"):
        op.drop_table(table)
    op.drop_index("ix_ingest_run_source_finished_at", table_name="ingest_run")
    op.drop_column("capacity_load", "load_share")


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_run_id_planning_run")
    return sa.ForeignKeyConstraint(["run_id"], ["planning_run.id"], name=name, ondelete="CASCADE")


def _of_order(table: str, column: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_planned_order")
    return sa.ForeignKeyConstraint([column], ["planned_order.id"], name=name, ondelete="CASCADE")


def _of(table: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([f"{other}_id"], [f"{other}.id"], name=op.f(f"fk_{table}_{other}_id_{other}"))


def _stock_parameter() -> None:
    op.create_table(
        "stock_parameter",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("abc", sa.Text(), nullable=True),
        sa.Column("xyz", sa.Text(), nullable=True),
        sa.Column("demand_class", sa.Text(), nullable=True),
        sa.Column("service_level", sa.Float(), nullable=True),
        sa.Column("daily_demand_mean", sa.Float(), nullable=False),
        sa.Column("daily_demand_sd", sa.Float(), nullable=True),
        sa.Column("lead_time_days", sa.Integer(), nullable=False),
        sa.Column("safety_stock", sa.Float(), nullable=False),
        sa.Column("reorder_point", sa.Float(), nullable=False),
        sa.Column("eoq", sa.Float(), nullable=True),
        sa.Column("on_hand", sa.Float(), nullable=False),
        sa.Column("available", sa.Float(), nullable=False),
        sa.Column(
            "below_safety_stock",
            sa.Boolean(),
            sa.Computed("available < safety_stock", persisted=True),
            nullable=False,
        ),
        sa.Column("coverage_days", sa.Float(), nullable=True),
        sa.Column("turnover", sa.Float(), nullable=True),
        sa.Column("stock_out_on", sa.Date(), nullable=True),
        sa.Column("stock_value", sa.Float(), nullable=True),
        _of_run("stock_parameter"),
        _of("stock_parameter", "item"),
        sa.PrimaryKeyConstraint("run_id", "item_id", name=op.f("pk_stock_parameter")),
    )
    op.create_index("ix_stock_parameter_run_id_stock_out_on", "stock_parameter", ["run_id", "stock_out_on"])


def _action_message() -> None:
    op.create_table(
        "action_message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("open_order", sa.Text(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("from_date", sa.Date(), nullable=True),
        sa.Column("to_date", sa.Date(), nullable=True),
        sa.Column("from_quantity", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("to_quantity", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "kind in ('new', 'expedite', 'defer', 'increase', 'reduce', 'cancel')", name=op.f("ck_action_message_kind")
        ),
        sa.CheckConstraint(
            "priority in ('critical', 'high', 'medium', 'low')", name=op.f("ck_action_message_priority")
        ),
        _of_run("action_message"),
        _of("action_message", "item"),
        _of_order("action_message", "order_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_message")),
    )
    op.create_index("ix_action_message_run_id_rank", "action_message", ["run_id", "rank"])
    op.create_index("ix_action_message_run_id_item_id", "action_message", ["run_id", "item_id"])
    _index_where_set("action_message", "order_id")


def _index_where_set(table: str, column: str) -> None:
    op.create_index(f"ix_{table}_{column}", table, [column], postgresql_where=sa.text(f"{column} IS NOT NULL"))


def _pegging() -> None:
    op.create_table(
        "pegging",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("supply_kind", sa.Text(), nullable=False),
        sa.Column("supply", sa.Text(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("demand_kind", sa.Text(), nullable=False),
        sa.Column("demand", sa.Text(), nullable=True),
        sa.Column("demand_order_id", sa.Uuid(), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.CheckConstraint(
            "supply_kind in ('stock', 'open_order', 'planned_order')", name=op.f("ck_pegging_supply_kind")
        ),
        sa.CheckConstraint(
            "demand_kind in ('firm_order', 'forecast', 'planned_order', 'safety_stock')",
            name=op.f("ck_pegging_demand_kind"),
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_pegging_quantity")),
        _of_run("pegging"),
        _of("pegging", "item"),
        _of_order("pegging", "order_id"),
        _of_order("pegging", "demand_order_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pegging")),
    )
    op.create_index("ix_pegging_run_id_item_id", "pegging", ["run_id", "item_id"])
    _index_where_set("pegging", "order_id")
    _index_where_set("pegging", "demand_order_id")


def _model_version() -> None:
    op.create_table(
        "model_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), server_default="challenger", nullable=False),
        sa.Column("artefact_uri", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("quantiles", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("data_from", sa.Date(), nullable=True),
        sa.Column("data_to", sa.Date(), nullable=True),
        sa.Column("metrics", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("git_revision", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("promoted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("promoted_by", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.CheckConstraint("kind in ('statistical', 'chronos')", name=op.f("ck_model_version_kind")),
        sa.CheckConstraint("stage in ('challenger', 'champion', 'retired')", name=op.f("ck_model_version_stage")),
        sa.CheckConstraint("version > 0", name=op.f("ck_model_version_version")),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_model_version_sha256")),
        sa.CheckConstraint("data_to >= data_from", name=op.f("ck_model_version_data_to")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_model_version_job_id_job"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_version")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_model_version_name_version")),
    )
    op.create_index(op.f("ix_model_version_created_at"), "model_version", ["created_at"])
    op.create_index(op.f("ix_model_version_job_id"), "model_version", ["job_id"])
    op.create_index(
        "uq_model_version_champion",
        "model_version",
        ["name"],
        unique=True,
        postgresql_where=sa.text("stage = 'champion'"),
    )


def _alert() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("urgency", sa.Float(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=True),
        sa.Column("supplier_id", sa.Uuid(), nullable=True),
        sa.Column("work_centre_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("count", sa.Integer(), server_default="1", nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(subject, '') || ' ' || coalesce(message, ''))", persisted=True),
            nullable=False,
        ),
        sa.CheckConstraint("severity in ('info', 'warning', 'critical')", name=op.f("ck_alert_severity")),
        sa.CheckConstraint("state in ('open', 'acknowledged', 'resolved')", name=op.f("ck_alert_state")),
        _of("alert", "item"),
        _of("alert", "supplier"),
        _of("alert", "work_centre"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index(
        "uq_alert_kind_subject",
        "alert",
        ["kind", "subject"],
        unique=True,
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.create_index("ix_alert_state_urgency", "alert", ["state", "urgency"])
    _index_where_set("alert", "item_id")
