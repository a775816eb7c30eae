"""SQL of the audit log; it is written by the database's triggers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from db.models import AuditEntry
from db.paging import Order, Rows

# The id grows with time, and is unique where times are not.
ORDER = Order({"id": AuditEntry.id}, "-id", AuditEntry.id)


def statement(
    *,
    actor: str | None = None,
    entity: str | None = None,
    entity_id: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Rows:
    """Entries by who, what, and when: from `since` on, before `until`."""
    query = select(AuditEntry)
    for column, wanted in (
        (AuditEntry.actor, actor),
        (AuditEntry.entity, entity),
        (AuditEntry.entity_id, entity_id),
        (AuditEntry.action, action),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    if until is not None:
        query = query.where(AuditEntry.at < until)
    return query
