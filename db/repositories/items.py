"""Items and their demand, as the API reads them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Date, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Demand, DemandMonth, DemandWeek, Item

# Grain -> where its sums are, and the column of the period.
_SERIES_OF: dict[str, Any] = {
    "day": (Demand, Demand.day),
    "week": (DemandWeek, DemandWeek.period),
    "month": (DemandMonth, DemandMonth.period),
}


async def find(session: AsyncSession, code: str) -> Item | None:
    """The item with that code."""
    return (await session.execute(select(Item).where(Item.code == code))).scalar_one_or_none()


async def demand(
    session: AsyncSession, item_id: uuid.UUID, grain: str, first: date | None, last: date | None
) -> Sequence[Any]:
    """Demand of an item by day, week (its Monday) or month (its first day): rows of (date, quantity, revenue).

    Feeds are summed up. Periods that hold a day from `first` to `last` are given, each whole. Those without demand
    between the first and the last one are 0; there are none before or after.
    """
    table, column = _SERIES_OF[grain]
    query = select(column.label("period"), func.sum(table.quantity).label("quantity"))
    query = query.add_columns(func.sum(table.revenue).label("revenue")).where(table.item_id == item_id)
    if first:
        query = query.where(column >= _start_of(grain, first))
    if last:
        query = query.where(column <= last)
    sums = query.group_by(column).cte("sums")
    step = text(f"interval '1 {grain}'")
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


def _start_of(grain: str, day: date) -> date:
    if grain == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if grain == "month" else day
