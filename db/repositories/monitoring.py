"""What monitors ask of the database at every scrape: answers in milliseconds on a job table of millions of rows.

Each question reads an index of what is open (waiting, running, dead, next, newest), never the jobs that have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# Dead letters beyond this are not counted one by one: somebody must look long before.
MOST_DEAD = 100_000
# A dispatcher beats every second or two; one silent for so long serves no more.
SILENT_S = 15
PATIENCE_MS = 3000

# Jumps from priority to priority along ix_job_due: a plain min(run_at) would read every waiting job.
_OLDEST_DUE = """
WITH RECURSIVE head (kind, priority, run_at) AS (
  SELECT asked.kind, first.priority, first.run_at FROM unnest(CAST(:kinds AS text[])) AS asked (kind)
  CROSS JOIN LATERAL (
    SELECT priority, run_at FROM job WHERE state = 'waiting' AND kind = asked.kind
    ORDER BY priority DESC, run_at LIMIT 1) first
  UNION ALL
  SELECT head.kind, next.priority, next.run_at FROM head
  CROSS JOIN LATERAL (
    SELECT priority, run_at FROM job WHERE state = 'waiting' AND kind = head.kind AND priority < head.priority
    ORDER BY priority DESC, run_at LIMIT 1) next)
SELECT kind, greatest(0, extract(epoch FROM now() - min(run_at)))::float8 FROM head GROUP BY kind
"""
_WAITING = """
SELECT kind, count(*), count(*) FILTER (WHERE run_at <= now()) FROM job WHERE state = 'waiting' GROUP BY kind
"""
_RUNNING = "SELECT kind, count(*) FROM job WHERE state = 'running' GROUP BY kind"
_DEAD = f"""
SELECT kind, state, count(*) FROM
(SELECT kind, state FROM job WHERE state IN ('failed', 'held') LIMIT {MOST_DEAD}) dead GROUP BY kind, state
"""
_PAUSED = "SELECT kind, paused::int FROM kind_control"
_DISPATCHERS = f"""
SELECT state, count(*) FROM worker WHERE heartbeat_at > now() - interval '{SILENT_S} seconds' GROUP BY state
"""
_LATE = """
SELECT kind, greatest(0, extract(epoch FROM now() - min(next_run_at)))::float8 FROM schedule
WHERE enabled AND next_run_at IS NOT NULL GROUP BY kind
"""
_NEWEST = """
SELECT what, extract(epoch FROM at)::float8 FROM (
  SELECT 'forecast' AS what, max(created_at) AS at FROM forecast_run
  UNION ALL SELECT 'plan', max(created_at) FROM planning_run
  UNION ALL SELECT 'ingest', max(finished_at) FROM ingest_run WHERE state <> 'failed'
  UNION ALL SELECT 'day', max(finished_at) FROM job WHERE kind = 'day' AND state = 'done') newest
WHERE at IS NOT NULL
"""


@dataclass
class Readings:
    """What one look showed. Ages and lateness in seconds, `newest` in Unix time."""

    oldest_due_s: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    dead: dict[tuple[str, str], int] = field(default_factory=dict)
    paused: dict[str, int] = field(default_factory=dict)
    dispatchers: dict[str, int] = field(default_factory=dict)
    late_s: dict[str, float] = field(default_factory=dict)
    newest: dict[str, float] = field(default_factory=dict)


async def read(session: AsyncSession, kinds: Sequence[str]) -> Readings:
    """Ask everything in one read-only transaction; each statement may take `PATIENCE_MS`.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is away or too slow.
    """
    await session.execute(text("SET TRANSACTION READ ONLY"))
    await session.execute(text(f"SET LOCAL statement_timeout = {PATIENCE_MS}"))
    found = Readings()
    found.oldest_due_s = dict.fromkeys(kinds, 0.0) | await _pairs(session, _OLDEST_DUE, kinds=list(kinds))
    found.waiting, found.due = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    for kind, waiting, due in await session.execute(text(_WAITING)):
        found.waiting[kind], found.due[kind] = waiting, due
    found.running = dict.fromkeys(kinds, 0) | await _pairs(session, _RUNNING)
    found.dead = {(kind, state): count for kind, state, count in await session.execute(text(_DEAD))}
    found.paused = await _pairs(session, _PAUSED)
    found.dispatchers = {"serving": 0, "draining": 0} | await _pairs(session, _DISPATCHERS)
    found.late_s = await _pairs(session, _LATE)
    found.newest = await _pairs(session, _NEWEST)
    return found


async def _pairs(session: AsyncSession, query: str, **values: Any) -> dict[str, Any]:
    return {row[0]: row[1] for row in await session.execute(text(query), values)}
