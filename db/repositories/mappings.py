"""The plant's own mappings."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import SavedMapping


async def find(session: AsyncSession, name: str, *, lock: bool = False) -> SavedMapping | None:
    """The mapping of that name, unless it is deleted."""
    query = select(SavedMapping).where(SavedMapping.name == name, SavedMapping.deleted_at.is_(None))
    return (await session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()


async def every(session: AsyncSession) -> Sequence[SavedMapping]:
    """All of them that are not deleted, by name."""
    query = select(SavedMapping).where(SavedMapping.deleted_at.is_(None)).order_by(SavedMapping.name)
    return (await session.execute(query)).scalars().all()


async def hold(session: AsyncSession, names: Collection[str]) -> set[str]:
    """Which of these there are; none of them can be deleted before this transaction ends."""
    query = (
        select(SavedMapping.name)
        .where(SavedMapping.name.in_(names), SavedMapping.deleted_at.is_(None))
        .order_by(SavedMapping.name)
        .with_for_update(read=True)
    )
    return set((await session.execute(query)).scalars())
