"""User accounts."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import UserAccount
from db.paging import Order, Rows

ORDER = Order(
    {
        "email": UserAccount.email,
        "name": UserAccount.name,
        "role": UserAccount.role,
        "created_at": UserAccount.created_at,
        "updated_at": UserAccount.updated_at,
    },
    "email",
    UserAccount.id,
)


async def find_by_email(session: AsyncSession, email: str) -> UserAccount | None:
    """The active or inactive account with that e-mail, whatever its case."""
    return (
        await session.execute(select(UserAccount).where(UserAccount.email == email.strip().lower()))
    ).scalar_one_or_none()


async def identity(session: AsyncSession, user_id: uuid.UUID) -> Any | None:
    """E-mail, name, role and whether the password must be changed of an active account: asked for at each request."""
    columns = (UserAccount.email, UserAccount.name, UserAccount.role, UserAccount.must_change_password)
    query = select(*columns).where(UserAccount.id == user_id, UserAccount.active)
    return (await session.execute(query)).one_or_none()


async def get(session: AsyncSession, user_id: uuid.UUID, *, lock: bool = False) -> UserAccount | None:
    """The account with that id, locked when asked."""
    return await session.get(UserAccount, user_id, with_for_update=lock or None)


async def count(session: AsyncSession) -> int:
    """How many accounts there are."""
    return (await session.execute(select(func.count()).select_from(UserAccount))).scalar_one()


async def lock_active_admins(session: AsyncSession) -> set[uuid.UUID]:
    """Active administrators, locked in one order: whoever takes one away waits for whoever takes another.

    To be called before any of them is locked by itself.
    """
    query = (
        select(UserAccount.id)
        .where(UserAccount.role == "admin", UserAccount.active)
        .order_by(UserAccount.id)
        .with_for_update()
    )
    return set((await session.execute(query)).scalars())


async def add(
    session: AsyncSession, *, email: str, name: str, role: str, password_hash: str, must_change_password: bool = False
) -> UserAccount:
    """Create an account."""
    user = UserAccount(
        email=email.strip().lower(),
        name=name,
        role=role,
        password_hash=password_hash,
        must_change_password=must_change_password,
    )
    session.add(user)
    await session.flush()
    return user


def statement(*, search: str | None = None, role: str | None = None, active: bool | None = None) -> Rows:
    """Accounts by part of the e-mail or name, role, and whether they may log in."""
    query = select(UserAccount)
    if search:
        found = (column.icontains(search, autoescape=True) for column in (UserAccount.email, UserAccount.name))
        query = query.where(or_(*found))
    if role is not None:
        query = query.where(UserAccount.role == role)
    if active is not None:
        query = query.where(UserAccount.active == active)
    return query
