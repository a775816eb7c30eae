"""Jobs: start, watch, cancel, retry; their logs; and all dead letters at once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from litestar import Request, Router, get, post
from litestar.datastructures import State
from litestar.params import Parameter
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from actors import jobs
from actors.kinds import KINDS
from actors.owner import Connections
from db.models.job import Job, JobLog
from db.models.series import JobEvent
from db.paging import MAX_LIMIT, Order, fetch_page
from db.repositories import jobs as repository
from serve.job_schemas import (
    JobDetail,
    JobEventOut,
    JobIn,
    JobOut,
    JobState,
    LogLine,
    Retried,
    job_detail,
    job_event_out,
    job_out,
    log_line,
)
from serve.parameters import Cursor, IdempotencyKey, Limit, Search, sorts, text_parameter
from serve.problems import ERRORS, Conflict, NotFound
from serve.schemas import Listing
from serve.security import OPERATOR, RANK, VIEWER, User

ORDER = Order(
    {
        "created_at": Job.created_at,
        "kind": Job.kind,
        "state": Job.state,
        "priority": Job.priority,
        "run_at": Job.run_at,
    },
    "-created_at",
    Job.id,
)
JobId = Annotated[uuid.UUID, Parameter(description="Id of a job.")]
LOG_ORDER = Order({"id": JobLog.id}, "id", JobLog.id)
EVENT_ORDER = Order({"id": JobEvent.id}, "id", JobEvent.id)


@post("/", opt=OPERATOR, responses=ERRORS, status_code=202, operation_id="startJob", summary="Start a job")
async def start_job(
    request: Request[User, Any, Any],
    state: State,
    data: JobIn,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """Enqueue a job. The same idempotency key, or an equal job still waiting, gives the job already there."""
    connections: Connections = state.connections
    check_parameters(data.kind, data.parameters)
    async with connections.sessions.begin() as session:
        job, is_new = await jobs.start(
            session,
            data.kind,
            data.parameters,
            requested_by=request.user.email,
            idempotency_key=idempotency_key,
            max_attempts=data.max_attempts or connections.settings.job_max_attempts,
            priority=data.priority,
            delay_s=data.delay_s,
            run_at=data.due_at(),
        )
        children = await repository.children(session, job.id) if is_new else []
    if is_new:
        await publish(connections, [job, *children])
    return job_out(job)


@get("/", opt=VIEWER, responses=ERRORS, operation_id="listJobs", summary="Jobs by filter, newest first")
async def list_jobs(
    session: AsyncSession,
    job_state: Annotated[
        list[JobState] | None, Parameter(query="state", description="Only jobs in one of these states.")
    ] = None,
    kind: Annotated[str | None, text_parameter("Only jobs of this kind.")] = None,
    parent_id: Annotated[uuid.UUID | None, Parameter(description="Only the steps of this job.")] = None,
    schedule_id: Annotated[uuid.UUID | None, Parameter(description="Only jobs this schedule has started.")] = None,
    requested_by: Annotated[str | None, text_parameter("Only jobs of whoever this is.")] = None,
    search: Search = None,
    sort: Annotated[str | None, sorts(ORDER)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[JobOut]:
    """Jobs with progress and results. `state` may be given several times; failed and held are the dead letters."""
    query = repository.statement(
        states=job_state or (),
        kind=kind,
        parent_id=parent_id,
        schedule_id=schedule_id,
        requested_by=requested_by,
        search=search,
    )
    page = await fetch_page(session, query, ORDER, sort=sort, limit=limit, cursor=cursor)
    return Listing([job_out(row[0]) for row in page.rows], page.next_cursor, page.total)


@get("/{job_id:uuid}", opt=VIEWER, responses=ERRORS, operation_id="getJob", summary="One job")
async def get_job(request: Request[User, Any, Any], session: AsyncSession, job_id: JobId) -> JobDetail:
    """A job as it stands; operators see the traceback of its last failure."""
    job = await _existing(session, job_id)
    return job_detail(job, may_mend=RANK[request.user.role] >= RANK["operator"])


@get("/{job_id:uuid}/log", opt=OPERATOR, responses=ERRORS, operation_id="getJobLog", summary="What its attempts wrote")
async def get_job_log(
    session: AsyncSession, job_id: JobId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[LogLine]:
    """Log lines and the tracebacks of all failed attempts, oldest first."""
    await _existing(session, job_id)
    page = await fetch_page(session, repository.log_statement(job_id), LOG_ORDER, sort=None, limit=limit, cursor=cursor)
    return Listing([log_line(row[0]) for row in page.rows], page.next_cursor, page.total)


@get(
    "/{job_id:uuid}/events",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getJobEvents",
    summary="The states it has been in",
)
async def get_job_events(
    session: AsyncSession, job_id: JobId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[JobEventOut]:
    """Every change of the job's state, oldest first, as far back as job events are kept."""
    await _existing(session, job_id)
    query = repository.event_statement(job_id)
    page = await fetch_page(session, query, EVENT_ORDER, sort=None, limit=limit, cursor=cursor)
    return Listing([job_event_out(row[0]) for row in page.rows], page.next_cursor, page.total)


@post(
    "/{job_id:uuid}/cancel",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=202,
    operation_id="cancelJob",
    summary="Cancel a job",
)
async def cancel_job(state: State, job_id: JobId) -> JobOut:
    """A waiting job is cancelled at once, a running one as soon as its work has stopped; 409 once it has ended."""
    return await _change(state.connections, job_id, jobs.cancel)


@post(
    "/{job_id:uuid}/retry",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=202,
    operation_id="retryJob",
    summary="Run a failed job again",
)
async def retry_job(state: State, job_id: JobId) -> JobOut:
    """Run a dead or cancelled job again, a parent from where it ended; 409 in any other state."""
    return await _change(state.connections, job_id, jobs.retry)


@post(
    "/retry-dead",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=202,
    operation_id="retryDeadJobs",
    summary="Run dead letters again",
)
async def retry_dead(
    state: State,
    kind: Annotated[str | None, text_parameter("Only jobs of this kind.")] = None,
    limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT, description="How many at most.")] = 100,
) -> Retried:
    """Put the oldest dead letters, of one kind or all, back into the queue."""
    connections: Connections = state.connections
    async with connections.sessions.begin() as session:
        changed = await jobs.retry_dead(session, kind=kind, limit=limit)
    await publish(connections, changed)
    return Retried(len(changed))


def check_parameters(kind: str, parameters: dict[str, Any]) -> None:
    """A parent's parameters are given by step, each an object.

    Raises:
        Conflict: naming those that are not.
    """
    steps = [stage.kind for stage in KINDS[kind].stages] if kind in KINDS else []
    wrong = {
        f"parameters.{name}": f"expected an object under one of {', '.join(steps)}"
        for name, value in parameters.items()
        if steps and (name not in steps or not isinstance(value, dict))
    }
    if wrong:
        raise Conflict(f"parameters: not those of a {kind}", wrong)


async def publish(connections: Connections, changed: Sequence[Job]) -> None:
    """Tell of jobs that a committed transaction has changed."""
    await connections.tell(changed)


async def _change(connections: Connections, job_id: uuid.UUID, change: Any) -> JobOut:
    async with connections.sessions.begin() as session:
        await _existing(session, job_id)
        try:
            changed = await change(session, job_id)
        except IntegrityError as error:
            raise Conflict("an equal job is running; wait for its end or cancel it first") from error
        job = await _existing(session, job_id)
    await publish(connections, changed)
    return job_out(job)


async def _existing(session: AsyncSession, job_id: uuid.UUID) -> Job:
    job = await repository.get(session, job_id)
    if job is None:
        raise NotFound(f"no job {job_id}")
    return job


router = Router(
    "/jobs",
    route_handlers=[start_job, list_jobs, get_job, get_job_log, get_job_events, cancel_job, retry_job, retry_dead],
    tags=["Jobs"],
)
