"""First schema: master data, series, results, control, and jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from db import timeseries

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    connection = op.get_bind()
    timescale = timeseries.detect_timescale(connection)
    hypertables = timescale is not None
    op.create_table(
        "capability",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_capability")),
    )
    op.create_table(
        "demand",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("revenue", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.PrimaryKeyConstraint("item_id", "feed", "day", name=op.f("pk_demand")),
        **timeseries.partition_option("demand", hypertables=hypertables),
    )
    op.create_table(
        "forecast",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("week", sa.Date(), nullable=False),
        sa.Column("mean", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("q10", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("q25", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("q50", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("q75", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("q90", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "item_id", "week", name=op.f("pk_forecast")),
        **timeseries.partition_option("forecast", hypertables=hypertables),
    )
    op.create_table(
        "item",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), server_default="pcs", nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("cost", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("price", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("lead_time_days", sa.Integer(), nullable=True),
        sa.Column("min_order_qty", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("order_multiple", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("safety_stock", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("service_level", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind in ('finished', 'semi_finished', 'component', 'raw_material', 'packaging', 'trading_good')",
            name=op.f("ck_item_kind"),
        ),
        sa.CheckConstraint("lead_time_days >= 0", name=op.f("ck_item_lead_time_days")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item")),
        sa.UniqueConstraint("code", name=op.f("uq_item_code")),
    )
    op.create_index("ix_item_kind_code", "item", ["kind", "code"], unique=False)
    op.create_table(
        "job",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("waiting_key", sa.Text(), nullable=True),
        sa.Column("running_key", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("steps", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="4", nullable=False),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("step", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("requested_by", sa.Text(), server_default="system", nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "state in ('waiting', 'running', 'done', 'failed', 'held', 'cancelled')", name=op.f("ck_job_state")
        ),
        sa.CheckConstraint("progress >= 0 and progress <= 1", name=op.f("ck_job_progress")),
        sa.ForeignKeyConstraint(["parent_id"], ["job.id"], name=op.f("fk_job_parent_id_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("requested_by", "idempotency_key", name=op.f("uq_job_requested_by_idempotency_key")),
    )
    op.create_index(op.f("ix_job_parent_id"), "job", ["parent_id"], unique=False)
    op.create_index("ix_job_state_created_at", "job", ["state", "created_at"], unique=False)
    op.create_index(
        "uq_job_running_key", "job", ["running_key"], unique=True, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index(
        "uq_job_waiting_key", "job", ["waiting_key"], unique=True, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_table(
        "sales_line",
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("price", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.PrimaryKeyConstraint("feed", "document", "item_id", "line", name=op.f("pk_sales_line")),
    )
    op.create_index("ix_sales_line_item_id_feed_day", "sales_line", ["item_id", "feed", "day"], unique=False)
    op.create_table(
        "source",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint("code", name=op.f("uq_source_code")),
    )
    op.create_table(
        "source_file",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("mapping", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="received", nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("state in ('received', 'ingested', 'failed')", name=op.f("ck_source_file_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_file")),
        sa.UniqueConstraint("source", "name", "sha256", name=op.f("uq_source_file_source_name_sha256")),
    )
    op.create_table(
        "supplier",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("lead_time_days", sa.Integer(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_supplier")),
        sa.UniqueConstraint("code", name=op.f("uq_supplier_code")),
    )
    op.create_table(
        "user_account",
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role in ('viewer', 'operator', 'manager', 'admin')", name=op.f("ck_user_account_role")),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_user_account_email")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("email", name=op.f("uq_user_account_email")),
    )
    op.create_table(
        "work_centre",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hours_per_day", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("efficiency", sa.Numeric(precision=20, scale=6), server_default="1", nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_centre")),
        sa.UniqueConstraint("code", name=op.f("uq_work_centre_code")),
    )
    op.create_table(
        "bom_line",
        sa.Column("parent_item_id", sa.Uuid(), nullable=False),
        sa.Column("component_item_id", sa.Uuid(), nullable=False),
        sa.Column("quantity_per", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("scrap_share", sa.Numeric(precision=20, scale=6), server_default="0", nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("parent_item_id <> component_item_id", name=op.f("ck_bom_line_not_itself")),
        sa.CheckConstraint("quantity_per > 0", name=op.f("ck_bom_line_quantity_per")),
        sa.CheckConstraint("scrap_share >= 0 and scrap_share < 1", name=op.f("ck_bom_line_scrap_share")),
        sa.ForeignKeyConstraint(["component_item_id"], ["item.id"], name=op.f("fk_bom_line_component_item_id_item")),
        sa.ForeignKeyConstraint(["parent_item_id"], ["item.id"], name=op.f("fk_bom_line_parent_item_id_item")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bom_line")),
        sa.UniqueConstraint(
            "parent_item_id", "component_item_id", name=op.f("uq_bom_line_parent_item_id_component_item_id")
        ),
    )
    op.create_index(op.f("ix_bom_line_component_item_id"), "bom_line", ["component_item_id"], unique=False)
    op.create_table(
        "firm_order",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_firm_order_item_id_item")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firm_order")),
        sa.UniqueConstraint("number", "line", name=op.f("uq_firm_order_number_line")),
    )
    op.create_index(op.f("ix_firm_order_item_id"), "firm_order", ["item_id"], unique=False)
    op.create_table(
        "forecast_run",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("horizon_weeks", sa.Integer(), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_forecast_run_job_id_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forecast_run")),
        sa.UniqueConstraint("job_id", name=op.f("uq_forecast_run_job_id")),
    )
    op.create_index(op.f("ix_forecast_run_created_at"), "forecast_run", ["created_at"], unique=False)
    op.create_table(
        "ingest_run",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("source_file_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("mapping", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("read", sa.Integer(), server_default="0", nullable=False),
        sa.Column("taken", sa.Integer(), server_default="0", nullable=False),
        sa.Column("merged", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rejected", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("state in ('done', 'failed', 'unchanged')", name=op.f("ck_ingest_run_state")),
        sa.CheckConstraint("read = taken + merged + rejected", name=op.f("ck_ingest_run_accounted")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_ingest_run_job_id_job")),
        sa.ForeignKeyConstraint(
            ["source_file_id"], ["source_file.id"], name=op.f("fk_ingest_run_source_file_id_source_file")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_run")),
        sa.UniqueConstraint(
            "job_id", "source_file_id", "mapping", name=op.f("uq_ingest_run_job_id_source_file_id_mapping")
        ),
    )
    op.create_index(op.f("ix_ingest_run_source"), "ingest_run", ["source"], unique=False)
    op.create_index(op.f("ix_ingest_run_source_file_id"), "ingest_run", ["source_file_id"], unique=False)
    op.create_table(
        "open_order",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("supplier_id", sa.Uuid(), nullable=True),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind in ('purchase', 'production')", name=op.f("ck_open_order_kind")),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_open_order_item_id_item")),
        sa.ForeignKeyConstraint(["supplier_id"], ["supplier.id"], name=op.f("fk_open_order_supplier_id_supplier")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_open_order")),
        sa.UniqueConstraint("number", "item_id", name=op.f("uq_open_order_number_item_id")),
    )
    op.create_index(op.f("ix_open_order_item_id"), "open_order", ["item_id"], unique=False)
    op.create_table(
        "routing_operation",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("work_centre_id", sa.Uuid(), nullable=False),
        sa.Column("setup_hours", sa.Numeric(precision=20, scale=6), server_default="0", nullable=False),
        sa.Column("unit_hours", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_routing_operation_item_id_item")),
        sa.ForeignKeyConstraint(
            ["work_centre_id"], ["work_centre.id"], name=op.f("fk_routing_operation_work_centre_id_work_centre")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routing_operation")),
        sa.UniqueConstraint("item_id", "sequence", name=op.f("uq_routing_operation_item_id_sequence")),
    )
    op.create_index(op.f("ix_routing_operation_work_centre_id"), "routing_operation", ["work_centre_id"], unique=False)
    op.create_table(
        "stock",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("location", sa.Text(), server_default="main", nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("on_hand", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("reserved", sa.Numeric(precision=20, scale=6), server_default="0", nullable=False),
        sa.Column("quarantined", sa.Numeric(precision=20, scale=6), server_default="0", nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_stock_item_id_item")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock")),
        sa.UniqueConstraint("item_id", "location", name=op.f("uq_stock_item_id_location")),
    )
    op.create_table(
        "supplier_term",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("supplier_id", sa.Uuid(), nullable=False),
        sa.Column("price", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("min_order_qty", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("order_multiple", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("lead_time_days", sa.Integer(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default="1", nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_supplier_term_item_id_item")),
        sa.ForeignKeyConstraint(["supplier_id"], ["supplier.id"], name=op.f("fk_supplier_term_supplier_id_supplier")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_supplier_term")),
        sa.UniqueConstraint("item_id", "supplier_id", name=op.f("uq_supplier_term_item_id_supplier_id")),
    )
    op.create_index(op.f("ix_supplier_term_supplier_id"), "supplier_term", ["supplier_id"], unique=False)
    op.create_table(
        "forecast_metric",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("demand_class", sa.Text(), nullable=False),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("wql", sa.Double(), nullable=True),
        sa.Column("rmsse", sa.Double(), nullable=True),
        sa.Column("mase", sa.Double(), nullable=True),
        sa.Column("wape", sa.Double(), nullable=True),
        sa.Column("bias", sa.Double(), nullable=True),
        sa.Column("coverage_80", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["forecast_run.id"], name=op.f("fk_forecast_metric_run_id_forecast_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "model", "demand_class", name=op.f("pk_forecast_metric")),
    )
    op.create_table(
        "forecast_series",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("demand_class", sa.Text(), nullable=False),
        sa.Column("adi", sa.Double(), nullable=True),
        sa.Column("cv2", sa.Double(), nullable=True),
        sa.Column("abc", sa.Text(), nullable=False),
        sa.Column("xyz", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("service_level", sa.Double(), nullable=False),
        sa.Column("lead_time_weeks", sa.Double(), nullable=False),
        sa.Column("lead_time_mean", sa.Double(), nullable=False),
        sa.Column("lead_time_quantile", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_forecast_series_item_id_item")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["forecast_run.id"], name=op.f("fk_forecast_series_run_id_forecast_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "item_id", name=op.f("pk_forecast_series")),
    )
    op.create_table(
        "planning_run",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("forecast_run_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("horizon_days", sa.Integer(), nullable=False),
        sa.Column("summary", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("warnings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["forecast_run_id"], ["forecast_run.id"], name=op.f("fk_planning_run_forecast_run_id_forecast_run")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_planning_run_job_id_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_planning_run")),
        sa.UniqueConstraint("job_id", name=op.f("uq_planning_run_job_id")),
    )
    op.create_index(op.f("ix_planning_run_created_at"), "planning_run", ["created_at"], unique=False)
    op.create_table(
        "rejected_row",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["ingest_run.id"], name=op.f("fk_rejected_row_run_id_ingest_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "line", name=op.f("pk_rejected_row")),
    )
    op.create_table(
        "capacity_load",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("work_centre_id", sa.Uuid(), nullable=False),
        sa.Column("week", sa.Date(), nullable=False),
        sa.Column("load_hours", sa.Double(), nullable=False),
        sa.Column("capacity_hours", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["planning_run.id"], name=op.f("fk_capacity_load_run_id_planning_run"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["work_centre_id"], ["work_centre.id"], name=op.f("fk_capacity_load_work_centre_id_work_centre")
        ),
        sa.PrimaryKeyConstraint("run_id", "work_centre_id", "week", name=op.f("pk_capacity_load")),
    )
    op.create_table(
        "planned_order",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("supplier_id", sa.Uuid(), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("release_date", sa.Date(), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("past_due_days", sa.Integer(), nullable=False),
        sa.Column("unit_cost", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("value", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("kind in ('purchase', 'production')", name=op.f("ck_planned_order_kind")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_planned_order_quantity")),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_planned_order_item_id_item")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["planning_run.id"], name=op.f("fk_planned_order_run_id_planning_run"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["supplier_id"], ["supplier.id"], name=op.f("fk_planned_order_supplier_id_supplier")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_planned_order")),
    )
    op.create_index("ix_planned_order_run_id_item_id", "planned_order", ["run_id", "item_id"], unique=False)
    op.create_index("ix_planned_order_run_id_rank", "planned_order", ["run_id", "rank"], unique=False)
    if hypertables:
        for table in ("demand", "forecast"):
            timeseries.make_hypertable(connection, table)
        connection.execute(
            text("INSERT INTO capability (name, value) VALUES (:name, :value)"),
            {"name": timeseries.HYPERTABLES, "value": f"timescaledb {timescale}"},
        )


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_planned_order_run_id_rank", table_name="planned_order")
    op.drop_index("ix_planned_order_run_id_item_id", table_name="planned_order")
    op.drop_table("planned_order")
    op.drop_table("capacity_load")
    op.drop_table("rejected_row")
    op.drop_index(op.f("ix_planning_run_created_at"), table_name="planning_run")
    op.drop_table("planning_run")
    op.drop_table("forecast_series")
    op.drop_table("forecast_metric")
    op.drop_index(op.f("ix_supplier_term_supplier_id"), table_name="supplier_term")
    op.drop_table("supplier_term")
    op.drop_table("stock")
    op.drop_index(op.f("ix_routing_operation_work_centre_id"), table_name="routing_operation")
    op.drop_table("routing_operation")
    op.drop_index(op.f("ix_open_order_item_id"), table_name="open_order")
    op.drop_table("open_order")
    op.drop_index(op.f("ix_ingest_run_source_file_id"), table_name="ingest_run")
    op.drop_index(op.f("ix_ingest_run_source"), table_name="ingest_run")
    op.drop_table("ingest_run")
    op.drop_index(op.f("ix_forecast_run_created_at"), table_name="forecast_run")
    op.drop_table("forecast_run")
    op.drop_index(op.f("ix_firm_order_item_id"), table_name="firm_order")
    op.drop_table("firm_order")
    op.drop_index(op.f("ix_bom_line_component_item_id"), table_name="bom_line")
    op.drop_table("bom_line")
    op.drop_table("work_centre")
    op.drop_table("user_account")
    op.drop_table("supplier")
    op.drop_table("source_file")
    op.drop_table("source")
    op.drop_index("ix_sales_line_item_id_feed_day", table_name="sales_line")
    op.drop_table("sales_line")
    op.drop_index("uq_job_waiting_key", table_name="job", postgresql_where=sa.text("state = 'waiting'"))
    op.drop_index("uq_job_running_key", table_name="job", postgresql_where=sa.text("state = 'running'"))
    op.drop_index("ix_job_state_created_at", table_name="job")
    op.drop_index(op.f("ix_job_parent_id"), table_name="job")
    op.drop_table("job")
    op.drop_index("ix_item_kind_code", table_name="item")
    op.drop_table("item")
    op.drop_table("forecast")
    op.drop_table("demand")
    op.drop_table("capability")
