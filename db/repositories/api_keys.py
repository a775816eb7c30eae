"""SQL of machines' keys."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import ApiKey
from db.paging import Order, Rows

ORDER = Order(
    {
        "name": ApiKey.name,
        "role": ApiKey.role,
        "created_at": ApiKey.created_at,
        "expires_at": ApiKey.expires_at,
        "last_used_at": ApiKey.last_used_at,
    },
    "name",
    ApiKey.id,
)
# The last use is told to the minute: a busy machine must not write a row at each request.
USE_EVERY = timedelta(minutes=1)

_LIVE = (ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()))
_IS_STALE = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - USE_EVERY)


async def find_live(session: AsyncSession, key_hash: bytes) -> tuple[ApiKey, bool] | None:
    """The key of that hash, neither revoked nor over, and whether its last use is to be noted anew."""
    found = (await session.execute(select(ApiKey, _IS_STALE).where(ApiKey.hash == key_hash, *_LIVE))).one_or_none()
    return None if found is None else (found[0], found[1])


async def get_live(session: AsyncSession, key_id: uuid.UUID) -> ApiKey | None:
    """The key of that id, neither revoked nor over."""
    return (await session.execute(select(ApiKey).where(ApiKey.id == key_id, *_LIVE))).scalar_one_or_none()


async def note_use(session: AsyncSession, key_id: uuid.UUID) -> None:
    """Note that the key is used now, unless that was noted within the last minute."""
    noted = update(ApiKey).where(ApiKey.id == key_id, _IS_STALE).values(last_used_at=func.now())
    # A use is no change of the key: `updated_at` stays.
    await session.execute(noted.values(updated_at=ApiKey.updated_at).execution_options(synchronize_session=False))


async def get(session: AsyncSession, key_id: uuid.UUID, *, lock: bool = False) -> ApiKey | None:
    """The key, live or not; locked when asked."""
    return await session.get(ApiKey, key_id, with_for_update=lock or None)


async def find(session: AsyncSession, name: str) -> ApiKey | None:
    """The key of that name, live or not."""
    return (await session.execute(select(ApiKey).where(ApiKey.name == name))).scalar_one_or_none()


async def add(
    session: AsyncSession,
    *,
    name: str,
    role: str,
    prefix: str,
    key_hash: bytes,
    created_by: str,
    expires_at: datetime | None,
) -> ApiKey:
    """Store a key."""
    key = ApiKey(name=name, role=role, prefix=prefix, hash=key_hash, created_by=created_by, expires_at=expires_at)
    session.add(key)
    await session.flush()
    return key


def statement(*, search: str | None = None, role: str | None = None, active: bool | None = None) -> Rows:
    """Keys by part of the name, role, and whether they still open anything."""
    query = select(ApiKey)
    if search:
        query = query.where(ApiKey.name.icontains(search, autoescape=True))
    if role is not None:
        query = query.where(ApiKey.role == role)
    if active is not None:
        is_over = or_(ApiKey.revoked_at.is_not(None), ApiKey.expires_at <= func.now())
        query = query.where(*_LIVE) if active else query.where(is_over)
    return query
