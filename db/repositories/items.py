"""Items and their demand, as the API reads them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Date, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Demand, Item


async def find(session: AsyncSession, code: str) -> Item | None:
    """The item with that code."""
    return (await session.execute(select(Item).where(Item.code == code))).scalar_one_or_none()


async def demand(
    session: AsyncSession, item_id: uuid.UUID, grain: str, first: date | None, last: date | None
) -> Sequence[Any]:
    """Demand of an item by day or by week (its Monday), feeds summed up: rows of (date, quantity, revenue).

    Periods without demand between the first and the last one are 0; there are none before or after.
    """
    step = text(f"interval '1 {grain}'")
    column = cast(func.date_trunc(grain, Demand.day), Date)
    query = select(column.label("period"), func.sum(Demand.quantity).label("quantity"))
    query = query.add_columns(func.sum(Demand.revenue).label("revenue")).where(Demand.item_id == item_id)
    if first:
        query = query.where(Demand.day >= first)
    if last:
        query = query.where(Demand.day <= last)
    sums = query.group_by(column).cte("sums")
    span = func.generate_series(
        select(func.min(sums.c.period)).scalar_subquery(), select(func.max(sums.c.period)).scalar_subquery(), step
    )
    periods = select(cast(span, Date).label("period")).cte("periods")
    filled = (
        select(periods.c.period, func.coalesce(sums.c.quantity, 0), func.coalesce(sums.c.revenue, 0))
        .outerjoin_from(periods, sums, sums.c.period == periods.c.period)
        .order_by(periods.c.period)
    )
    return (await session.execute(filled)).all()
