"""User accounts."""

from __future__ import annotations

import uuid

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import UserAccount


async def find_by_email(session: AsyncSession, email: str) -> UserAccount | None:
    """The active or inactive account with that e-mail, whatever its case."""
    return (
        await session.execute(select(UserAccount).where(UserAccount.email == email.strip().lower()))
    ).scalar_one_or_none()


async def get(session: AsyncSession, user_id: uuid.UUID) -> UserAccount | None:
    """The account with that id."""
    return await session.get(UserAccount, user_id)


async def count(session: AsyncSession) -> int:
    """How many accounts there are."""
    return (await session.execute(select(func.count()).select_from(UserAccount))).scalar_one()


async def add(session: AsyncSession, *, email: str, name: str, role: str, password_hash: str) -> UserAccount:
    """Create an account."""
    user = UserAccount(email=email.strip().lower(), name=name, role=role, password_hash=password_hash)
    session.add(user)
    await session.flush()
    return user
