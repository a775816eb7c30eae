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
from serve.parameters import Cursor, Limit, moment_of, moment_parameter, text_parameter
from serve.problems import ERRORS
from serve.schemas import Listing
from serve.security import MANAGER


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
    actor: Annotated[str | None, text_parameter("Only what they did: an e-mail, or the name of a key.", 400)] = None,
    entity: Annotated[str | None, text_parameter("Only changes of this table.", 400)] = None,
    entity_id: Annotated[str | None, text_parameter("Only changes of the row with this id.", 400)] = None,
    action: Annotated[
        Literal["insert", "update", "delete"] | None, Parameter(description="Only changes of this sort.")
    ] = None,
    since: Annotated[str | None, moment_parameter("From this moment on.")] = None,
    until: Annotated[str | None, moment_parameter("Before this moment.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[AuditEntryOut]:
    """Newest first; `since` counts in, `until` does not."""
    query = audit_entries.statement(
        actor=actor,
        entity=entity,
        entity_id=entity_id,
        action=action,
        since=moment_of(since, "since"),
        until=moment_of(until, "until"),
    )
    page = await fetch_page(session, query, audit_entries.ORDER, sort=None, limit=limit, cursor=cursor)
    return Listing([_entry_out(row[0]) for row in page.rows], page.next_cursor, page.total)


def _entry_out(entry: AuditEntry) -> AuditEntryOut:
    return AuditEntryOut(**{name: getattr(entry, name) for name in AuditEntryOut.__struct_fields__})


router = Router("/", route_handlers=[list_audit_entries], tags=["Audit log"])
