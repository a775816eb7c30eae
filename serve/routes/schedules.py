"""Schedules: what starts by itself, and when."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from litestar import Request, Response, Router, delete, get, post, put
from litestar.datastructures import State
from litestar.exceptions import ValidationException
from litestar.params import Parameter
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from actors import schedules
from actors.cron import next_runs
from actors.job_sources import schedulable
from actors.kinds import KINDS
from actors.owner import Connections
from db.models.job import Schedule
from db.paging import Order, fetch_page
from db.repositories import jobs as job_repository
from db.repositories import schedules as repository
from serve.job_schemas import CRON, JobOut, ScheduleIn, ScheduleOut, job_out, schedule_out
from serve.parameters import Cursor, IdempotencyKey, Limit, choice, sorts, text_parameter
from serve.preconditions import IfMatch, etag_headers, require_match
from serve.problems import ERRORS, Conflict, NotFound
from serve.routes.jobs import check_parameters, publish
from serve.schemas import Listing
from serve.security import MANAGER, OPERATOR, VIEWER, User, act_for
from settings import is_time_zone

ORDER = Order({"name": Schedule.name, "kind": Schedule.kind, "created_at": Schedule.created_at}, "name", Schedule.id)

ScheduleId = Annotated[uuid.UUID, Parameter(description="Id of a schedule.")]


@get("/", opt=VIEWER, responses=ERRORS, operation_id="listSchedules", summary="Schedules")
async def list_schedules(
    session: AsyncSession,
    kind: Annotated[str | None, text_parameter("Only those that start this kind of job.")] = None,
    enabled: Annotated[bool | None, Parameter(description="Only those switched on, or off.")] = None,
    sort: Annotated[str | None, sorts(ORDER)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[ScheduleOut]:
    """Each with the time it runs next and how it went last."""
    query = repository.statement(kind=kind, enabled=enabled)
    page = await fetch_page(session, query, ORDER, sort=sort, limit=limit, cursor=cursor)
    return Listing([schedule_out(row[0]) for row in page.rows], page.next_cursor, page.total)


@get("/{schedule_id:uuid}", opt=VIEWER, responses=ERRORS, operation_id="getSchedule", summary="One schedule")
async def get_schedule(session: AsyncSession, schedule_id: ScheduleId) -> Response[ScheduleOut]:
    """A schedule as it stands."""
    return _answer(await _existing(session, schedule_id))


@post("/", opt=MANAGER, responses=ERRORS, operation_id="createSchedule", summary="Add a schedule")
async def create_schedule(request: Request[User, Any, Any], state: State, data: ScheduleIn) -> Response[ScheduleOut]:
    """It first runs at its next time after now."""
    return await _put(state.connections, request.user, data)


@put("/{schedule_id:uuid}", opt=MANAGER, responses=ERRORS, operation_id="changeSchedule", summary="Change a schedule")
async def change_schedule(
    request: Request[User, Any, Any], state: State, schedule_id: ScheduleId, data: ScheduleIn, if_match: IfMatch = None
) -> Response[ScheduleOut]:
    """Its next time is reckoned anew from now; switched off, it rests."""
    return await _put(state.connections, request.user, data, schedule_id, if_match)


@delete(
    "/{schedule_id:uuid}",
    opt=MANAGER,
    responses=ERRORS,
    operation_id="deleteSchedule",
    summary="Remove a schedule",
)
async def delete_schedule(
    request: Request[User, Any, Any], state: State, schedule_id: ScheduleId, if_match: IfMatch = None
) -> None:
    """Jobs it has started stay."""
    async with state.connections.sessions.begin() as session:
        await act_for(session, request.user)
        schedule = await _existing(session, schedule_id, lock=True)
        require_match(if_match, schedule.revision)
        await session.delete(schedule)


@post(
    "/{schedule_id:uuid}/run",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=202,
    operation_id="runSchedule",
    summary="Start a schedule's job now",
)
async def run_schedule(
    request: Request[User, Any, Any], state: State, schedule_id: ScheduleId, idempotency_key: IdempotencyKey = None
) -> JobOut:
    """Beside its times, which stay as they are. The same idempotency key gives the job it has started before."""
    connections: Connections = state.connections
    async with connections.sessions.begin() as session:
        schedule = await _existing(session, schedule_id, lock=True)
        job, changed = await schedules.run_now(
            session, schedule, request.user.email, connections.settings.job_max_attempts, idempotency_key
        )
    await publish(connections, changed)
    return job_out(job)


@get(
    "/preview", opt=VIEWER, responses=ERRORS, operation_id="previewSchedule", summary="The next times of an expression"
)
async def preview(
    session: AsyncSession,
    state: State,
    cron: Annotated[str, Parameter(max_length=100, pattern=CRON, description="Five fields: `0 6 * * 1-5`.")],
    time_zone: Annotated[
        str | None, Parameter(description="Without it, the plant's own.", schema_extra=choice("TimeZone"))
    ] = None,
    count: Annotated[int, Parameter(ge=1, le=50, description="How many times.")] = 5,
) -> list[datetime]:
    """UTC times, to look at before a schedule is saved."""
    zone = _zone(state.connections, time_zone)
    now = await job_repository.clock(session)
    return next_runs(cron, zone, now, count)


async def _put(
    connections: Connections,
    by: User,
    data: ScheduleIn,
    schedule_id: uuid.UUID | None = None,
    if_match: str | None = None,
) -> Response[ScheduleOut]:
    """Store a new schedule, or new values of one."""
    zone = _zone(connections, data.time_zone)
    if data.kind not in KINDS:
        raise ValidationException(
            "kind: not one there is", extra=[{"key": "kind", "message": f"expected one of {', '.join(KINDS)}"}]
        )
    check_parameters(data.kind, data.parameters)
    try:
        async with connections.sessions.begin() as session:
            await act_for(session, by)
            schedule = await _to_write(session, schedule_id, if_match)
            for name in ("name", "kind", "cron", "priority", "missed_runs", "retry_steps", "enabled"):
                setattr(schedule, name, getattr(data, name))
            schedule.parameters = await schedulable(session, data.kind, data.parameters)
            schedule.time_zone = zone
            schedule.next_run_at = next_runs(data.cron, zone, await job_repository.clock(session))[0]
            schedule.last_error = None
            session.add(schedule)
            await session.flush()
            await session.refresh(schedule)
    except IntegrityError as error:
        raise Conflict(f"there is a schedule named {data.name!r} already") from error
    return _answer(schedule)


async def _to_write(session: AsyncSession, schedule_id: uuid.UUID | None, if_match: str | None) -> Schedule:
    """A new schedule, or the one there is at its next revision. Only people count it on: a run is no change of it."""
    if schedule_id is None:
        return Schedule()
    schedule = await _existing(session, schedule_id, lock=True)
    require_match(if_match, schedule.revision)
    schedule.revision += 1
    return schedule


def _answer(schedule: Schedule) -> Response[ScheduleOut]:
    return Response(schedule_out(schedule), headers=etag_headers(schedule.revision))


def _zone(connections: Connections, wanted: str | None) -> str:
    zone = wanted or connections.settings.time_zone
    if not is_time_zone(zone):
        raise ValidationException(
            "time_zone: not known", extra=[{"key": "time_zone", "message": "expected a name like Europe/Berlin"}]
        )
    return zone


async def _existing(session: AsyncSession, schedule_id: uuid.UUID, *, lock: bool = False) -> Schedule:
    schedule = await repository.get(session, schedule_id, lock=lock)
    if schedule is None:
        raise NotFound(f"no schedule {schedule_id}")
    return schedule


router = Router(
    "/schedules",
    route_handlers=[
        list_schedules,
        get_schedule,
        create_schedule,
        change_schedule,
        delete_schedule,
        run_schedule,
        preview,
    ],
    tags=["Schedules"],
)
