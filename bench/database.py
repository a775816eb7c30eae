"""Daily demand into the database: staged merge against a bare COPY of the same rows."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import date, timedelta

import polars as pl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from bench.fresh import migrated_postgres
from db.copy import stage
from db.repositories import targets

ITEMS, DAYS, ROUNDS = 500, 365, 3


def rows() -> pl.DataFrame:
    """ITEMS x DAYS daily demand rows."""
    days = [date(2025, 1, 1) + timedelta(days=day) for day in range(DAYS)]
    codes = [f"I{number:05}" for number in range(ITEMS)]
    frame = pl.DataFrame({"item": codes}).join(pl.DataFrame({"day": days}), how="cross")
    return frame.with_columns(
        quantity=(pl.int_range(pl.len()) % 97).cast(pl.Float64), revenue=(pl.int_range(pl.len()) % 89).cast(pl.Float64)
    )


async def measure(url: str) -> None:
    """Print seconds and the ratio; the median of a few rounds, with the spread."""
    engine = create_async_engine(url)
    frame = rows()
    items = pl.DataFrame({"code": frame["item"].unique(), "kind": "finished"})

    async def merge(session: AsyncSession) -> None:
        await targets.store(session, "demand", frame, feed="bench")

    async def bare(session: AsyncSession) -> None:
        await stage(session, "bare", frame)

    async with AsyncSession(engine) as session, session.begin():
        filled = {name: pl.lit(None) for name in ("name", "unit", "category", "active")}
        numbers = ("cost", "price", "min_order_qty", "order_multiple", "safety_stock", "service_level")
        full = items.with_columns(
            **{name: value.cast(pl.String) for name, value in filled.items() if name != "active"},
            **{name: pl.lit(None, dtype=pl.Float64) for name in numbers},
            lead_time_days=pl.lit(None, dtype=pl.Int64),
            active=pl.lit(True),
        )
        await targets.store(session, "items", full, feed="bench")
    first = await _time(engine, merge)
    again = [await _time(engine, merge) for _ in range(ROUNDS)]
    copies = [await _time(engine, bare) for _ in range(ROUNDS)]
    copy = statistics.median(copies)
    print(f"{frame.height:,} rows: bare COPY {copy:.2f} s ({min(copies):.2f} to {max(copies):.2f})")
    print(f"  first merge {first:.2f} s = {first / copy:.1f} x COPY")
    print(f"  same again  {statistics.median(again):.2f} s = {statistics.median(again) / copy:.1f} x COPY")
    async with engine.connect() as connection:
        stored = (await connection.execute(text("SELECT count(*) FROM demand"))).scalar_one()
    print(f"  stored {stored:,} rows: {'each once' if stored == frame.height else 'WRONG'}")
    await engine.dispose()


async def _time(engine: object, action: Callable[[AsyncSession], Awaitable[None]]) -> float:
    began = time.perf_counter()
    async with AsyncSession(engine) as session, session.begin():  # type: ignore[arg-type]
        await action(session)
    return time.perf_counter() - began


def main() -> None:
    """Measure on a fresh embedded PostgreSQL."""
    with migrated_postgres() as url:
        asyncio.run(measure(url))


if __name__ == "__main__":
    main()
