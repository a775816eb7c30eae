"""How items are made and when there is time for it: structure, routings, work centres, shifts, stops, calendar."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed, Retired, Revised, Stamped
from db.models.master import search_text

STOP_RECURRENCES = ("once", "daily", "weekly", "monthly", "yearly")
CAPACITY_EVENT_KINDS = ("breakdown", "maintenance", "absence", "overtime", "extra_shift", "other")


class BomLine(Keyed, Stamped, Revised, Base):
    """`quantity_per` of the component goes into one parent; `scrap_share` of it is lost on the way.

    Of the versions of a parent's bill, its item's `bom_version` is in use.
    """

    __tablename__ = "bom_line"
    __table_args__ = (
        UniqueConstraint("parent_item_id", "component_item_id", "version"),
        CheckConstraint("quantity_per > 0", name="quantity_per"),
        CheckConstraint("scrap_share >= 0 and scrap_share < 1", name="scrap_share"),
        CheckConstraint("parent_item_id <> component_item_id", name="component"),
        CheckConstraint("valid_to >= valid_from", name="valid_to"),
    )

    parent_item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    component_item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"), index=True)
    version: Mapped[str] = mapped_column(server_default="1")
    quantity_per: Mapped[Decimal]
    scrap_share: Mapped[Decimal] = mapped_column(server_default="0")
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]


class WorkCentre(Keyed, Stamped, Revised, Retired, Base):
    """A machine group or line with its hours a working day. Efficiency 1.0 is 100 %."""

    __tablename__ = "work_centre"

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    hours_per_day: Mapped[Decimal]
    efficiency: Mapped[Decimal] = mapped_column(server_default="1")
    machines: Mapped[int] = mapped_column(server_default="1")
    cost_per_hour: Mapped[Decimal | None]
    active: Mapped[bool] = mapped_column(server_default="true")
    search_text: Mapped[str] = search_text("code", "name")


class RoutingOperation(Keyed, Stamped, Revised, Base):
    """One step of making an item at a work centre; hours = setup + quantity x unit hours."""

    __tablename__ = "routing_operation"
    __table_args__ = (UniqueConstraint("item_id", "sequence"),)

    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("item.id"))
    sequence: Mapped[int]
    work_centre_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("work_centre.id"), index=True)
    name: Mapped[str | None]
    setup_hours: Mapped[Decimal] = mapped_column(server_default="0")
    unit_hours: Mapped[Decimal]


class Shift(Keyed, Stamped, Revised, Base):
    """A shift of a work centre on a weekday (1 is Monday), HH:MM; an end before the start is on the next day."""

    __tablename__ = "shift"
    __table_args__ = (
        UniqueConstraint("work_centre_id", "weekday", "starts_at"),
        CheckConstraint("weekday between 1 and 7", name="weekday"),
        CheckConstraint("starts_at ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'", name="starts_at"),
        CheckConstraint("ends_at ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'", name="ends_at"),
        CheckConstraint("valid_to >= valid_from", name="valid_to"),
    )

    work_centre_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("work_centre.id"))
    weekday: Mapped[int]
    starts_at: Mapped[str]
    ends_at: Mapped[str]
    break_minutes: Mapped[int] = mapped_column(server_default="0")
    name: Mapped[str | None]
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]


class PlannedStop(Keyed, Stamped, Revised, Base):
    """Hours a work centre is known to lose, once or again and again until a day."""

    __tablename__ = "planned_stop"
    __table_args__ = (
        UniqueConstraint("work_centre_id", "name", "starts_on"),
        CheckConstraint(f"recurrence in {STOP_RECURRENCES}", name="recurrence"),
        CheckConstraint("until >= starts_on", name="until"),
        CheckConstraint("hours > 0", name="hours"),
    )

    work_centre_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("work_centre.id"))
    name: Mapped[str]
    starts_on: Mapped[date]
    recurrence: Mapped[str] = mapped_column(server_default="once")
    until: Mapped[date | None]
    hours: Mapped[Decimal]
    search_text: Mapped[str] = search_text("name")


class CapacityEvent(Keyed, Stamped, Revised, Base):
    """Hours a working day that a work centre gains, or loses (below 0), for some days."""

    __tablename__ = "capacity_event"
    __table_args__ = (
        UniqueConstraint("work_centre_id", "starts_on", "kind"),
        CheckConstraint(f"kind in {CAPACITY_EVENT_KINDS}", name="kind"),
        CheckConstraint("ends_on >= starts_on", name="ends_on"),
        Index("ix_capacity_event_starts_on", "starts_on"),
    )

    work_centre_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("work_centre.id"))
    kind: Mapped[str]
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    hours_per_day: Mapped[Decimal]
    note: Mapped[str | None]


class CalendarDay(Keyed, Stamped, Revised, Base):
    """A day on which the factory calendar differs from the working week."""

    __tablename__ = "calendar_day"

    day: Mapped[date] = mapped_column(unique=True)
    working: Mapped[bool] = mapped_column(server_default="false")
    name: Mapped[str | None]
