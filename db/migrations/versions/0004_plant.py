"""The whole of the plant's master data: units, categories, warehouses, shifts, stops, calendar, and more of each table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text
from uuid_utils.compat import uuid7

from db import audit

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WATCHED = (
    *("unit", "item_category", "item", "unit_conversion", "supplier", "supplier_term", "bom_line", "warehouse"),
    *("stock", "work_centre", "routing_operation", "shift", "planned_stop", "capacity_event", "calendar_day"),
    *("open_order", "firm_order"),
)
FED = ("stock", "open_order", "firm_order")
CHECKS = (
    (
        "item",
        "lot_sizing",
        "lot_sizing in ('lot_for_lot', 'fixed_quantity', 'economic_order_quantity', 'period_order_quantity', 'silver_meal', 'wagner_whitin')",
    ),
    ("item", "safety_stock_policy", "safety_stock_policy in ('forecast', 'formula', 'manual', 'none')"),
    ("item", "max_order_qty", "max_order_qty >= min_order_qty"),
    ("supplier_term", "valid_to", "valid_to >= valid_from"),
    ("bom_line", "valid_to", "valid_to >= valid_from"),
    ("open_order", "status", "status in ('firm', 'released')"),
    ("open_order", "quantity", "quantity > 0"),
    ("firm_order", "quantity", "quantity > 0"),
)
CODES_IN_USE = {
    "unit": ("SELECT unit FROM item",),
    "item_category": ("SELECT category FROM item",),
    "warehouse": ("SELECT warehouse FROM stock",),
}
SEEDS: dict[str, dict[str, dict[str, str]]] = {
    "unit": {
        "pcs": {"name": "Pieces", "dimension": "count"},
        "kg": {"name": "Kilograms", "dimension": "mass"},
        "m": {"name": "Metres", "dimension": "length"},
        "m2": {"name": "Square metres", "dimension": "area"},
        "l": {"name": "Litres", "dimension": "volume"},
        "h": {"name": "Hours", "dimension": "time"},
    },
    "warehouse": {"main": {"name": "Main store"}},
}


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "calendar_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("working", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar_day")),
        sa.UniqueConstraint("day", name=op.f("uq_calendar_day_day")),
    )
    op.create_table(
        "item_category",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(code, '') || ' ' || coalesce(name, ''))", persisted=True),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("code <> parent", name=op.f("ck_item_category_parent")),
        sa.ForeignKeyConstraint(
            ["parent"], ["item_category.code"], name=op.f("fk_item_category_parent_item_category"), onupdate="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item_category")),
        sa.UniqueConstraint("code", name=op.f("uq_item_category_code")),
    )
    op.create_index(op.f("ix_item_category_parent"), "item_category", ["parent"], unique=False)
    op.create_table(
        "unit",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Text(), server_default="other", nullable=False),
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(code, '') || ' ' || coalesce(name, ''))", persisted=True),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unit")),
        sa.UniqueConstraint("code", name=op.f("uq_unit_code")),
    )
    op.create_table(
        "warehouse",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("capacity_m3", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("capacity_pallets", sa.Integer(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(code, '') || ' ' || coalesce(name, ''))", persisted=True),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_warehouse")),
        sa.UniqueConstraint("code", name=op.f("uq_warehouse_code")),
    )
    op.create_table(
        "capacity_event",
        sa.Column("work_centre_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("hours_per_day", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "kind in ('breakdown', 'maintenance', 'absence', 'overtime', 'extra_shift', 'other')",
            name=op.f("ck_capacity_event_kind"),
        ),
        sa.CheckConstraint("ends_on >= starts_on", name=op.f("ck_capacity_event_ends_on")),
        sa.ForeignKeyConstraint(
            ["work_centre_id"], ["work_centre.id"], name=op.f("fk_capacity_event_work_centre_id_work_centre")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_capacity_event")),
        sa.UniqueConstraint(
            "work_centre_id", "starts_on", "kind", name=op.f("uq_capacity_event_work_centre_id_starts_on_kind")
        ),
    )
    op.create_index("ix_capacity_event_starts_on", "capacity_event", ["starts_on"], unique=False)
    op.create_table(
        "planned_stop",
        sa.Column("work_centre_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("recurrence", sa.Text(), server_default="once", nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("hours", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(name, ''))", persisted=True),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "recurrence in ('once', 'daily', 'weekly', 'monthly', 'yearly')", name=op.f("ck_planned_stop_recurrence")
        ),
        sa.CheckConstraint("hours > 0", name=op.f("ck_planned_stop_hours")),
        sa.CheckConstraint("until >= starts_on", name=op.f("ck_planned_stop_until")),
        sa.ForeignKeyConstraint(
            ["work_centre_id"], ["work_centre.id"], name=op.f("fk_planned_stop_work_centre_id_work_centre")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_planned_stop")),
        sa.UniqueConstraint(
            "work_centre_id", "name", "starts_on", name=op.f("uq_planned_stop_work_centre_id_name_starts_on")
        ),
    )
    op.create_table(
        "shift",
        sa.Column("work_centre_id", sa.Uuid(), nullable=False),
        sa.Column("weekday", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.Text(), nullable=False),
        sa.Column("break_minutes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("ends_at ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'", name=op.f("ck_shift_ends_at")),
        sa.CheckConstraint("starts_at ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'", name=op.f("ck_shift_starts_at")),
        sa.CheckConstraint("valid_to >= valid_from", name=op.f("ck_shift_valid_to")),
        sa.CheckConstraint("weekday between 1 and 7", name=op.f("ck_shift_weekday")),
        sa.ForeignKeyConstraint(
            ["work_centre_id"], ["work_centre.id"], name=op.f("fk_shift_work_centre_id_work_centre")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shift")),
        sa.UniqueConstraint(
            "work_centre_id", "weekday", "starts_at", name=op.f("uq_shift_work_centre_id_weekday_starts_at")
        ),
    )
    op.create_table(
        "unit_conversion",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("factor", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("factor > 0", name=op.f("ck_unit_conversion_factor")),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_unit_conversion_item_id_item")),
        sa.ForeignKeyConstraint(["unit"], ["unit.code"], name=op.f("fk_unit_conversion_unit_unit"), onupdate="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unit_conversion")),
        sa.UniqueConstraint("item_id", "unit", name=op.f("uq_unit_conversion_item_id_unit")),
    )
    op.create_index(op.f("ix_unit_conversion_unit"), "unit_conversion", ["unit"], unique=False)
    op.add_column("bom_line", sa.Column("version", sa.Text(), server_default="1", nullable=False))
    op.add_column("bom_line", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.drop_constraint(op.f("uq_bom_line_parent_item_id_component_item_id"), "bom_line", type_="unique")
    op.create_unique_constraint(
        op.f("uq_bom_line_parent_item_id_component_item_id_version"),
        "bom_line",
        ["parent_item_id", "component_item_id", "version"],
    )
    op.add_column("firm_order", sa.Column("price", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column(
        "firm_order",
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(number, '') || ' ' || coalesce(customer, ''))", persisted=True),
            nullable=False,
        ),
    )
    op.add_column("firm_order", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.create_index("ix_firm_order_due_date", "firm_order", ["due_date"], unique=False)
    op.add_column("item", sa.Column("weight_kg", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("item", sa.Column("volume_m3", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("item", sa.Column("holding_rate", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("item", sa.Column("order_cost", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("item", sa.Column("lot_sizing", sa.Text(), server_default="lot_for_lot", nullable=False))
    op.add_column("item", sa.Column("lot_size", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("item", sa.Column("lot_periods", sa.Integer(), nullable=True))
    op.add_column("item", sa.Column("max_order_qty", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("item", sa.Column("safety_stock_policy", sa.Text(), server_default="forecast", nullable=False))
    op.add_column("item", sa.Column("planning_fence_days", sa.Integer(), nullable=True))
    op.add_column("item", sa.Column("forecast_model", sa.Text(), nullable=True))
    op.add_column("item", sa.Column("bom_version", sa.Text(), server_default="1", nullable=False))
    op.add_column("item", sa.Column("note", sa.Text(), nullable=True))
    op.add_column(
        "item",
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(code, '') || ' ' || coalesce(name, ''))", persisted=True),
            nullable=False,
        ),
    )
    op.add_column("item", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.add_column("item", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_item_category", "item", ["category"], unique=False)
    op.add_column("open_order", sa.Column("status", sa.Text(), server_default="released", nullable=False))
    op.add_column("open_order", sa.Column("ordered_on", sa.Date(), nullable=True))
    op.add_column(
        "open_order",
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(number, ''))", persisted=True),
            nullable=False,
        ),
    )
    op.add_column("open_order", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.create_index("ix_open_order_due_date", "open_order", ["due_date"], unique=False)
    op.create_index(op.f("ix_open_order_supplier_id"), "open_order", ["supplier_id"], unique=False)
    op.add_column("routing_operation", sa.Column("name", sa.Text(), nullable=True))
    op.add_column("routing_operation", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.alter_column("stock", "location", new_column_name="warehouse")
    _carry_codes_over()
    op.add_column("stock", sa.Column("lot", sa.Text(), server_default="-", nullable=False))
    op.add_column("stock", sa.Column("expires_on", sa.Date(), nullable=True))
    op.add_column("stock", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.drop_constraint(op.f("uq_stock_item_id_location"), "stock", type_="unique")
    op.create_index(op.f("ix_stock_warehouse"), "stock", ["warehouse"], unique=False)
    op.create_unique_constraint(op.f("uq_stock_item_id_warehouse_lot"), "stock", ["item_id", "warehouse", "lot"])
    op.create_foreign_key(
        op.f("fk_stock_warehouse_warehouse"), "stock", "warehouse", ["warehouse"], ["code"], onupdate="CASCADE"
    )
    op.add_column("supplier", sa.Column("phone", sa.Text(), nullable=True))
    op.add_column("supplier", sa.Column("country", sa.Text(), nullable=True))
    op.add_column("supplier", sa.Column("currency", sa.Text(), nullable=True))
    op.add_column("supplier", sa.Column("lead_time_sd_days", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("supplier", sa.Column("reliability", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("supplier", sa.Column("rating", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("supplier", sa.Column("note", sa.Text(), nullable=True))
    op.add_column(
        "supplier",
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(code, '') || ' ' || coalesce(name, ''))", persisted=True),
            nullable=False,
        ),
    )
    op.add_column("supplier", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.add_column("supplier", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("supplier_term", sa.Column("supplier_item_code", sa.Text(), nullable=True))
    op.add_column("supplier_term", sa.Column("valid_from", sa.Date(), nullable=True))
    op.add_column("supplier_term", sa.Column("valid_to", sa.Date(), nullable=True))
    op.add_column("supplier_term", sa.Column("active", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("supplier_term", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.add_column("work_centre", sa.Column("machines", sa.Integer(), server_default="1", nullable=False))
    op.add_column("work_centre", sa.Column("cost_per_hour", sa.Numeric(precision=20, scale=6), nullable=True))
    op.add_column("work_centre", sa.Column("active", sa.Boolean(), server_default="true", nullable=False))
    op.add_column(
        "work_centre",
        sa.Column(
            "search_text",
            sa.Text(collation="C"),
            sa.Computed("lower(coalesce(code, '') || ' ' || coalesce(name, ''))", persisted=True),
            nullable=False,
        ),
    )
    op.add_column("work_centre", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.add_column("work_centre", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(
        op.f("fk_item_category_item_category"), "item", "item_category", ["category"], ["code"], onupdate="CASCADE"
    )
    op.create_foreign_key(op.f("fk_item_unit_unit"), "item", "unit", ["unit"], ["code"], onupdate="CASCADE")
    _add_checks()
    for table in WATCHED:
        audit.watch(op.get_bind(), table)


def downgrade() -> None:
    """Undo. Of a bill's versions and a stock's lots the oldest row stays."""
    for table in WATCHED:
        audit.unwatch(op.get_bind(), table)
    _drop_checks()
    op.drop_column("work_centre", "deleted_at")
    op.drop_column("work_centre", "revision")
    op.drop_column("work_centre", "search_text")
    op.drop_column("work_centre", "active")
    op.drop_column("work_centre", "cost_per_hour")
    op.drop_column("work_centre", "machines")
    op.drop_column("supplier_term", "revision")
    op.drop_column("supplier_term", "active")
    op.drop_column("supplier_term", "valid_to")
    op.drop_column("supplier_term", "valid_from")
    op.drop_column("supplier_term", "supplier_item_code")
    op.drop_column("supplier", "deleted_at")
    op.drop_column("supplier", "revision")
    op.drop_column("supplier", "search_text")
    op.drop_column("supplier", "note")
    op.drop_column("supplier", "rating")
    op.drop_column("supplier", "reliability")
    op.drop_column("supplier", "lead_time_sd_days")
    op.drop_column("supplier", "currency")
    op.drop_column("supplier", "country")
    op.drop_column("supplier", "phone")
    op.drop_constraint(op.f("fk_stock_warehouse_warehouse"), "stock", type_="foreignkey")
    op.drop_constraint(op.f("uq_stock_item_id_warehouse_lot"), "stock", type_="unique")
    op.drop_index(op.f("ix_stock_warehouse"), table_name="stock")
    op.execute(
        "DELETE FROM stock a USING stock b WHERE a.item_id = b.item_id AND a.warehouse = b.warehouse AND a.id > b.id"
    )
    op.alter_column("stock", "warehouse", new_column_name="location")
    op.create_unique_constraint(op.f("uq_stock_item_id_location"), "stock", ["item_id", "location"])
    op.drop_column("stock", "revision")
    op.drop_column("stock", "expires_on")
    op.drop_column("stock", "lot")
    op.drop_column("routing_operation", "revision")
    op.drop_column("routing_operation", "name")
    op.drop_index(op.f("ix_open_order_supplier_id"), table_name="open_order")
    op.drop_index("ix_open_order_due_date", table_name="open_order")
    op.drop_column("open_order", "revision")
    op.drop_column("open_order", "search_text")
    op.drop_column("open_order", "ordered_on")
    op.drop_column("open_order", "status")
    op.drop_constraint(op.f("fk_item_unit_unit"), "item", type_="foreignkey")
    op.drop_constraint(op.f("fk_item_category_item_category"), "item", type_="foreignkey")
    op.drop_index("ix_item_category", table_name="item")
    op.drop_column("item", "deleted_at")
    op.drop_column("item", "revision")
    op.drop_column("item", "search_text")
    op.drop_column("item", "note")
    op.drop_column("item", "bom_version")
    op.drop_column("item", "forecast_model")
    op.drop_column("item", "planning_fence_days")
    op.drop_column("item", "safety_stock_policy")
    op.drop_column("item", "max_order_qty")
    op.drop_column("item", "lot_periods")
    op.drop_column("item", "lot_size")
    op.drop_column("item", "lot_sizing")
    op.drop_column("item", "order_cost")
    op.drop_column("item", "holding_rate")
    op.drop_column("item", "volume_m3")
    op.drop_column("item", "weight_kg")
    op.drop_index("ix_firm_order_due_date", table_name="firm_order")
    op.drop_column("firm_order", "revision")
    op.drop_column("firm_order", "search_text")
    op.drop_column("firm_order", "price")
    op.drop_constraint(op.f("uq_bom_line_parent_item_id_component_item_id_version"), "bom_line", type_="unique")
    op.execute(
        "DELETE FROM bom_line a USING bom_line b WHERE a.parent_item_id = b.parent_item_id AND a.component_item_id = b.component_item_id AND a.id > b.id"
    )
    op.create_unique_constraint(
        op.f("uq_bom_line_parent_item_id_component_item_id"), "bom_line", ["parent_item_id", "component_item_id"]
    )
    op.drop_column("bom_line", "revision")
    op.drop_column("bom_line", "version")
    op.drop_index(op.f("ix_unit_conversion_unit"), table_name="unit_conversion")
    op.drop_table("unit_conversion")
    op.drop_table("shift")
    op.drop_table("planned_stop")
    op.drop_index("ix_capacity_event_starts_on", table_name="capacity_event")
    op.drop_table("capacity_event")
    op.drop_table("warehouse")
    op.drop_table("unit")
    op.drop_index(op.f("ix_item_category_parent"), table_name="item_category")
    op.drop_table("item_category")
    op.drop_table("calendar_day")


def _carry_codes_over() -> None:
    """Units, categories and warehouses were free text: what is in use becomes a row of its own."""
    connection = op.get_bind()
    for table, sources in CODES_IN_USE.items():
        found = set(connection.execute(text(" UNION ".join(sources))).scalars()) - {None}
        seeds = SEEDS.get(table, {})
        for code in sorted(found | set(seeds)):
            row = {"id": uuid7(), "code": code, "name": code, **seeds.get(code, {})}
            names = ", ".join(row)
            connection.execute(
                text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in row)})"), row
            )


def _add_checks() -> None:
    for table in FED:
        op.alter_column(table, "feed", server_default="api")
    op.alter_column("firm_order", "line", server_default="1")
    op.execute("ALTER TABLE bom_line RENAME CONSTRAINT ck_bom_line_not_itself TO ck_bom_line_component")
    for table, column, condition in CHECKS:
        op.create_check_constraint(op.f(f"ck_{table}_{column}"), table, condition)


def _drop_checks() -> None:
    for table in FED:
        op.alter_column(table, "feed", server_default=None)
    op.alter_column("firm_order", "line", server_default=None)
    for table, column, _ in CHECKS:
        op.drop_constraint(op.f(f"ck_{table}_{column}"), table, type_="check")
    op.execute("ALTER TABLE bom_line RENAME CONSTRAINT ck_bom_line_component TO ck_bom_line_not_itself")
