"""How sources are doing: one statement for a whole page of them, however many jobs and runs there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# The newest ended job of each source is the first row of its index; what waits, runs or is dead is always little.
_STATUS = text(
    """
WITH wanted AS (SELECT unnest(CAST(:codes AS text[])) AS code),
open_jobs AS (
  SELECT DISTINCT ON (source) source, id, state, run_at, failures, message FROM
    (SELECT coalesce(parameters ->> 'source', 'upload') AS source, * FROM job
     WHERE kind = 'ingest' AND state IN ('running', 'waiting')) AS each_job
  ORDER BY source, state, run_at, id
),
dead AS (
  SELECT coalesce(parameters ->> 'source', 'upload') AS source, count(*) AS number FROM job
  WHERE kind = 'ingest' AND state IN ('failed', 'held') GROUP BY 1
)
SELECT wanted.code, last.id AS last_id, last.state AS last_state, last.finished_at, last.error AS job_error, counts.*,
  open_jobs.id AS job_id, open_jobs.state AS job_state, open_jobs.run_at,
  CASE WHEN open_jobs.failures > 0 THEN nullif(open_jobs.message, '') END AS retry_reason,
  coalesce(dead.number, 0) AS dead_jobs
FROM wanted
LEFT JOIN LATERAL (
  SELECT id, state, finished_at, error FROM job
  WHERE kind = 'ingest' AND coalesce(parameters ->> 'source', 'upload') = wanted.code
    AND state IN ('done', 'failed', 'held', 'cancelled')
  ORDER BY created_at DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
  SELECT count(*) AS files, count(*) FILTER (WHERE state = 'failed') AS failed_files,
    coalesce(sum(read), 0) AS read, coalesce(sum(taken), 0) AS taken, coalesce(sum(merged), 0) AS merged,
    coalesce(sum(rejected), 0) AS rejected,
    (array_agg(file || ': ' || error ORDER BY finished_at DESC) FILTER (WHERE state = 'failed'))[1] AS file_error
  FROM ingest_run WHERE job_id = last.id
) AS counts ON true
LEFT JOIN open_jobs ON open_jobs.source = wanted.code
LEFT JOIN dead ON dead.source = wanted.code
"""
)


async def read(session: AsyncSession, codes: Sequence[str]) -> dict[str, Any]:
    """By source: its last ended job with the sums of that job's runs, the job that runs or waits, and dead letters."""
    rows = await session.execute(_STATUS, {"codes": list(codes)})
    return {row.code: row for row in rows}
