"""The audit log: who changed what, before and after."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, get
from litestar.params import Parameter
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import AuditEntry
from db.paging import fetch_page
from db.repositories import audit_entries
from serve.parameters import Cursor, Limit
from serve.problems import ERRORS
from serve.schemas import Listing
from serve.security import MANAGER

Filter = Annotated[str | None, Parameter(max_length=400)]


class AuditEntryOut(msgspec.Struct, frozen=True):
    """One change of one row. `before` and `after` hold the whole row of a deletion and an insertion, of an update the
    columns that changed; secrets stand as "(hidden)"."""

    id: int
    at: datetime
    actor: str
    request_id: str | None
    action: str
    entity: str
    entity_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@get("/audit", opt=MANAGER, responses=ERRORS, operation_id="listAuditEntries", summary="Who changed what")
async def list_audit_entries(
    session: AsyncSession,
    actor: Filter = None,
    entity: Filter = None,
    entity_id: Filter = None,
    action: Literal["insert", "update", "delete"] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[AuditEntryOut]:
    """Newest first; `since` counts in, `until` does not."""
    query = audit_entries.statement(
        actor=actor, entity=entity, entity_id=entity_id, action=action, since=since, until=until
    )
    page = await fetch_page(session, query, audit_entries.ORDER, sort=None, limit=limit, cursor=cursor)
    return Listing([_entry_out(row[0]) for row in page.rows], page.next_cursor, page.total)


def _entry_out(entry: AuditEntry) -> AuditEntryOut:
    return AuditEntryOut(**{name: getattr(entry, name) for name in AuditEntryOut.__struct_fields__})


router = Router("/", route_handlers=[list_audit_entries], tags=["Audit log"])
