"""The declarative base every table shares: key type, constraint names, aware timestamps."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import Date, DateTime, MetaData, Numeric, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils.compat import uuid7

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Root of all models. Quantities and money are NUMERIC; time is always with zone."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        date: Date,
        datetime: DateTime(timezone=True),
        Decimal: Numeric(20, 6),
        uuid.UUID: Uuid,
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }

    def __repr__(self) -> str:
        """Name the row by its key only, so that a log line never leaks its content."""
        return f"<{type(self).__name__} {getattr(self, 'id', '')}>"


class Keyed:
    """A time-ordered UUIDv7 surrogate key."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)


class Stamped:
    """When the row was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class Revised:
    """Counts the row's versions from 1; the API's ETag. Every update by the ORM counts on, whoever makes it."""

    __mapper_args__: ClassVar[dict[str, Any]] = {"eager_defaults": True}

    revision: Mapped[int] = mapped_column(server_default="1", onupdate=text("revision + 1"))


class Retired:
    """Deleted for people, kept for the history that hangs on it."""

    deleted_at: Mapped[datetime | None]
