"""What planners have set for the plant, one row a setting."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import CalendarDay, PlantSetting

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('fmrp-plant-settings'))")


async def read(session: AsyncSession) -> tuple[dict[str, Any], int]:
    """What has been set, and the revision of it all: 1 when nothing ever was, and more with every change."""
    rows = (await session.execute(select(PlantSetting.key, PlantSetting.value, PlantSetting.revision))).all()
    return {row.key: row.value for row in rows if row.value is not None}, 1 + sum(row.revision for row in rows)


async def lock(session: AsyncSession) -> None:
    """Let nobody else change settings until this transaction ends."""
    await session.execute(_LOCK)


async def store(session: AsyncSession, values: Mapping[str, Any]) -> None:
    """Set these; None sets a setting back to its default. What is as it was counts as no change."""
    given = insert(PlantSetting).values([{"key": key, "value": value} for key, value in values.items()])
    await session.execute(
        given.on_conflict_do_update(
            index_elements=[PlantSetting.key],
            set_={"value": given.excluded.value, "revision": PlantSetting.revision + 1, "updated_at": func.now()},
            where=PlantSetting.value.is_distinct_from(given.excluded.value),
        )
    )


async def calendar_days(session: AsyncSession) -> tuple[frozenset[date], frozenset[date]]:
    """Where the factory calendar differs from the working week: days that are not worked, and days that are."""
    rows = (await session.execute(select(CalendarDay.day, CalendarDay.working))).all()
    return frozenset(day for day, working in rows if not working), frozenset(day for day, working in rows if working)
