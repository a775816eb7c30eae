"""What is done with sources beside changing them: asked whether they answer and what they hold, read, read anew."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, post
from litestar.datastructures import State
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from actors import connectors, jobs
from actors.connectors import BadConfig, problem_of
from actors.owner import Connections
from actors.secrets import SecretError, opened, tried
from db.repositories import source_status, sources
from fmrp_sdk import Connector
from serve.job_schemas import JobOut, job_out
from serve.parameters import IdempotencyKey
from serve.preconditions import ETAG
from serve.problems import ERRORS, Conflict
from serve.routes.jobs import publish
from serve.routes.sources import Key, answer, connector_of, existing, revised, to_write
from serve.security import ADMIN, OPERATOR, User, act_for
from serve.source_schemas import (
    DiscoveryOut,
    NewSourceCheckIn,
    SourceCheckIn,
    SourceCheckOut,
    SourceOut,
    SourceResetIn,
    discovery_out,
)

PATIENCE_S = 8.0
# The server calls an address, maybe with stored secrets: for those who may set both.
ASKING = {**ADMIN, "cost": 20}


@post(
    "/check",
    opt=ASKING,
    responses=ERRORS,
    status_code=200,
    operation_id="checkNewSource",
    summary="Ask whether a source that is not saved yet can be reached",
    description="With a connector and a configuration, before there is a source. Nothing is read or stored.",
)
async def check_new_source(state: State, data: NewSourceCheckIn) -> SourceCheckOut:
    """`ok`, or a sentence on what to do about it."""
    connector = connector_of(state.plugins, data.connector)
    if connector is None:
        return SourceCheckOut(False, str(problem_of(state.plugins, data.connector)))
    try:
        config = tried(data.config, {}, connector, "(new)", state.settings)
    except (BadConfig, SecretError) as error:
        return SourceCheckOut(False, _incomplete(error))
    result = await connectors.check(connector, config, PATIENCE_S)
    return SourceCheckOut(result.ok, result.message)


@post(
    "/{key:str}/check",
    opt=ASKING,
    responses=ERRORS,
    status_code=200,
    operation_id="checkSource",
    summary="Ask whether a source can be reached",
    description="With the stored configuration, or with another one before it is saved. Nothing is read or stored.",
)
async def check_source(session: AsyncSession, state: State, key: Key, data: SourceCheckIn) -> SourceCheckOut:
    """`ok`, or a sentence on what to do about it."""
    asked = await _asked(session, state, key, data)
    if isinstance(asked, str):
        return SourceCheckOut(False, asked)
    result = await connectors.check(*asked, PATIENCE_S)
    return SourceCheckOut(result.ok, result.message)


@post(
    "/{key:str}/discover",
    opt=ASKING,
    responses=ERRORS,
    status_code=200,
    operation_id="discoverSource",
    summary="What a source holds now",
    description="Its files or streams, also those that would not be taken and why; at most"
    f" {connectors.MOST_OFFERS:,} of them. With the stored configuration, or with another one before it is saved."
    " Nothing is read or stored.",
)
async def discover_source(session: AsyncSession, state: State, key: Key, data: SourceCheckIn) -> DiscoveryOut:
    """`ok` and what is there, or a sentence on why that cannot be said."""
    asked = await _asked(session, state, key, data)
    found = (
        connectors.Discovery(False, asked) if isinstance(asked, str) else await connectors.discover(*asked, PATIENCE_S)
    )
    return discovery_out(found)


@post(
    "/{key:str}/reset",
    opt=ADMIN,
    responses=ERRORS,
    response_headers=[ETAG],
    status_code=200,
    operation_id="resetSource",
    summary="Have a source read from its beginning",
    description="Forgets up to where it was read. What was taken before and has not changed at the source changes"
    " nothing when it is read again. Confirmed by the source's code, or by If-Match with the ETag it was read with,"
    " which is refused with 412 once somebody else has changed it. 409 without either, and while it is read.",
)
async def reset_source(
    request: Request[User, Any, Any], state: State, key: Key, data: SourceResetIn
) -> Response[SourceOut]:
    """The next reading begins anew; none is started."""
    async with state.connections.sessions.begin() as session:
        source = await to_write(request, session, key)
        if data.confirm != source.code and (data.confirm is not None or "if-match" not in request.headers):
            raise Conflict("confirm: expected the code of the source", {"confirm": f"expected {source.code!r}"})
        status = (await source_status.read(session, [source.code]))[source.code]
        if status.job_state == "running":
            raise Conflict(f"{source.code} is read just now by job {status.job_id}: cancel that, or wait for its end")
        await act_for(session, request.user)
        source.state = {}
        await revised(session, source)
    state.data_changes.tell("sources", [source.code], actor=request.user.email)
    return answer(state, source)


@post(
    "/{key:str}/ingest",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=202,
    operation_id="ingestSource",
    summary="Read a source now",
    description="Enqueues the job that reads it; an equal job still waiting is joined. 409 for one switched off.",
)
async def ingest_source(
    request: Request[User, Any, Any], state: State, key: Key, idempotency_key: IdempotencyKey = None
) -> JobOut:
    """The same idempotency key gives the job it has started before."""
    held: Connections = state.connections
    async with held.sessions.begin() as session:
        source = await existing(session, key)
        if source.code == sources.UPLOAD or not source.active:
            raise Conflict(f"{source.code} is not read: it is switched off, or takes uploads only")
        job, is_new = await jobs.start(
            session,
            "ingest",
            {"source": source.code},
            requested_by=request.user.email,
            idempotency_key=idempotency_key,
            max_attempts=held.settings.job_max_attempts,
        )
    if is_new:
        await publish(held, [job])
    return job_out(job)


async def _asked(
    session: AsyncSession, state: State, key: str, data: SourceCheckIn
) -> tuple[type[Connector], BaseModel] | str:
    """The connector of a source and the configuration to ask it with; or why it cannot be asked."""
    source = await existing(session, key)
    await session.close()  # the source may take its time; the connection is others' meanwhile
    connector = connector_of(state.plugins, source.connector)
    if connector is None:
        return str(problem_of(state.plugins, source.connector))
    try:
        if data.config is None:
            return connector, opened(source.config, connector, source.code, state.settings)
        return connector, tried(data.config, source.config, connector, source.code, state.settings)
    except (BadConfig, SecretError) as error:
        return _incomplete(error)


def _incomplete(error: BadConfig | SecretError) -> str:
    return f"the configuration is not complete: {error}"


router = Router(
    "/sources",
    route_handlers=[check_new_source, check_source, discover_source, reset_source, ingest_source],
    tags=["Sources"],
)
