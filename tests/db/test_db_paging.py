"""Walking the pages of a list gives every row once, in order, whatever the ties and nulls."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Column, DateTime, MetaData, Numeric, Table, Text, Uuid, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from actors.owner import Connections
from db.models import Item
from db.paging import MAX_LIMIT, BadCursor, BadSort, Order, Page, fetch_page

TABLE = Table(
    "paged",
    MetaData(),
    Column("code", Text, primary_key=True),
    Column("amount", Numeric(20, 6)),
    Column("name", Text),
    Column("at", DateTime(timezone=True)),
    Column("id", Uuid),
    prefixes=["TEMPORARY"],
)
ORDER = Order({name: TABLE.c[name] for name in ("code", "amount", "name", "at")}, "code", TABLE.c.code)
ROWS = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5),
        st.none() | st.sampled_from([0, 1, -1]) | st.decimals(-99, 99, places=6),
        st.none() | st.sampled_from(["", "a", "B", "é", "null"]),
        st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    ),
    unique_by=lambda row: row[0],
    max_size=12,
)


async def walk(session: AsyncSession, sort: str | None, limit: int) -> list[Page]:
    """All pages, by their cursors."""
    pages: list[Page] = []
    cursor: str | None = None
    while not pages or cursor:
        pages.append(await fetch_page(session, select(TABLE), ORDER, sort=sort, limit=limit, cursor=cursor))
        cursor = pages[-1].next_cursor
        assert len(pages) < 50, "the cursors go round in circles"
    return pages


@hypothesis_settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS,
    sort=st.sampled_from([None, "code", "-code", "amount", "-amount", "name", "-name", "at", "-at"]),
    limit=st.integers(1, 5),
)
def test_the_cursors_walk_over_each_row_exactly_once_in_order(
    loop: asyncio.AbstractEventLoop, engine: AsyncEngine, rows: list[Any], sort: str | None, limit: int
) -> None:
    async def check() -> None:
        async with engine.connect() as connection, AsyncSession(connection) as session:
            await session.run_sync(lambda sync: TABLE.create(sync.connection()))
            if rows:
                await session.execute(
                    insert(TABLE), [dict(zip(("code", "amount", "name", "at"), r, strict=True)) for r in rows]
                )
            pages = await walk(session, sort, limit)
            field = (sort or "code").removeprefix("-")
            column = TABLE.c[field].desc() if sort and sort.startswith("-") else TABLE.c[field].asc()
            whole = (
                (await session.execute(select(TABLE.c.code).order_by(column.nulls_last(), TABLE.c.code)))
                .scalars()
                .all()
            )
            assert [row.code for page in pages for row in page.rows] == whole
            assert {page.total for page in pages} == {len(rows)}
            assert all(len(page.rows) == limit for page in pages[:-1])

    loop.run_until_complete(check())


@pytest.fixture
async def session(connections: Connections) -> Any:
    """A session over items A to E, the last without cost."""
    async with connections.sessions() as opened:
        opened.add_all(
            [Item(code=c, name=c, kind="component", cost=i % 2 if c != "E" else None) for i, c in enumerate("ABCDE")]
        )
        await opened.flush()
        yield opened


ITEMS = Order({"code": Item.code, "cost": Item.cost}, "-cost", Item.code)


async def page(session: AsyncSession, cursor: str | None = None, **rest: Any) -> Page:
    """A page of items."""
    wanted: dict[str, Any] = {"sort": None, "limit": 2, **rest}
    return await fetch_page(session, select(Item), ITEMS, cursor=cursor, **wanted)


def codes(found: Page) -> list[str]:
    """Codes of a page."""
    return [row.Item.code for row in found.rows]


async def test_the_default_order_holds_and_nulls_are_last(session: AsyncSession) -> None:
    first = await page(session)
    second = await page(session, first.next_cursor)
    third = await page(session, second.next_cursor)
    assert [codes(p) for p in (first, second, third)] == [["B", "D"], ["A", "C"], ["E"]]
    assert third.next_cursor is None


async def test_a_page_has_one_row_at_least_and_the_limit_at_most(session: AsyncSession) -> None:
    assert len((await page(session, limit=0)).rows) == 1
    assert len((await page(session, limit=MAX_LIMIT * 10)).rows) == 5


async def test_an_unknown_sort_field_names_those_there_are(session: AsyncSession) -> None:
    with pytest.raises(BadSort, match="sort: expected one of code, cost, not 'password'"):
        await page(session, sort="-password")


def cursor_of(value: object) -> str:
    """A cursor with this content."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


async def test_a_cursor_of_another_order_is_refused_by_name(session: AsyncSession) -> None:
    first = await page(session, sort="code")
    with pytest.raises(BadCursor, match="made for another order; ask for the first page"):
        await page(session, first.next_cursor, sort="-code")


@pytest.mark.parametrize(
    "cursor",
    [
        *["", "?", "abc", "é", "====", "x" * 5000],
        *[cursor_of(value) for value in (5, None, "text", [], ["-cost"], {}, ["-cost", 1, "A"], ["-cost", "1", None])],
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        # Well formed, and of another list: no cost at all, and a text that PostgreSQL cannot hold.
        cursor_of(["-cost", "Wheel", "A"]),
        cursor_of(["-cost", "1", "A\x00"]),
    ],
)
async def test_what_is_no_cursor_of_this_list_is_refused(session: AsyncSession, cursor: str) -> None:
    with pytest.raises(BadCursor, match="ask for the first page"):
        await page(session, cursor)
