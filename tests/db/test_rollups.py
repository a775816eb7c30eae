"""Weekly and monthly demand is exact as soon as the demand it sums is committed: with TimescaleDB refreshed or not."""

from __future__ import annotations

import asyncio
import random
from datetime import date, timedelta

import polars as pl
from alembic import command
from pydantic import SecretStr
from series_world import assert_exact, demand_frame, rolled_up, store_demand, store_items
from sqlalchemy import text

from actors.owner import Connections
from db import migrate, rollups
from db.repositories import items, plant, targets
from settings import Settings

D = date
# Around the ends of months and years, weeks that lie in two of them included.
FIRST = D(2024, 12, 16)
DAYS = 70


async def test_any_sequence_of_writes_and_refreshes_leaves_exact_sums(connections: Connections) -> None:
    chance = random.Random(11)
    async with connections.sessions.begin() as session:
        await store_items(session, ("A", "B", "C"))
    for _ in range(40):
        feed = chance.choice(("shop", "erp"))
        rows = [
            {
                "item": chance.choice("ABC"),
                "day": FIRST + timedelta(days=chance.randrange(DAYS)),
                "quantity": float(chance.randrange(-3, 9)),
                "revenue": chance.choice((None, 2.5, 7.0)),
            }
            for _ in range(chance.randrange(0, 8))
        ]
        frame = demand_frame(rows).unique(["item", "day"], keep="first", maintain_order=True)
        async with connections.sessions.begin() as session:
            if chance.random() < 0.25:
                touched = pl.Series(chance.sample("ABC", 2))
                await targets.replace_demand(
                    session, touched, frame.filter(pl.col("item").is_in(touched.implode())), feed=feed
                )
            elif rows:
                await targets.store(session, "demand", frame, feed=feed)
            await assert_exact(session)  # the writer itself reads what it has written
        async with connections.sessions() as session:
            await assert_exact(session)
        if chance.random() < 0.3:
            await rollups.refresh(connections.engine)
            async with connections.sessions() as session:
                await assert_exact(session)
    async with connections.sessions() as session:
        assert len(await rolled_up(session, "week")) > 8


async def test_two_writers_of_one_week_lose_nothing_of_each_other(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        await store_items(session)

    async def write(day: date) -> None:
        async with connections.sessions.begin() as session:
            await store_demand(session, ("A", day, 1.0))

    await write(D(2025, 1, 6))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with connections.sessions.begin() as first:
        await store_demand(first, ("A", D(2025, 1, 7), 1.0))
        second = asyncio.create_task(write(D(2025, 1, 8)))
        while not second.done():
            async with connections.sessions() as watch:
                if (await watch.execute(text(waiting))).scalar():
                    break
    await second
    async with connections.sessions() as session:
        await assert_exact(session)
        assert [row[3] for row in await rolled_up(session, "week")] == [3]


async def test_a_write_that_fails_leaves_the_sums_as_they_were(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        await store_items(session)
        await store_demand(session, ("A", D(2025, 3, 3), 5.0))
    async with connections.sessions() as session:
        await store_demand(session, ("A", D(2025, 3, 4), 7.0))
        await session.rollback()
        await assert_exact(session)
        assert [row[2:4] for row in await rolled_up(session, "month")] == [(D(2025, 3, 1), 5)]


async def test_rows_that_are_stored_already_write_nothing(connections: Connections) -> None:
    rows = [("A", D(2025, 1, 1) + timedelta(days=day), day / 3) for day in range(40)]
    async with connections.sessions.begin() as session:
        await store_items(session)
        await store_demand(session, *rows)
    await rollups.refresh(connections.engine)
    where = text("SELECT day, xmin::text FROM demand ORDER BY day")
    async with connections.sessions.begin() as session:
        before = (await session.execute(where)).all()
        await store_demand(session, *rows)
        frame = demand_frame(
            [{"item": item, "day": day, "quantity": number, "revenue": 2 * number} for item, day, number in rows]
        )
        await targets.replace_demand(session, pl.Series(["A"]), frame, feed="shop")
        assert (await session.execute(where)).all() == before
        assert (await session.execute(text("SELECT count(*) FROM rollup_pending"))).scalar_one() == 0
        await store_demand(session, rows[0], (*rows[1][:2], 99.0))
        changed = [old[0] for old, new in zip(before, (await session.execute(where)).all(), strict=True) if old != new]
        assert changed == [rows[1][1]]


async def test_series_of_one_item_by_month_sum_feeds_and_fill_gaps(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        await store_items(session)
        await store_demand(session, ("A", D(2025, 1, 31), 1.0), ("A", D(2025, 4, 1), 4.0), ("B", D(2025, 2, 1), 9.0))
        await store_demand(session, ("A", D(2025, 1, 1), 2.0), feed="erp")
        await store_demand(session, ("A", D(2025, 5, 5), 5.0), feed="erp")
    async with connections.sessions() as session:
        item = await items.find(session, "A")
        assert item is not None

        async def rows(grain: str, first: date | None = None, last: date | None = None) -> list[tuple[date, float]]:
            return [(row[0], float(row[1])) for row in await items.demand(session, item.id, grain, first, last)]

        year = [(D(2025, 1, 1), 3.0), (D(2025, 2, 1), 0.0), (D(2025, 3, 1), 0.0), (D(2025, 4, 1), 4.0)]
        assert await rows("month") == [*year, (D(2025, 5, 1), 5.0)]
        # Every period that holds a day within the bounds, and the whole of it.
        assert await rows("month", D(2025, 1, 20), D(2025, 4, 1)) == year
        assert await rows("week", D(2025, 4, 3), D(2025, 4, 10)) == [(D(2025, 3, 31), 4.0)]
        assert await rows("day", D(2025, 4, 2), D(2025, 5, 5)) == [(D(2025, 5, 5), 5.0)]
        history = await plant.read_weekly_history(session, weeks=6)
        assert history.rows() == [("A", D(2025, 3, 31), 4.0), ("A", D(2025, 5, 5), 5.0)]


def test_demand_that_is_there_before_the_roll_ups_is_in_them(empty_database_url: str, settings: Settings) -> None:
    async def fill_and_compare(fill: bool) -> None:
        connections = Connections(settings.model_copy(update={"database_url": SecretStr(empty_database_url)}), "test")
        try:
            if fill:
                async with connections.sessions.begin() as session:
                    await store_items(session)
                    days = [D(2023, 1, 1) + timedelta(days=30 * step) for step in range(30)]
                    await store_demand(session, *(("A", day, 1.0) for day in days))
            async with connections.sessions() as session:
                await assert_exact(session)
                assert len(await rolled_up(session, "week")) == 30
            await rollups.refresh(connections.engine)
            async with connections.sessions() as session:
                await assert_exact(session)
        finally:
            await connections.close()

    migrate.upgrade(empty_database_url)
    asyncio.run(fill_and_compare(True))
    migrate.downgrade(empty_database_url, "0002")
    migrate.upgrade(empty_database_url)
    command.check(migrate.config(empty_database_url))
    asyncio.run(fill_and_compare(False))
