"""Series tables: a TimescaleDB hypertable where the extension is there, native monthly partitions where it is not.

Writers call `prepare_months` before they store; readers see one table either way.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

# Table -> its time column. Both are identifiers of ours, never input.
SERIES = {"demand": "day", "forecast": "week"}
HYPERTABLES = "hypertables"
# Daily rows of 20,000 items: about 600,000 a month, so the indexes of a recent chunk stay in memory.
CHUNK = "1 month"


def detect_timescale(connection: Connection) -> str | None:
    """Return the version of a community-licensed TimescaleDB in this server, enabling the extension, else None.

    The Apache build carries the extension but refuses continuous aggregates and policies, so it does not count.
    """
    available = connection.execute(
        text("SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'")
    ).scalar()
    preloaded = connection.execute(text("SELECT current_setting('shared_preload_libraries', true)")).scalar() or ""
    if not available or "timescaledb" not in preloaded:
        return None
    connection.execute(text("CREATE EXTENSION IF NOT EXISTS timescaledb"))
    licence = connection.execute(text("SELECT current_setting('timescaledb.license', true)")).scalar()
    if licence != "timescale":
        return None
    version = connection.execute(text("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")).scalar()
    return str(version)


def partition_option(table: str, *, hypertables: bool) -> dict[str, Any]:
    """Keyword for `create_table`: native range partitions where there are no hypertables."""
    return {} if hypertables else {"postgresql_partition_by": f"RANGE ({SERIES[table]})"}


def make_hypertable(connection: Connection, table: str) -> None:
    """Turn a fresh series table into a hypertable. No columnstore policy is added: that one is written by hand."""
    connection.execute(
        text(
            f"SELECT create_hypertable('{table}', by_range('{SERIES[table]}', INTERVAL '{CHUNK}'),"
            " create_default_indexes => false)"
        )
    )


def month_of(day: date) -> tuple[date, date]:
    """Return [start, end) of the calendar month that holds `day`."""
    start = day.replace(day=1)
    return start, date(start.year + start.month // 12, start.month % 12 + 1, 1)


async def prepare_months(connection: AsyncConnection, table: str, days: Iterable[date]) -> None:
    """Make sure the month of each of `days` has a partition; does nothing on a hypertable.

    Only these months: a feed of long ago beside one of today does not fill the years between with empty tables.

    A partition is built beside the table and attached, which never blocks readers. An advisory lock lets one writer
    at a time do so.
    """
    if table not in SERIES:
        raise KeyError(table)
    capability = await connection.execute(
        text("SELECT value FROM capability WHERE name = :name"), {"name": HYPERTABLES}
    )
    if capability.scalar():
        return
    wanted = {f"{table}_{start:%Y_%m}": (start, end) for start, end in {month_of(day) for day in days}}
    missing = await _missing(connection, table, set(wanted))
    if not missing:
        return
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"fmrp-partition-{table}"})
    for name in sorted(await _missing(connection, table, missing)):
        start, end = wanted[name]
        await connection.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"))
        await connection.execute(
            text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')")
        )


async def _missing(connection: AsyncConnection, table: str, names: set[str]) -> set[str]:
    found = await connection.execute(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:table AS regclass)"),
        {"table": table},
    )
    return names - set(found.scalars())
