"""Keyset paging: a page is found by its first row's place in the order, so deep pages cost what the first one does."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, Text, and_, cast, func, literal, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

MAX_LIMIT = 500
# A query with any columns: the caller knows them.
Rows = Select[*tuple[Any, ...]]


class BadCursor(ValueError):
    """The cursor was not made by this list in this order."""


class BadSort(ValueError):
    """The list cannot be sorted by that field."""


@dataclass(frozen=True)
class Page:
    """One page of rows, the cursor of the next one (None at the end), and how many rows the filters match."""

    rows: list[Any]
    next_cursor: str | None
    total: int


@dataclass(frozen=True)
class Order:
    """How a list may be sorted: field name -> column, the default field ('-' before it: descending), and the unique
    column that breaks ties."""

    columns: Mapping[str, SQLColumnExpression[Any]]
    default: str
    key: SQLColumnExpression[Any]

    def resolve(self, sort: str | None) -> tuple[str, SQLColumnExpression[Any], bool]:
        """Return (field, column, descending). Raises BadSort for an unknown field."""
        wanted = sort or self.default
        name = wanted.removeprefix("-")
        if name not in self.columns:
            raise BadSort(f"sort: expected one of {', '.join(self.columns)}, not {name!r}")
        return wanted, self.columns[name], wanted.startswith("-")


async def fetch_page(
    session: AsyncSession,
    query: Rows,
    order: Order,
    *,
    sort: str | None,
    limit: int,
    cursor: str | None,
) -> Page:
    """Fetch one page of `query`, which has filters and no order. Nulls sort last, whatever the direction.

    Raises:
        BadSort, BadCursor: see there.
    """
    wanted, column, descending = order.resolve(sort)
    limit = max(1, min(limit, MAX_LIMIT))
    count = select(func.count()).select_from(query.with_only_columns(order.key).subquery())
    page_query = query.add_columns(
        column.label("_sort"), order.key.label("_key"), count.scalar_subquery().label("_total")
    )
    if cursor is not None:
        page_query = page_query.where(_after(column, order.key, descending, *_decode(cursor, wanted)))
    direction = column.desc() if descending else column.asc()
    page_query = page_query.order_by(direction.nulls_last(), order.key).limit(limit + 1)
    try:
        rows = list((await session.execute(page_query)).all())
    except DBAPIError as error:
        # Class 22: the place in the order is no value of these columns.
        if cursor is None or not str(getattr(error.orig, "sqlstate", "")).startswith("22"):
            raise
        raise BadCursor("cursor: not one of this list's cursors; ask for the first page") from error
    next_cursor = None
    total = rows[0]._total if rows else 0
    if not rows and cursor is not None:  # beyond the last page
        total = (await session.execute(count)).scalar_one()
    if len(rows) > limit:
        rows = rows[:limit]
        next_cursor = _encode(wanted, rows[-1]._sort, rows[-1]._key)
    return Page(rows, next_cursor, total)


def _after(
    column: SQLColumnExpression[Any], key: SQLColumnExpression[Any], descending: bool, value: Any, last_key: Any
) -> ColumnElement[bool]:
    last = _typed(key, last_key)
    if value is None:
        return and_(column.is_(None), key > last)
    typed = _typed(column, value)
    beyond = column < typed if descending else column > typed
    return or_(beyond, and_(column == typed, key > last), column.is_(None))


def _typed(column: Any, value: Any) -> ColumnElement[Any]:
    return cast(literal(str(value), Text), column.type)


def _encode(sort: str, value: Any, key: Any) -> str:
    text = json.dumps([sort, None if value is None else str(value), str(key)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, sort: str) -> tuple[str | None, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.urlsafe_b64decode(padded.encode()).decode()
        made_for, value, key = json.loads(text)
        # Escapes can spell half a character, which no driver can send.
        f"{value}{key}".encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise BadCursor("cursor: not one of this list's cursors; ask for the first page") from error
    if made_for != sort or not isinstance(key, str) or not (value is None or isinstance(value, str)):
        raise BadCursor("cursor: made for another order; ask for the first page")
    return value, key
