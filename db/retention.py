"""How long series are kept, and when their chunks go into the columnstore.

TimescaleDB's own policies do it on hypertables; native partitions are dropped whole, by the maintenance job. Demand is
kept for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.timeseries import SERIES, has_hypertables, month_of, partitions, prepare_months

# Past weeks and days whose rows nobody writes any more.
FORECAST_SETTLED_DAYS, JOB_EVENT_SETTLED_DAYS = 60, 7
MONTHS_AHEAD = 2


@dataclass(frozen=True)
class Retention:
    """Days until forecasts (by their week) and job events go, and how far back demand is restated."""

    forecast_days: int
    job_event_days: int
    restatement_days: int

    @property
    def kept(self) -> Mapping[str, int]:
        """Table -> days it is kept."""
        return MappingProxyType({"forecast": self.forecast_days, "job_event": self.job_event_days})

    @property
    def settled(self) -> Mapping[str, int]:
        """Table -> days after which a chunk goes into the columnstore."""
        return MappingProxyType(
            {
                "demand": self.restatement_days,
                "forecast": FORECAST_SETTLED_DAYS,
                "job_event": JOB_EVENT_SETTLED_DAYS,
            }
        )


DEFAULTS = Retention(forecast_days=730, job_event_days=90, restatement_days=400)
_POLICY = {
    "policy_retention": (
        "drop_after",
        "SELECT remove_retention_policy('{table}', if_exists => true)",
        "SELECT add_retention_policy('{table}', drop_after => INTERVAL '{days} days')",
    ),
    "policy_compression": (
        "compress_after",
        "CALL remove_columnstore_policy('{table}', if_exists => true)",
        "CALL add_columnstore_policy('{table}', after => INTERVAL '{days} days')",
    ),
}


def set_policies(connection: Connection, wanted: Retention) -> int:
    """Make TimescaleDB's policies those wanted, leaving alone what is right; returns how many were changed."""
    changed = 0
    for procedure, days in (("policy_retention", wanted.kept), ("policy_compression", wanted.settled)):
        field, remove, add = _POLICY[procedure]
        query = text(
            "SELECT hypertable_name, extract(epoch FROM (config ->> :field)::interval) / 86400"
            " FROM timescaledb_information.jobs"
            " WHERE proc_name = :procedure AND hypertable_schema = current_schema()"
        )
        found = connection.execute(query, {"field": field, "procedure": procedure}).all()
        present = {str(row[0]): float(row[1]) for row in found}
        for table, wanted_days in days.items():
            if present.get(table) != wanted_days:
                connection.execute(text(remove.format(table=table)))
                connection.execute(text(add.format(table=table, days=wanted_days)))
                changed += 1
    return changed


def remove_policies(connection: Connection) -> None:
    """Take all of `set_policies` back."""
    for procedure, tables in (("policy_retention", DEFAULTS.kept), ("policy_compression", DEFAULTS.settled)):
        for table in tables:
            connection.execute(text(_POLICY[procedure][1].format(table=table)))


async def apply(connection: AsyncConnection, wanted: Retention, today: date) -> int:
    """Let go of what has been kept long enough; returns how many partitions were dropped or policies changed.

    Also prepares the months ahead of the series that is written without a look at its partitions.
    """
    if await has_hypertables(connection):
        return await connection.run_sync(set_policies, wanted)
    # Dropping locks the whole table: whoever reads it for long must not hold up its writers behind us.
    await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    ahead = month_of(today)[1]
    for _ in range(MONTHS_AHEAD):
        await prepare_months(connection, "job_event", [ahead])
        ahead = month_of(ahead)[1]
    dropped = 0
    for table, days in wanted.kept.items():
        # A month goes once its last day is old enough.
        limit = today - timedelta(days=days)
        oldest = f"{table}_{limit:%Y_%m}"
        present = await partitions(connection, table)
        for name in sorted(present - {f"{table}_default"}):
            if name < oldest:
                await connection.execute(text(f"DROP TABLE {name}"))
                dropped += 1
        if f"{table}_default" in present:
            await connection.execute(
                text(f"DELETE FROM {table}_default WHERE {SERIES[table]} < :limit"), {"limit": limit}
            )
    return dropped
