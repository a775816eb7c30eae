"""Master data of the plant: items, structure, suppliers, stock, open and firm orders, work centres.

`feed` is the mapping a row came through. Stock and orders are snapshots: what a feed's newest file no longer holds is
gone (an order that was closed is not in the export any more).
"""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed, Stamped

ITEM_KINDS = ("finished", "semi_finished", "component", "raw_material", "packaging", "trading_good")


class Item(Keyed, Stamped, Base):
    """Anything bought, made, stocked or sold. `code` is the natural key. Lead time in working days."""

    __tablename__ = "item"
    __table_args__ = (
        CheckConstraint(f"kind in {ITEM_KINDS}", name="kind"),
        CheckConstraint("lead_time_days >= 0", name="lead_time_days"),
        Index("ix_item_kind_code", "kind", "code"),
    )

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[str]
    unit: Mapped[str] = mapped_column(server_default="pcs")
    category: Mapped[str | None]
    cost: Mapped[Decimal | None]
    price: Mapped[Decimal | None]
    lead_time_days: Mapped[int | None]
    min_order_qty: Mapped[Decimal | None]
    order_multiple: Mapped[Decimal | None]
    safety_stock: Mapped[Decimal | None]
    service_level: Mapped[Decimal | None]
    active: Mapped[bool] = mapped_column(server_default="true")


class Supplier(Keyed, Stamped, Base):
    """Who sells to us."""

    __tablename__ = "supplier"

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    email: Mapped[str | None]
    lead_time_days: Mapped[int | None]
    active: Mapped[bool] = mapped_column(server_default="true")


class SupplierTerm(Keyed, Stamped, Base):
    """What one supplier asks for one item. Priority 1 is asked first."""

    __tablename__ = "supplier_term"
    __table_args__ = (UniqueConstraint("item_id", "supplier_id"),)

    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    supplier_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("supplier.id"), index=True)
    price: Mapped[Decimal | None]
    min_order_qty: Mapped[Decimal | None]
    order_multiple: Mapped[Decimal | None]
    lead_time_days: Mapped[int | None]
    priority: Mapped[int] = mapped_column(server_default="1")


class BomLine(Keyed, Stamped, Base):
    """`quantity_per` of the component goes into one parent; `scrap_share` of it is lost on the way."""

    __tablename__ = "bom_line"
    __table_args__ = (
        UniqueConstraint("parent_item_id", "component_item_id"),
        CheckConstraint("quantity_per > 0", name="quantity_per"),
        CheckConstraint("scrap_share >= 0 and scrap_share < 1", name="scrap_share"),
        CheckConstraint("parent_item_id <> component_item_id", name="not_itself"),
    )

    parent_item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    component_item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"), index=True)
    quantity_per: Mapped[Decimal]
    scrap_share: Mapped[Decimal] = mapped_column(server_default="0")
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]


class Stock(Keyed, Stamped, Base):
    """Quantity of an item at a location; available = on hand - reserved - quarantined."""

    __tablename__ = "stock"
    __table_args__ = (UniqueConstraint("item_id", "location"),)

    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    location: Mapped[str] = mapped_column(server_default="main")
    feed: Mapped[str]
    on_hand: Mapped[Decimal]
    reserved: Mapped[Decimal] = mapped_column(server_default="0")
    quarantined: Mapped[Decimal] = mapped_column(server_default="0")


class OpenOrder(Keyed, Stamped, Base):
    """A purchase or production order already placed: a scheduled receipt of what is still open."""

    __tablename__ = "open_order"
    __table_args__ = (
        UniqueConstraint("number", "item_id"),
        CheckConstraint("kind in ('purchase', 'production')", name="kind"),
    )

    number: Mapped[str]
    kind: Mapped[str]
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"), index=True)
    supplier_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("supplier.id"))
    feed: Mapped[str]
    quantity: Mapped[Decimal]
    due_date: Mapped[date]


class FirmOrder(Keyed, Stamped, Base):
    """A line of a customer's order."""

    __tablename__ = "firm_order"
    __table_args__ = (UniqueConstraint("number", "line"),)

    number: Mapped[str]
    line: Mapped[int]
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"), index=True)
    customer: Mapped[str | None]
    feed: Mapped[str]
    quantity: Mapped[Decimal]
    due_date: Mapped[date]


class WorkCentre(Keyed, Stamped, Base):
    """A machine group or line with its hours a working day. Efficiency 1.0 is 100 %."""

    __tablename__ = "work_centre"

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    hours_per_day: Mapped[Decimal]
    efficiency: Mapped[Decimal] = mapped_column(server_default="1")


class RoutingOperation(Keyed, Stamped, Base):
    """One step of making an item at a work centre; hours = setup + quantity x unit hours."""

    __tablename__ = "routing_operation"
    __table_args__ = (UniqueConstraint("item_id", "sequence"),)

    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    sequence: Mapped[int]
    work_centre_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("work_centre.id"), index=True)
    setup_hours: Mapped[Decimal] = mapped_column(server_default="0")
    unit_hours: Mapped[Decimal]
