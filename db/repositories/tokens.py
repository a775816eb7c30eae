"""SQL of log-ins: families of refresh tokens, their rotation and their end."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import RefreshToken, TokenFamily
from db.paging import Order, Rows

ORDER = Order(
    {"created_at": TokenFamily.created_at, "last_used_at": TokenFamily.last_used_at}, "-last_used_at", TokenFamily.id
)


async def open_family(
    session: AsyncSession, user_id: uuid.UUID, token_hash: bytes, ttl: timedelta, *, client: str, address: str
) -> TokenFamily:
    """A new log-in with its first token."""
    family = TokenFamily(user_id=user_id, client=client, address=address, expires_at=func.now() + ttl)
    session.add(family)
    await session.flush()
    await _add(session, family.id, token_hash, ttl)
    return family


async def rotate(session: AsyncSession, used: bytes, following: bytes, ttl: timedelta) -> TokenFamily | None:
    """Exchange a token for the next one; None when it is unknown, over, revoked or was exchanged before.

    Of several at once exactly one succeeds: the others wait for its row and find it used.
    """
    spend = (
        update(RefreshToken)
        .where(
            RefreshToken.hash == used,
            RefreshToken.used_at.is_(None),
            RefreshToken.expires_at > func.now(),
            TokenFamily.id == RefreshToken.family_id,
            TokenFamily.revoked_at.is_(None),
        )
        .values(used_at=func.now())
        .returning(RefreshToken.family_id)
        .execution_options(synchronize_session=False)
    )
    family_id = (await session.execute(spend)).scalar_one_or_none()
    if family_id is None:
        return None
    await _add(session, family_id, following, ttl)
    prolong = (
        update(TokenFamily)
        .where(TokenFamily.id == family_id)
        .values(last_used_at=func.now(), expires_at=func.now() + ttl)
        .returning(TokenFamily)
    )
    return (await session.execute(prolong)).scalar_one()


async def family_of(session: AsyncSession, token_hash: bytes) -> tuple[uuid.UUID, bool] | None:
    """The family of a token, whoever asks, and whether the token was exchanged already; None for an unknown one."""
    query = select(RefreshToken.family_id, RefreshToken.used_at.is_not(None)).where(RefreshToken.hash == token_hash)
    found = (await session.execute(query)).one_or_none()
    return None if found is None else (found[0], found[1])


async def revoke(
    session: AsyncSession, reason: str, *, family_id: uuid.UUID | None = None, user_id: uuid.UUID | None = None
) -> int:
    """End one family, all of a user, or one if it is that user's; returns how many it ended.

    Raises:
        ValueError: neither is named.
    """
    if family_id is None and user_id is None:
        raise ValueError("family_id: expected a family or a user")
    statement = update(TokenFamily).where(TokenFamily.revoked_at.is_(None), TokenFamily.expires_at > func.now())
    if family_id is not None:
        statement = statement.where(TokenFamily.id == family_id)
    if user_id is not None:
        statement = statement.where(TokenFamily.user_id == user_id)
    ended = statement.values(revoked_at=func.now(), revoked_for=reason).execution_options(synchronize_session=False)
    result: CursorResult[Any] = await session.execute(ended)  # type: ignore[assignment]
    return result.rowcount


def statement(user_id: uuid.UUID) -> Rows:
    """A user's log-ins that go on."""
    return select(TokenFamily).where(
        TokenFamily.user_id == user_id, TokenFamily.revoked_at.is_(None), TokenFamily.expires_at > func.now()
    )


async def remove_expired(session: AsyncSession, limit: int) -> int:
    """Delete up to `limit` families that are over, with their tokens, and as many tokens of others; returns how many.

    Tokens go by their age only, used or not: until then their coming again tells of a theft.
    """
    families = select(TokenFamily.id).where(TokenFamily.expires_at < func.now()).limit(limit)
    tokens = select(RefreshToken.hash).where(RefreshToken.expires_at < func.now()).limit(limit)
    removed = 0
    for model, key, chosen in ((TokenFamily, TokenFamily.id, families), (RefreshToken, RefreshToken.hash, tokens)):
        result: CursorResult[Any] = await session.execute(  # type: ignore[assignment]
            delete(model).where(key.in_(chosen)).execution_options(synchronize_session=False)
        )
        removed += result.rowcount
    return removed


async def _add(session: AsyncSession, family_id: uuid.UUID, token_hash: bytes, ttl: timedelta) -> None:
    await session.execute(
        insert(RefreshToken).values(hash=token_hash, family_id=family_id, expires_at=func.now() + ttl)
    )
