"""Time series: sales lines, daily demand, weekly forecasts, and what the database can do with them."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, Identity, Index, Numeric, func, text
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


class _DemandRollup:
    """Demand of an item and feed summed up by calendar period. `period` is its first day."""

    item_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    feed: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[date] = mapped_column(primary_key=True)
    quantity: Mapped[Decimal] = mapped_column(Numeric())
    revenue: Mapped[Decimal | None] = mapped_column(Numeric())


class DemandWeek(_DemandRollup, Base):
    """Demand by week (its Monday). A view over a continuous aggregate, or a table its writers keep exact."""

    __tablename__ = "demand_week"


class DemandMonth(_DemandRollup, Base):
    """Demand by calendar month (its first day). A view over a continuous aggregate, or a table."""

    __tablename__ = "demand_month"


class RollupPending(Base):
    """Days whose demand has changed since the continuous aggregates were refreshed; written with the change itself.

    The roll-ups' views read demand itself from the earliest of these days on. Empty without TimescaleDB.
    """

    __tablename__ = "rollup_pending"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    first_day: Mapped[date]
    last_day: Mapped[date]
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class JobEvent(Base):
    """A state a job has come into, written by triggers on `job` in the transaction that changed it.

    Hypertable, or partitioned by month, on `at`. It outlives its job, so it has no foreign key.
    """

    __tablename__ = "job_event"
    __table_args__ = {"postgresql_partition_by": "RANGE (at)"}  # noqa: RUF012 - SQLAlchemy reads a plain dict

    job_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    # A sequence and no identity column: partitions are made like the table, and then attached.
    id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, server_default=text("nextval('job_event_id_seq')")
    )
    at: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.now())
    kind: Mapped[str]
    state: Mapped[str]
    attempt: Mapped[int]
    progress: Mapped[float]
    step: Mapped[str]
    message: Mapped[str]
