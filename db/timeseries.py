"""Series tables: a TimescaleDB hypertable where the extension is there, native monthly partitions where it is not.

Writers call `prepare_months` before they store; readers see one table either way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

# Table -> its time column. Both are identifiers of ours, never input.
SERIES = {"demand": "day", "forecast": "week", "job_event": "at"}
HYPERTABLES = "hypertables"
# A table with a default partition takes every row, also where nobody has prepared its month.
PARTITION_NAME = re.compile(rf"({'|'.join(SERIES)})_(\d{{4}}_\d{{2}}|default)")
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


def partition_statements(table: str, start: date, end: date) -> tuple[str, str, str]:
    """The partition's name and the statements that make it and attach it for [start, end), by UTC."""
    name = f"{table}_{start:%Y_%m}"
    zone = " 00:00+00" if SERIES[table] == "at" else ""
    bounds = f"FROM ('{start}{zone}') TO ('{end}{zone}')"
    return (
        name,
        f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}",
    )


async def has_hypertables(connection: AsyncConnection) -> bool:
    """Whether the series of this database are hypertables, with their continuous aggregates and policies."""
    found = await connection.execute(text("SELECT value FROM capability WHERE name = :name"), {"name": HYPERTABLES})
    return bool(found.scalar())


async def allow_restatement(connection: AsyncConnection) -> None:
    """Let this transaction write into chunks of the columnstore, however many rows must be taken out of it for that.

    The usual limit of 100,000 rows would refuse a month that an ERP states anew.
    """
    if await has_hypertables(connection):
        await connection.execute(text("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"))


async def prepare_months(connection: AsyncConnection, table: str, days: Iterable[date]) -> None:
    """Make sure the month of each of `days` has a partition; does nothing on a hypertable.

    Only these months: a feed of long ago beside one of today does not fill the years between with empty tables.

    A partition is built beside the table and attached, which never blocks readers. An advisory lock lets one writer
    at a time do so.
    """
    if table not in SERIES:
        raise KeyError(table)
    if await has_hypertables(connection):
        return
    wanted = {f"{table}_{start:%Y_%m}": (start, end) for start, end in {month_of(day) for day in days}}
    missing = set(wanted) - await partitions(connection, table)
    if not missing:
        return
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"fmrp-partition-{table}"})
    for name in sorted(missing - await partitions(connection, table)):
        _, create, attach = partition_statements(table, *wanted[name])
        await connection.execute(text(create))
        await connection.execute(text(attach))


async def partitions(connection: AsyncConnection, table: str) -> set[str]:
    """Names of a table's native partitions."""
    found = await connection.execute(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:table AS regclass)"),
        {"table": table},
    )
    return set(found.scalars())
