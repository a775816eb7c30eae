"""The front page in figures, in one query."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# Each part reads what is open or newest; the value of stock, which takes whole tables, is the newest plan's.
_SUMMARY = text(
    """
SELECT
  (SELECT coalesce(jsonb_object_agg(severity, number), '{}') FROM
    (SELECT severity, count(*) AS number FROM alert WHERE state = 'open' GROUP BY severity) open_alerts) AS alerts,
  (SELECT to_jsonb(newest) FROM (SELECT id, as_of, created_at, summary FROM planning_run
    ORDER BY created_at DESC LIMIT 1) newest) AS plan,
  (SELECT to_jsonb(newest) FROM (SELECT id, as_of, created_at, items,
      (SELECT coalesce(jsonb_agg(
        jsonb_build_object('model', model, 'wql', wql, 'mase', mase, 'wape', wape, 'bias', bias)
        ORDER BY wql NULLS LAST, model), '[]')
       FROM forecast_metric m WHERE m.run_id = r.id AND m.demand_class = 'all') AS accuracy
    FROM forecast_run r ORDER BY created_at DESC LIMIT 1) newest) AS forecast,
  (SELECT count(*) FROM open_order WHERE due_date < current_date) AS overdue_orders,
  (SELECT coalesce(jsonb_agg(jsonb_build_object('source', s.code, 'last_data_at', newest.finished_at) ORDER BY s.code),
      '[]') FROM (SELECT code FROM source WHERE active) s
    LEFT JOIN LATERAL (SELECT finished_at FROM ingest_run r WHERE r.source = s.code AND r.state <> 'failed'
      ORDER BY r.finished_at DESC LIMIT 1) newest ON true) AS sources,
  (SELECT count(*) FROM job WHERE state = 'running') AS running_jobs,
  (SELECT count(*) FROM job WHERE state = 'waiting') AS waiting_jobs
"""
)


async def read(session: AsyncSession) -> Any:
    """One row: alerts by severity, newest plan and forecast, overdue orders, sources, jobs."""
    return (await session.execute(_SUMMARY)).one()
