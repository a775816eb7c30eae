"""Master data of the plant: items, suppliers, warehouses, stock, orders; `db.models.production`: how things are made.

`feed` is the mapping a row came through, or `api` for what people entered. Stock and orders are snapshots: what a
feed's newest file no longer holds is gone (an order that was closed is not in the export any more).
"""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, MappedColumn, mapped_column

from db.base import Base, Keyed, Retired, Revised, Stamped

ITEM_KINDS = ("finished", "semi_finished", "component", "raw_material", "packaging", "trading_good")
LOT_SIZING_RULES = (
    "lot_for_lot",
    "fixed_quantity",
    "economic_order_quantity",
    "period_order_quantity",
    "silver_meal",
    "wagner_whitin",
)
SAFETY_STOCK_POLICIES = ("forecast", "formula", "manual", "none")
BY_HAND = "api"


def search_text(*columns: str) -> MappedColumn[str]:
    """What free-text search looks through: lower case, compared byte by byte, which is several times faster."""
    joined = " || ' ' || ".join(f"coalesce({column}, '')" for column in columns)
    return mapped_column(Text(collation="C"), Computed(f"lower({joined})", persisted=True))


class Unit(Keyed, Stamped, Revised, Base):
    """A unit of measure."""

    __tablename__ = "unit"

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    dimension: Mapped[str] = mapped_column(server_default="other")
    search_text: Mapped[str] = search_text("code", "name")


class ItemCategory(Keyed, Stamped, Revised, Base):
    """A node of the tree of item categories."""

    __tablename__ = "item_category"
    __table_args__ = (CheckConstraint("code <> parent", name="parent"),)

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    parent: Mapped[str | None] = mapped_column(ForeignKey("item_category.code", onupdate="CASCADE"), index=True)
    search_text: Mapped[str] = search_text("code", "name")


class Item(Keyed, Stamped, Revised, Retired, Base):
    """Anything bought, made, stocked or sold. `code` is the natural key. Lead time in working days."""

    __tablename__ = "item"
    __table_args__ = (
        CheckConstraint(f"kind in {ITEM_KINDS}", name="kind"),
        CheckConstraint(f"lot_sizing in {LOT_SIZING_RULES}", name="lot_sizing"),
        CheckConstraint(f"safety_stock_policy in {SAFETY_STOCK_POLICIES}", name="safety_stock_policy"),
        CheckConstraint("lead_time_days >= 0", name="lead_time_days"),
        CheckConstraint("max_order_qty >= min_order_qty", name="max_order_qty"),
        Index("ix_item_kind_code", "kind", "code"),
        Index("ix_item_category", "category"),
    )

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[str]
    unit: Mapped[str] = mapped_column(ForeignKey("unit.code", onupdate="CASCADE"), server_default="pcs")
    category: Mapped[str | None] = mapped_column(ForeignKey("item_category.code", onupdate="CASCADE"))
    weight_kg: Mapped[Decimal | None]
    volume_m3: Mapped[Decimal | None]
    cost: Mapped[Decimal | None]
    price: Mapped[Decimal | None]
    holding_rate: Mapped[Decimal | None]
    order_cost: Mapped[Decimal | None]
    lead_time_days: Mapped[int | None]
    lot_sizing: Mapped[str] = mapped_column(server_default="lot_for_lot")
    lot_size: Mapped[Decimal | None]
    lot_periods: Mapped[int | None]
    min_order_qty: Mapped[Decimal | None]
    order_multiple: Mapped[Decimal | None]
    max_order_qty: Mapped[Decimal | None]
    safety_stock_policy: Mapped[str] = mapped_column(server_default="forecast")
    safety_stock: Mapped[Decimal | None]
    service_level: Mapped[Decimal | None]
    planning_fence_days: Mapped[int | None]
    forecast_model: Mapped[str | None]
    bom_version: Mapped[str] = mapped_column(server_default="1")
    active: Mapped[bool] = mapped_column(server_default="true")
    note: Mapped[str | None]
    search_text: Mapped[str] = search_text("code", "name")


class UnitConversion(Keyed, Stamped, Revised, Base):
    """Another unit of an item: one of it is `factor` of the item's own unit."""

    __tablename__ = "unit_conversion"
    __table_args__ = (UniqueConstraint("item_id", "unit"), CheckConstraint("factor > 0", name="factor"))

    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    unit: Mapped[str] = mapped_column(ForeignKey("unit.code", onupdate="CASCADE"), index=True)
    factor: Mapped[Decimal]


class Supplier(Keyed, Stamped, Revised, Retired, Base):
    """Who sells to us. Lead time: mean and standard deviation, working days."""

    __tablename__ = "supplier"

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    country: Mapped[str | None]
    currency: Mapped[str | None]
    lead_time_days: Mapped[int | None]
    lead_time_sd_days: Mapped[Decimal | None]
    reliability: Mapped[Decimal | None]
    rating: Mapped[Decimal | None]
    active: Mapped[bool] = mapped_column(server_default="true")
    note: Mapped[str | None]
    search_text: Mapped[str] = search_text("code", "name")


class SupplierTerm(Keyed, Stamped, Revised, Base):
    """What one supplier asks for one item. Priority 1 is asked first."""

    __tablename__ = "supplier_term"
    __table_args__ = (
        UniqueConstraint("item_id", "supplier_id"),
        CheckConstraint("valid_to >= valid_from", name="valid_to"),
    )

    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    supplier_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("supplier.id"), index=True)
    supplier_item_code: Mapped[str | None]
    price: Mapped[Decimal | None]
    min_order_qty: Mapped[Decimal | None]
    order_multiple: Mapped[Decimal | None]
    lead_time_days: Mapped[int | None]
    priority: Mapped[int] = mapped_column(server_default="1")
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]
    active: Mapped[bool] = mapped_column(server_default="true")


class Warehouse(Keyed, Stamped, Revised, Retired, Base):
    """Where stock lies."""

    __tablename__ = "warehouse"

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    capacity_m3: Mapped[Decimal | None]
    capacity_pallets: Mapped[int | None]
    active: Mapped[bool] = mapped_column(server_default="true")
    search_text: Mapped[str] = search_text("code", "name")


class Stock(Keyed, Stamped, Revised, Base):
    """Quantity of an item in a warehouse, by lot (`-`: none kept); available = on hand - reserved - quarantined."""

    __tablename__ = "stock"
    __table_args__ = (UniqueConstraint("item_id", "warehouse", "lot"),)

    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    warehouse: Mapped[str] = mapped_column(
        ForeignKey("warehouse.code", onupdate="CASCADE"), server_default="main", index=True
    )
    lot: Mapped[str] = mapped_column(server_default="-")
    feed: Mapped[str] = mapped_column(server_default=BY_HAND)
    on_hand: Mapped[Decimal]
    reserved: Mapped[Decimal] = mapped_column(server_default="0")
    quarantined: Mapped[Decimal] = mapped_column(server_default="0")
    expires_on: Mapped[date | None]


class OpenOrder(Keyed, Stamped, Revised, Base):
    """A purchase or production order already placed: a scheduled receipt of what is still open."""

    __tablename__ = "open_order"
    __table_args__ = (
        UniqueConstraint("number", "item_id"),
        CheckConstraint("kind in ('purchase', 'production')", name="kind"),
        CheckConstraint("status in ('firm', 'released')", name="status"),
        CheckConstraint("quantity > 0", name="quantity"),
        Index("ix_open_order_due_date", "due_date"),
    )

    number: Mapped[str]
    kind: Mapped[str]
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"), index=True)
    supplier_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("supplier.id"), index=True)
    feed: Mapped[str] = mapped_column(server_default=BY_HAND)
    quantity: Mapped[Decimal]
    due_date: Mapped[date]
    status: Mapped[str] = mapped_column(server_default="released")
    ordered_on: Mapped[date | None]
    search_text: Mapped[str] = search_text("number")


class FirmOrder(Keyed, Stamped, Revised, Base):
    """A line of a customer's order."""

    __tablename__ = "firm_order"
    __table_args__ = (
        UniqueConstraint("number", "line"),
        CheckConstraint("quantity > 0", name="quantity"),
        Index("ix_firm_order_due_date", "due_date"),
    )

    number: Mapped[str]
    line: Mapped[int] = mapped_column(server_default="1")
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"), index=True)
    customer: Mapped[str | None]
    feed: Mapped[str] = mapped_column(server_default=BY_HAND)
    quantity: Mapped[Decimal]
    due_date: Mapped[date]
    price: Mapped[Decimal | None]
    search_text: Mapped[str] = search_text("number", "customer")
