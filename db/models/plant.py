"""What holds for the whole plant: its settings, and how far its data has moved on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base


class PlantSetting(Base):
    """One setting that planners have set. `value` null: set back to its default; the row stays and goes on counting."""

    __tablename__ = "plant_setting"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    revision: Mapped[int] = mapped_column(server_default="1")
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DataVersion(Base):
    """How far a table's data has moved on: the sum over its slots grows with every change (db/versions.py)."""

    __tablename__ = "data_version"

    name: Mapped[str] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[int] = mapped_column(BigInteger)
