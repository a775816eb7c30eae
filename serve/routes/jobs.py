"""Jobs: start, watch, cancel, retry."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Router, get, post
from litestar.datastructures import State
from litestar.exceptions import ValidationException
from litestar.params import Parameter
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from actors import jobs
from actors.events import job_event
from actors.kinds import KINDS
from actors.owner import Connections
from db.models.job import Job
from db.paging import Order, fetch_page
from db.repositories import jobs as repository
from serve.problems import ERRORS, Conflict, NotFound
from serve.routes.items import Cursor, Limit
from serve.schemas import JobOut, Listing, job_out
from serve.security import OPERATOR, VIEWER, User

ORDER = Order({"created_at": Job.created_at, "kind": Job.kind, "state": Job.state}, "-created_at", Job.id)
JobKind = Literal["day", "ingest", "forecast", "plan"]
JobState = Literal["waiting", "running", "done", "failed", "held", "cancelled"]


class JobIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to run. `day` takes parameters by step: {"plan": {"today": "2026-11-23"}}."""

    kind: JobKind
    parameters: dict[str, Any] = {}


@post("/", opt=OPERATOR, responses=ERRORS, status_code=202, operation_id="startJob", summary="Start a job")
async def start_job(
    request: Request[User, Any, Any],
    state: State,
    data: JobIn,
    idempotency_key: Annotated[str | None, Parameter(header="Idempotency-Key", max_length=200)] = None,
) -> JobOut:
    """Enqueue a job. The same idempotency key, or an equal job still waiting, gives the job already there."""
    connections: Connections = state.connections
    _check_steps(data)
    async with connections.sessions.begin() as session:
        job, is_new = await jobs.start(
            session,
            data.kind,
            data.parameters,
            requested_by=request.user.email,
            idempotency_key=idempotency_key,
            max_attempts=connections.settings.job_max_attempts,
        )
        children = await repository.children(session, job.id) if is_new else []
    if is_new:
        await _publish(connections, [job, *children])
    return job_out(job)


@get("/", opt=VIEWER, responses=ERRORS, operation_id="listJobs", summary="Jobs by filter, newest first")
async def list_jobs(
    session: AsyncSession,
    job_state: Annotated[JobState | None, Parameter(query="state")] = None,
    kind: JobKind | None = None,
    parent_id: uuid.UUID | None = None,
    sort: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[JobOut]:
    """Jobs with progress and results."""
    query = repository.statement(states=[job_state] if job_state else [], kind=kind, parent_id=parent_id)
    page = await fetch_page(session, query, ORDER, sort=sort, limit=limit, cursor=cursor)
    return Listing([job_out(row[0]) for row in page.rows], page.next_cursor, page.total)


@get("/{job_id:uuid}", opt=VIEWER, responses=ERRORS, operation_id="getJob", summary="One job")
async def get_job(session: AsyncSession, job_id: uuid.UUID) -> JobOut:
    """A job as it stands."""
    return job_out(await _existing(session, job_id))


@post(
    "/{job_id:uuid}/cancel",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=202,
    operation_id="cancelJob",
    summary="Cancel a job",
)
async def cancel_job(state: State, job_id: uuid.UUID) -> JobOut:
    """A waiting job is cancelled at once, a running one at its next progress report; 409 once it has ended."""
    return await _change(state.connections, job_id, jobs.cancel)


@post(
    "/{job_id:uuid}/retry",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=202,
    operation_id="retryJob",
    summary="Run a failed job again",
)
async def retry_job(state: State, job_id: uuid.UUID) -> JobOut:
    """Run a failed or cancelled job again; 409 in any other state."""
    return await _change(state.connections, job_id, jobs.retry)


def _check_steps(asked: JobIn) -> None:
    """A parent's parameters are given by step, each an object."""
    steps = [stage.kind for stage in KINDS[asked.kind].stages]
    if not steps:
        return
    wrong = [
        {"key": f"parameters.{name}", "message": f"expected an object under one of {', '.join(steps)}"}
        for name, value in asked.parameters.items()
        if name not in steps or not isinstance(value, dict)
    ]
    if wrong:
        raise ValidationException("parameters: not those of a day", extra=wrong)


async def _change(connections: Connections, job_id: uuid.UUID, change: Any) -> JobOut:
    async with connections.sessions.begin() as session:
        # Locked at the first look: the session would go on showing the state read then, however it changed meanwhile.
        await _existing(session, job_id, lock=True)
        try:
            changed = await change(session, job_id)
        except IntegrityError as error:
            raise Conflict("an equal job is running; wait for its end or cancel it first") from error
        job = await _existing(session, job_id)
    await _publish(connections, changed)
    return job_out(job)


async def _existing(session: AsyncSession, job_id: uuid.UUID, *, lock: bool = False) -> Job:
    job = await repository.get(session, job_id, lock=lock)
    if job is None:
        raise NotFound(f"no job {job_id}")
    return job


async def _publish(connections: Connections, changed: list[Job]) -> None:
    for job in changed:
        await connections.events.publish(job_event(job))


router = Router("/jobs", route_handlers=[start_job, list_jobs, get_job, cancel_job, retry_job], tags=["Jobs"])
