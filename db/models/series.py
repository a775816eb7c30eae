"""Time series: sales lines, daily demand, weekly forecasts, and what the database can do with them."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base


class Capability(Base):
    """What this database was found able to do when it was migrated, e.g. `hypertables` -> `timescaledb 2.29.2`."""

    __tablename__ = "capability"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class SalesLine(Base):
    """One line of an invoice as the source exported it; daily demand of such a feed is derived from these.

    `line` counts the repeats of an item within its document, so reading a file again finds the same keys.
    """

    __tablename__ = "sales_line"
    __table_args__ = (Index("ix_sales_line_item_id_feed_day", "item_id", "feed", "day"),)

    feed: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date]
    customer: Mapped[str | None]
    quantity: Mapped[Decimal]
    price: Mapped[Decimal | None]


class Demand(Base):
    """Demand of an item on a day as one feed reports it. Hypertable, or range-partitioned by month, on `day`."""

    __tablename__ = "demand"
    __table_args__ = {"postgresql_partition_by": "RANGE (day)"}  # noqa: RUF012 - SQLAlchemy reads a plain dict

    item_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    feed: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    quantity: Mapped[Decimal]
    revenue: Mapped[Decimal | None]


class Forecast(Base):
    """Expected demand (mean) and its quantiles for an item and week. Hypertable, or partitioned, on `week`."""

    __tablename__ = "forecast"
    __table_args__ = {"postgresql_partition_by": "RANGE (week)"}  # noqa: RUF012 - SQLAlchemy reads a plain dict

    run_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    item_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    week: Mapped[date] = mapped_column(primary_key=True)
    mean: Mapped[Decimal]
    q10: Mapped[Decimal]
    q25: Mapped[Decimal]
    q50: Mapped[Decimal]
    q75: Mapped[Decimal]
    q90: Mapped[Decimal]
