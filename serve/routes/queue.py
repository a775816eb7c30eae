"""The queue's switches: kinds of job paused, resumed and limited; dispatchers seen and drained."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Router, get, post, put
from litestar.datastructures import State
from sqlalchemy.ext.asyncio import AsyncSession

from actors import jobs
from actors.kinds import KINDS
from actors.owner import Connections
from db.repositories import jobs as repository
from db.repositories import queue
from serve.job_schemas import Drained, KindIn, KindOut, WorkerOut, kind_out, worker_out
from serve.parameters import text_parameter
from serve.problems import ERRORS, Conflict, NotFound
from serve.security import ADMIN, MANAGER, VIEWER, User, act_for

KindPath = Annotated[str, text_parameter("A kind of job.")]


@get("/job-kinds", opt=VIEWER, responses=ERRORS, operation_id="listJobKinds", summary="Kinds of job")
async def list_kinds(session: AsyncSession) -> list[KindOut]:
    """Every kind with its limit, its time-out, and whether it is paused."""
    controls = await repository.controls(session)
    return [kind_out(kind, controls.get(kind.name)) for kind in KINDS.values()]


@post(
    "/job-kinds/{kind:str}/pause",
    opt=MANAGER,
    responses=ERRORS,
    status_code=200,
    operation_id="pauseJobKind",
    summary="Start no more jobs of a kind",
)
async def pause_kind(request: Request[User, Any, Any], state: State, kind: KindPath) -> KindOut:
    """What runs goes on; what waits stays until the kind is resumed."""
    return await _set(state.connections, kind, request.user, paused=True)


@post(
    "/job-kinds/{kind:str}/resume",
    opt=MANAGER,
    responses=ERRORS,
    status_code=200,
    operation_id="resumeJobKind",
    summary="Start jobs of a kind again",
)
async def resume_kind(request: Request[User, Any, Any], state: State, kind: KindPath) -> KindOut:
    """What waited starts in its order."""
    return await _set(state.connections, kind, request.user, paused=False)


@put("/job-kinds/{kind:str}", opt=MANAGER, responses=ERRORS, operation_id="limitJobKind", summary="Limit a kind")
async def limit_kind(request: Request[User, Any, Any], state: State, kind: KindPath, data: KindIn) -> KindOut:
    """How many jobs of the kind run at once, in the whole system."""
    return await _set(state.connections, kind, request.user, concurrency=data.concurrency)


@get("/workers", opt=VIEWER, responses=ERRORS, operation_id="listWorkers", summary="Dispatchers that serve the queue")
async def list_workers(session: AsyncSession) -> list[WorkerOut]:
    """Those that have not been taken for dead, oldest first."""
    return [worker_out(worker) for worker in await queue.workers(session)]


@post(
    "/workers/drain",
    opt=ADMIN,
    responses=ERRORS,
    status_code=202,
    operation_id="drainWorkers",
    summary="Have dispatchers hand over and start anew",
)
async def drain_workers(
    state: State,
    host: Annotated[str | None, text_parameter("Only those on this host.")] = None,
    name: Annotated[str | None, text_parameter("Only those of this name.")] = None,
) -> Drained:
    """Those of one host, of one name, or all: they begin nothing more, let jobs end for a while, hand on the rest."""
    async with state.connections.sessions.begin() as session:
        return Drained(await queue.drain(session, host=host, name=name))


async def _set(connections: Connections, kind: str, by: User, **values: Any) -> KindOut:
    if kind not in KINDS:
        raise NotFound(f"no kind of job {kind!r}")
    if KINDS[kind].stages:
        raise Conflict(f"a {kind} only leads through its steps: set {', '.join(s.kind for s in KINDS[kind].stages)}")
    async with connections.sessions.begin() as session:
        await act_for(session, by)
        await jobs.set_kind(session, kind, changed_by=by.email, **values)
        control = (await repository.controls(session)).get(kind)
    return kind_out(KINDS[kind], control)


router = Router(
    "/", route_handlers=[list_kinds, pause_kind, resume_kind, limit_kind, list_workers, drain_workers], tags=["Queue"]
)
