"""A million demand rows of CSV: read, deduplicated, stored and rolled up, against a bare COPY of the same rows.

Each load is a process of its own (`bench.demand_file`), so that its peak of memory is its own. Run: python -m
bench.demand_load. With FMRP_DATABASE_URL it measures on that server, in a database of its own.
"""

from __future__ import annotations

import asyncio
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from bench.demand_file import FEED
from bench.fresh import given_postgres
from db.copy import driver_of
from db.timeseries import has_hypertables, partitions

ITEMS, DAYS, TWICE, BAD, ROUNDS = 2_000, 500, 10_000, 100, 3
LIMIT_TIMES, LIMIT_BYTES = 4.0, 1.5e9
FIRST = date(2025, 1, 1)
COLUMNS = ("item_id", "feed", "day", "quantity", "revenue")
AMOUNT = "numeric(20, 6)"
TABLE = f"item_id uuid NOT NULL, feed text NOT NULL, day date NOT NULL, quantity {AMOUNT} NOT NULL, revenue {AMOUNT}"
KEY = "PRIMARY KEY (item_id, feed, day)"


# -- the files -------------------------------------------------------------------------------------------------------


def rows() -> pl.DataFrame:
    """ITEMS x DAYS rows by item and day, of which the last TWICE state a day of an earlier one again."""
    codes = pl.DataFrame({"item": [f"I{number:05}" for number in range(ITEMS)]})
    days = pl.DataFrame({"day": [FIRST + timedelta(days=number) for number in range(DAYS)]})
    at = pl.int_range(pl.len())
    once = codes.join(days, how="cross").with_columns(
        quantity=(at * 7919 % 977).cast(pl.Float64) / 4, revenue=(at * 104_729 % 99_991).cast(pl.Float64) / 100
    )
    once = once.head(ITEMS * DAYS - TWICE)
    return pl.concat([once, once.gather_every(once.height // TWICE).head(TWICE).with_columns(pl.col("quantity") + 1)])


def restated(frame: pl.DataFrame) -> pl.DataFrame:
    """The same file with one row in a hundred changed."""
    changed = pl.int_range(pl.len()) % 100 == 7
    return frame.with_columns(pl.when(changed).then(pl.col("quantity") + 0.5).otherwise("quantity"))


def deduplicated(frame: pl.DataFrame) -> pl.DataFrame:
    """What a correct load leaves: of each item and day the last row of the file."""
    return frame.unique(["item", "day"], keep="last", maintain_order=True).sort("item", "day")


def write(frame: pl.DataFrame, path: Path) -> None:
    """As CSV, with BAD rows more that break a rule in one way or another."""
    kinds = ("I00000,2025-01-01,much,1", "I00000,31.31.2025,1,1", "nobody,2025-01-01,1,1", "I00000,2025-01-01,1,1,1")
    frame.write_csv(path)
    with path.open("a") as file:
        file.writelines(f"{kinds[number % len(kinds)]}\n" for number in range(BAD))


# -- the loads --------------------------------------------------------------------------------------------------------


def loaded(url: str, path: Path) -> dict[str, Any]:
    """What `bench.demand_file` tells of one load."""
    command = [sys.executable, "-m", "bench.demand_file", url, str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


# -- the comparison --------------------------------------------------------------------------------------------------


async def bare_copy(connection: AsyncConnection, content: bytes, constraint: str) -> float:
    """Seconds of a bare COPY, commit included, of rows that are in memory as CSV and in the key's order."""
    await connection.execute(text("DROP TABLE IF EXISTS bare"))
    await connection.execute(text(f"CREATE TABLE bare ({TABLE}{constraint})"))
    await connection.commit()
    await connection.execute(text("CHECKPOINT"))
    await connection.commit()
    began = time.perf_counter()
    driver = await driver_of(connection)
    await driver.copy_to_table("bare", source=io.BytesIO(content), columns=COLUMNS, format="csv")
    await connection.commit()
    return time.perf_counter() - began


async def copied(connection: AsyncConnection, frame: pl.DataFrame) -> bytes:
    """The rows as COPY takes them, items by their keys."""
    found = await connection.execute(text("SELECT code, id::text FROM item"))
    keys = pl.DataFrame([tuple(row) for row in found], schema=["item", "item_id"], orient="row")
    buffer = io.BytesIO()
    frame.join(keys, on="item").with_columns(feed=pl.lit(FEED)).select(COLUMNS).sort("item_id", "day").write_csv(
        buffer, include_header=False
    )
    return buffer.getvalue()


async def empty(connection: AsyncConnection) -> None:
    """Demand and its roll-ups as in a new database, partitions included."""
    native = not await has_hypertables(connection)
    await connection.execute(text("TRUNCATE demand, rollup_pending" + (", demand_week, demand_month" * native)))
    if native:
        for name in await partitions(connection, "demand"):
            await connection.execute(text(f"DROP TABLE {name}"))
    await connection.commit()
    await connection.execute(text("CHECKPOINT"))
    await connection.commit()


async def is_exact(connection: AsyncConnection, frame: pl.DataFrame) -> bool:
    """Whether exactly these rows are stored, and both roll-ups sum them up."""
    expected = (frame.height, frame["quantity"].sum(), round(frame["revenue"].sum(), 2))
    for table, count in (
        ("demand", "count(*)"),
        ("demand_week", str(frame.height)),
        ("demand_month", str(frame.height)),
    ):
        query = f"SELECT {count}, sum(quantity)::float, round(sum(revenue), 2)::float FROM {table}"
        if tuple((await connection.execute(text(query))).one()) != expected:
            return False
    await connection.rollback()
    return True


async def measure(url: str, folder: Path) -> None:
    """Print seconds, ratios to the bare COPY, their spread, and the peak of memory."""
    first = rows()
    frames = {"first": deduplicated(first), "again": deduplicated(first), "restated": deduplicated(restated(first))}
    paths = {"first": folder / "demand.csv", "again": folder / "demand.csv", "restated": folder / "restated.csv"}
    write(first, paths["first"])
    write(restated(first), paths["restated"])
    engine = create_async_engine(url)
    copies: dict[str, list[float]] = {"key": [], "none": []}
    loads: dict[str, list[dict[str, Any]]] = {name: [] for name in frames}
    async with engine.connect() as connection:
        names = "SELECT 'I' || lpad(n::text, 5, '0') AS code FROM generate_series(0, :most) n ORDER BY 1"
        query = (
            f"INSERT INTO item (id, code, name, kind) SELECT gen_random_uuid(), code, code, 'finished' FROM ({names}) s"
        )
        await connection.execute(text(query), {"most": ITEMS - 1})
        content = await copied(connection, frames["first"])
        await connection.commit()
        for _ in range(ROUNDS):
            copies["key"].append(await bare_copy(connection, content, f", {KEY}"))
            copies["none"].append(await bare_copy(connection, content, ""))
            await connection.execute(text("DROP TABLE bare"))
            await empty(connection)
            for name, found in loads.items():
                found.append(await asyncio.to_thread(loaded, url, paths[name]))
                if not await is_exact(connection, frames[name]):
                    raise AssertionError(f"{name}: what is stored is not what the file says")
    await engine.dispose()
    show(first.height + BAD, copies, loads)


def show(count: int, copies: dict[str, list[float]], loads: dict[str, list[dict[str, Any]]]) -> None:
    """Print the figures."""
    print(f"{count:,} rows; bare COPY {spread(copies['key'])} s; without a key {spread(copies['none'])} s")
    for name, found in loads.items():
        read, taken, merged, rejected = found[0]["counts"]
        print(f"  {name}: {taken:,} taken, {merged:,} merged, {rejected:,} rejected of {read:,}")
        seconds = {part: [each["seconds"][part] for each in found] for part in found[0]["seconds"]}
        print("    " + ", ".join(f"{part} {spread(values)}" for part, values in seconds.items()) + " s")
        times = [one / copy for one, copy in zip(seconds["all"], copies["key"], strict=True)]
        bare = [one / copy for one, copy in zip(seconds["all"], copies["none"], strict=True)]
        print(f"    x{spread(times)} of COPY; limit x{LIMIT_TIMES:g}: {verdict(statistics.median(times), LIMIT_TIMES)}")
        print(f"    x{spread(bare)} of COPY into a table without a key, which is no limit")
        peak, before = max(each["peak"] for each in found), min(each["before"] for each in found)
        print(
            f"    peak {peak / 1e6:,.0f} MB, {before / 1e6:,.0f} of them before it began;"
            f" limit {LIMIT_BYTES / 1e6:,.0f} MB: {verdict(peak, LIMIT_BYTES)}"
        )


def verdict(value: float, limit: float) -> str:
    """How a figure stands to its limit."""
    return "within" if value <= limit else "OVER"


def spread(values: Sequence[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure on the server that is given, else on a fresh embedded PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="fmrp-bench-") as folder, given_postgres() as url:
        asyncio.run(measure(url, Path(folder)))


if __name__ == "__main__":
    main()
