"""Alerts: raised, counted when raised again, resolved when they are found no more, acknowledged by people.

Whoever looks for findings hands over all that it found of its kinds: `settle` compares that with what is open.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from db.copy import stage
from db.models import Alert

SYSTEM = "system"
FINDINGS: dict[str, Any] = {
    **dict.fromkeys(("kind", "subject", "severity", "message", "item", "supplier", "work_centre", "source"), pl.String),
    "day": pl.Date,
}
# Seconds since 1970 stay below this for three hundred years: the severity goes before the time.
_STEP = 10_000_000_000
_SEVERITY = "CASE {0}.severity WHEN 'critical' THEN 3 WHEN 'warning' THEN 2 ELSE 1 END"
_URGENCY = f"{_SEVERITY.format('s')} * {_STEP}::float8 + extract(epoch FROM now())::float8"

_RESOLVE = (
    f"UPDATE alert a SET state = 'resolved', changed_by = '{SYSTEM}', changed_at = now(), revision = a.revision + 1"
    " WHERE a.state <> 'resolved'"
)


@dataclass(frozen=True)
class Finding:
    """What is wrong with one subject, and the source it is about."""

    severity: str
    message: str
    source: str | None = None


@dataclass(frozen=True)
class Settled:
    """What became of a look at things: alerts that are new, found again, and gone."""

    raised: int
    repeated: int
    resolved: int


async def settle(session: AsyncSession, kinds: Collection[str], found: pl.DataFrame) -> Settled:
    """Hold what was found (columns of FINDINGS, each subject of a kind once) against the alerts of these kinds.

    An acknowledged alert that has become more severe is open again. Part of the caller's transaction.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtext('fmrp-alerts'))"))
    ids = pl.Series("id", [str(uuid7()) for _ in range(found.height)], dtype=pl.String)
    rows = found.select(
        (pl.col(name) if name in found.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in FINDINGS.items()
    )
    await stage(session, "staged_alert", rows.with_columns(ids))
    repeated = await _run(
        session,
        "UPDATE alert a SET count = a.count + 1, last_seen = now(), severity = s.severity, message = s.message,"
        f" day = s.day, urgency = {_URGENCY}, revision = a.revision + 1,"
        f" state = CASE WHEN {_SEVERITY.format('s')} > {_SEVERITY.format('a')} THEN 'open' ELSE a.state END"
        " FROM staged_alert s WHERE a.kind = s.kind AND a.subject = s.subject AND a.state <> 'resolved'",
    )
    raised = await _run(
        session,
        "INSERT INTO alert (id, kind, subject, severity, message, item_id, supplier_id, work_centre_id, source, day,"
        " urgency)"
        " SELECT s.id::uuid, s.kind, s.subject, s.severity, s.message, i.id, p.id, w.id, s.source, s.day,"
        f" {_URGENCY} FROM staged_alert s LEFT JOIN item i ON i.code = s.item"
        " LEFT JOIN supplier p ON p.code = s.supplier LEFT JOIN work_centre w ON w.code = s.work_centre"
        " WHERE NOT EXISTS (SELECT FROM alert a WHERE a.kind = s.kind AND a.subject = s.subject"
        " AND a.state <> 'resolved')",
    )
    resolved = await _run(
        session,
        f"{_RESOLVE} AND a.kind = ANY(CAST(:kinds AS text[]))"
        " AND NOT EXISTS (SELECT FROM staged_alert s WHERE s.kind = a.kind AND s.subject = a.subject)",
        kinds=list(kinds),
    )
    return Settled(raised, repeated, resolved)


async def settle_one(session: AsyncSession, kind: str, subject: str, finding: Finding | None) -> uuid.UUID | None:
    """The same for one subject: what is wrong with it, or None where nothing is.

    Returns the alert that begins or ends by this; None when one goes on, or there was none to end.
    """
    if finding is None:
        query = f"{_RESOLVE} AND a.kind = :kind AND a.subject = :subject RETURNING a.id"
        return (await session.execute(text(query), {"kind": kind, "subject": subject})).scalar_one_or_none()
    alert_id = uuid7()
    given = {"id": alert_id, "kind": kind, "subject": subject, "severity": finding.severity}
    query = (
        "INSERT INTO alert AS a (id, kind, subject, severity, message, source, urgency)"
        " SELECT s.id, s.kind, s.subject, s.severity, s.message, s.source,"
        f" {_URGENCY} FROM (SELECT CAST(:id AS uuid) AS id, CAST(:kind AS text) AS kind,"
        " CAST(:subject AS text) AS subject, CAST(:severity AS text) AS severity, CAST(:message AS text) AS message,"
        " CAST(:source AS text) AS source) s ON CONFLICT (kind, subject) WHERE state <> 'resolved'"
        " DO UPDATE SET count = a.count + 1, last_seen = now(), severity = excluded.severity,"
        " message = excluded.message, urgency = excluded.urgency, revision = a.revision + 1,"
        f" state = CASE WHEN {_SEVERITY.format('excluded')} > {_SEVERITY.format('a')} THEN 'open' ELSE a.state END"
        " RETURNING a.id"
    )
    settled = await session.execute(text(query), {**given, "message": finding.message, "source": finding.source})
    return alert_id if settled.scalar_one() == alert_id else None


async def lock(session: AsyncSession, alert_id: uuid.UUID) -> Alert | None:
    """The alert, held until this transaction ends; None if there is none."""
    query = select(Alert).where(Alert.id == alert_id).with_for_update(of=Alert)
    return (await session.execute(query)).scalar_one_or_none()


async def acknowledge(session: AsyncSession, ids: Sequence[uuid.UUID], who: str) -> set[uuid.UUID]:
    """Somebody has seen these. Returns the ids of those that were open; the others stay as they are."""
    query = update(Alert).where(Alert.id.in_(ids), Alert.state == "open").returning(Alert.id)
    changed = query.values(state="acknowledged", changed_by=who, changed_at=text("now()"))
    return set((await session.execute(changed, execution_options={"synchronize_session": False})).scalars())


async def resolve(session: AsyncSession, alert_id: uuid.UUID, who: str) -> None:
    """Somebody has dealt with it; found again it is raised anew."""
    query = update(Alert).where(Alert.id == alert_id, Alert.state != "resolved")
    changed = query.values(state="resolved", changed_by=who, changed_at=text("now()"))
    await session.execute(changed, execution_options={"synchronize_session": False})


async def _run(session: AsyncSession, statement: str, **given: Any) -> int:
    result: Any = await session.execute(text(statement), given)
    return int(result.rowcount)
