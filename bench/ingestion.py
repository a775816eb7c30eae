"""Files of 100,000 rows read and stored: XLSX against the promised 20 seconds, the other formats beside it."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl
import xlsxwriter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from actors.intake import store_rows
from bench.fresh import migrated_postgres
from ingestion.ingest import Ingested, ingest
from ingestion.mapping import load_mappings

ROWS, WIDTH, LIMIT_S, ROUNDS = 100_000, 20, 20.0, 5
ITEMS = 500
HEADER = ("item", "day", "quantity", "revenue")


def rows() -> list[tuple[str, date, float, float]]:
    """ROWS daily sales, each of another item or day."""
    first = date(2025, 1, 1)
    return [
        (f"I{n % ITEMS:05}", first + timedelta(days=n // ITEMS), n % 97 + 0.5, round(n % 89 * 3.1, 2))
        for n in range(ROWS)
    ]


def workbook(table: list[tuple[Any, ...]], header: Sequence[str] = HEADER) -> bytes:
    """The rows as Excel saves them: dates and numbers typed, texts shared."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"default_date_format": "yyyy-mm-dd"})
    page = book.add_worksheet("Sales")
    page.write_row(0, 0, header)
    for number, row in enumerate(table, start=1):
        for column, value in enumerate(row):
            page.write(number, column, value)
    book.close()
    return out.getvalue()


def delimited(table: list[tuple[Any, ...]]) -> bytes:
    """The rows as CSV."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEADER)
    writer.writerows(table)
    return out.getvalue().encode()


def lines(table: list[tuple[Any, ...]]) -> bytes:
    """The rows as a JSON object a line."""
    return "".join(json.dumps(dict(zip(HEADER, row, strict=True)), default=str) + "\n" for row in table).encode()


def parquet(table: list[tuple[Any, ...]]) -> bytes:
    """The rows as Parquet."""
    out = io.BytesIO()
    pl.DataFrame(table, schema=list(HEADER), orient="row").write_parquet(out)
    return out.getvalue()


def wide(table: list[tuple[Any, ...]]) -> bytes:
    """The rows as an ERP exports them, among columns that nobody asked for."""
    others = tuple(f"Column {n}" for n in range(WIDTH - len(HEADER)))
    return workbook([(*row, *(f"{name} of {row[0]}" for name in others)) for row in table], (*HEADER, *others))


FORMATS: dict[str, Callable[[list[tuple[Any, ...]]], bytes]] = {
    "xlsx": workbook,
    "xlsx, 20 columns": wide,
    "csv": delimited,
    "csv.gz": lambda table: gzip.compress(delimited(table)),
    "jsonl": lines,
    "parquet": parquet,
}


async def measure(url: str) -> None:
    """Print the median and the spread of some rounds: reading (the first starts the reader), and storing."""
    engine = create_async_engine(url)
    table = rows()
    mapping = load_mappings()["erp_demand"].model_copy(update={"unknown_items": "create"})
    print(f"{ROWS:,} rows, {ROUNDS} times each; load of the machine {os.getloadavg()[0]:.1f}")
    for file_format, made in FORMATS.items():
        content = made(table)
        read, stored = [], []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            result = await asyncio.to_thread(ingest, content, f"sales.{file_format}", mapping)
            read.append(time.perf_counter() - began)
            assert (result.read, result.taken) == (ROWS, ROWS), (result.read, result.taken)
            if file_format.startswith("xlsx"):
                stored.append(read[-1] + await _store(engine, result))
        print(f"  {file_format:17}{len(content) / 1e6:6.1f} MB read   {_told(read)}")
        if stored:
            print(f"  {'':17}{'':9} stored {_told(stored)}")
    await engine.dispose()


async def _store(engine: AsyncEngine, result: Ingested) -> float:
    """Seconds it takes to store the rows where none of them are."""
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(text("TRUNCATE demand, item CASCADE"))
    began = time.perf_counter()
    async with AsyncSession(engine) as session, session.begin():
        await store_rows(session, result, "bench")
    return time.perf_counter() - began


def _told(took: list[float]) -> str:
    median, worst = statistics.median(took), max(took)
    share = f"{median:6.2f} s ({min(took):.2f} to {worst:.2f}) = {median / LIMIT_S:5.1%} of {LIMIT_S:g} s"
    return f"{share}, {ROWS / median:9,.0f} rows/s" + ("" if worst <= LIMIT_S else "  TOO SLOW")


def main() -> None:
    """Measure on a fresh embedded PostgreSQL."""
    with migrated_postgres() as url:
        asyncio.run(measure(url))


if __name__ == "__main__":
    main()
