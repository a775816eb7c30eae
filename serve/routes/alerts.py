"""Alerts are acknowledged and resolved; lists and single reads are made from their table."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, post
from litestar.datastructures import State
from sqlalchemy.ext.asyncio import AsyncSession

from db import records
from db.audit import act_as
from db.records import as_uuid
from db.repositories import alerts
from db.result_records import ALERTS
from serve.preconditions import etag_headers
from serve.problems import ERRORS, Conflict, NotFound
from serve.resources.routes import Key
from serve.security import OPERATOR, User

MOST_AT_ONCE = 500


class AlertIds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alerts to acknowledge."""

    ids: Annotated[list[uuid.UUID], msgspec.Meta(min_length=1, max_length=MOST_AT_ONCE)]


class AlertStateOut(msgspec.Struct, frozen=True):
    """Where an alert stands now."""

    id: uuid.UUID
    revision: int
    state: str
    changed_by: str | None


class AcknowledgedOut(msgspec.Struct, frozen=True):
    """Which of the alerts were open and are acknowledged now; the others stay as they are, or are not there."""

    acknowledged: list[uuid.UUID]
    unchanged: list[uuid.UUID]


@post(
    "/{key:str}/acknowledge",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=200,
    operation_id="acknowledgeAlert",
    summary="Say that an alert was seen",
    description="It stays, is counted when it is found again, and opens again only when it becomes more severe. "
    "409 when it is resolved.",
)
async def acknowledge(request: Request[User, Any, Any], state: State, key: Key) -> Response[AlertStateOut]:
    """Acknowledge one alert."""
    async with state.connections.sessions.begin() as session:
        alert = await _locked(session, key)
        if alert.state == "resolved":
            raise Conflict("the alert is resolved already")
        await act_as(session, request.user.email)
        await alerts.acknowledge(session, [alert.id], request.user.email)
        return await _answer(session, alert.id)


@post(
    "/{key:str}/resolve",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=200,
    operation_id="resolveAlert",
    summary="Say that an alert is dealt with",
    description="Found again it is raised anew. Resolving a resolved one changes nothing.",
)
async def resolve(request: Request[User, Any, Any], state: State, key: Key) -> Response[AlertStateOut]:
    """Resolve one alert."""
    async with state.connections.sessions.begin() as session:
        alert = await _locked(session, key)
        await act_as(session, request.user.email)
        await alerts.resolve(session, alert.id, request.user.email)
        return await _answer(session, alert.id)


@post(
    "/acknowledge",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=200,
    operation_id="acknowledgeAlerts",
    summary="Say that several alerts were seen",
)
async def acknowledge_many(request: Request[User, Any, Any], state: State, data: AlertIds) -> AcknowledgedOut:
    """Acknowledge those that are open."""
    async with state.connections.sessions.begin() as session:
        await act_as(session, request.user.email)
        changed = await alerts.acknowledge(session, data.ids, request.user.email)
    asked = list(dict.fromkeys(data.ids))
    return AcknowledgedOut([each for each in asked if each in changed], [each for each in asked if each not in changed])


async def _locked(session: AsyncSession, key: str) -> Any:
    number = as_uuid(key)
    alert = None if number is None else await alerts.lock(session, number)
    if alert is None:
        raise NotFound(f"there is no alert {key!r}")
    return alert


async def _answer(session: AsyncSession, alert_id: uuid.UUID) -> Response[AlertStateOut]:
    row: Any = await records.find(session, ALERTS, str(alert_id))
    shown = AlertStateOut(row.id, row.revision, row.state, row.changed_by)
    return Response(shown, headers=etag_headers(row.revision))


router = Router("/alerts", route_handlers=[acknowledge, acknowledge_many, resolve], tags=["Alerts"])
