"""Sources: which connector reads what, with which settings, and how its files are read."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post
from litestar.datastructures import State
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from actors import connectors, jobs
from actors.connectors import BadConfig, kept, validated
from actors.mappings import hold_mappings
from actors.owner import Connections
from db.models import Source
from db.repositories import sources
from fmrp_sdk import Connector, LoadReport
from serve.job_schemas import JobOut, job_out
from serve.parameters import IdempotencyKey, text_parameter
from serve.preconditions import ETAG, IF_MATCH, LOCATION, etag_headers, not_modified, require_match
from serve.problems import ERRORS, Conflict, NotFound
from serve.routes.jobs import publish
from serve.schemas import Listing
from serve.security import ADMIN, OPERATOR, VIEWER, User, act_for
from serve.source_schemas import (
    ConnectorOut,
    SourceChange,
    SourceCheckIn,
    SourceCheckOut,
    SourceIn,
    SourceOut,
    connectors_out,
    source_out,
)

CHECK_PATIENCE_S = 8.0
# Paths beside the sources', and the uploads', which belong to no connector.
RESERVED = frozenset({"connectors", "mappings", "runs", "uploads", sources.UPLOAD})

Key = Annotated[str, text_parameter("Code or id of a source.")]


@get("/", opt=VIEWER, responses=ERRORS, operation_id="listSources", summary="Configured sources")
async def list_sources(session: AsyncSession, state: State) -> Listing[SourceOut]:
    """Every source, without its secrets; all on one page."""
    rows = [source_out(each, _connector(state.plugins, each.connector)) for each in await sources.all_sources(session)]
    return Listing(rows, None, len(rows))


@get("/connectors", opt=VIEWER, responses=ERRORS, operation_id="listConnectors", summary="Installed connectors")
async def list_connectors(state: State) -> Listing[ConnectorOut]:
    """What each must be told (a JSON schema), which of it is secret, and what it can do."""
    rows = connectors_out(state.plugins)
    return Listing(rows, None, len(rows))


@get(
    "/{key:str}", opt=VIEWER, responses=ERRORS, response_headers=[ETAG], operation_id="getSource", summary="One source"
)
async def get_source(
    request: Request[User, Any, Any], session: AsyncSession, state: State, key: Key
) -> Response[SourceOut]:
    """By its code or id, without its secrets."""
    source = await _existing(session, key)
    if (known := not_modified(request, source.revision)) is not None:
        return known
    return _answer(state, source)


@post(
    "/",
    opt=ADMIN,
    responses=ERRORS,
    response_headers=[ETAG, LOCATION],
    operation_id="createSource",
    summary="Add a source",
    description="409 when the code is taken, the connector is not installed or does not take this configuration, or a"
    " rule names a mapping there is not.",
)
async def create_source(request: Request[User, Any, Any], state: State, data: SourceIn) -> Response[SourceOut]:
    """It is read from the next ingestion on."""
    if data.code in RESERVED:
        raise Conflict(f"code: {data.code!r} is kept for other uses", {"code": "is kept for other uses"})
    connector = _installed(state.plugins, data.connector)
    config = kept(connector, {}, data.config)
    _validated(connector, config)
    source = Source(**{**msgspec.to_builtins(data), "config": config})
    async with state.connections.sessions.begin() as session:
        await act_for(session, request.user)
        await _check_rules(session, source)
        session.add(source)
        await session.flush()
        await session.refresh(source)
    state.data_changes.tell("sources", [source.code], actor=request.user.email)
    return _answer(state, source, 201, {"Location": f"{request.url.path.rstrip('/')}/{quote(source.code, safe='')}"})


@patch(
    "/{key:str}",
    opt=ADMIN,
    responses=ERRORS,
    response_headers=[ETAG],
    operation_id="changeSource",
    summary="Change a source",
    description=f"What is left out stays. `config` is replaced whole, but for its secrets: one left out or given as"
    f' "(set)" stays, null clears it. Where reading went on stays too, unless the connector changes. {IF_MATCH}',
)
async def change_source(
    request: Request[User, Any, Any], state: State, key: Key, data: SourceChange
) -> Response[SourceOut]:
    """Set some fields, and see them all."""
    given = {name: msgspec.to_builtins(value) for name, value in _fields(data).items() if value is not msgspec.UNSET}
    async with state.connections.sessions.begin() as session:
        source = await _to_write(request, session, key)
        if given:
            await act_for(session, request.user)
            _take_over(state.plugins, source, given)
            await _check_rules(session, source)
            source.revision += 1
            await session.flush()
            await session.refresh(source)
    state.data_changes.tell("sources", [source.code], actor=request.user.email)
    return _answer(state, source)


@delete(
    "/{key:str}",
    opt=ADMIN,
    responses=ERRORS,
    operation_id="deleteSource",
    summary="Delete a source",
    description=f"It is hidden and no longer read, as runs and files hang on it, and can be restored. {IF_MATCH}",
)
async def delete_source(request: Request[User, Any, Any], state: State, key: Key) -> None:
    """Its code stays taken."""
    async with state.connections.sessions.begin() as session:
        source = await _to_write(request, session, key)
        await act_for(session, request.user)
        source.deleted_at = func.now()
        source.revision += 1
        code = source.code
    state.data_changes.tell("sources", [code], actor=request.user.email)


@post(
    "/{key:str}/restore",
    opt=ADMIN,
    responses=ERRORS,
    response_headers=[ETAG],
    status_code=200,
    operation_id="restoreSource",
    summary="Bring back a deleted source",
    description="404 unless it was deleted. Reading goes on where it ended.",
)
async def restore_source(request: Request[User, Any, Any], state: State, key: Key) -> Response[SourceOut]:
    """409 when a rule of it names a mapping that is gone meanwhile."""
    async with state.connections.sessions.begin() as session:
        source = await sources.find(session, key, lock=True, deleted=True)
        if source is None:
            raise NotFound(f"no deleted source {key!r}")
        await act_for(session, request.user)
        await _check_rules(session, source)
        source.deleted_at = None
        source.revision += 1
        await session.flush()
        await session.refresh(source)
    state.data_changes.tell("sources", [source.code], actor=request.user.email)
    return _answer(state, source)


@post(
    "/{key:str}/check",
    # A check makes the server call an address, with stored secrets: for those who may set both.
    opt={**ADMIN, "cost": 20},
    responses=ERRORS,
    status_code=200,
    operation_id="checkSource",
    summary="Ask whether a source can be reached",
    description="With the stored configuration, or with another one before it is saved. Nothing is read or stored.",
)
async def check_source(session: AsyncSession, state: State, key: Key, data: SourceCheckIn) -> SourceCheckOut:
    """`ok`, or a sentence on what to do about it."""
    source = await _existing(session, key)
    await session.close()  # the source may take its time; the connection is others' meanwhile
    connector = _connector(state.plugins, source.connector)
    if connector is None:
        return SourceCheckOut(False, f"the connector {source.connector!r} is not installed here")
    try:
        config = validated(
            connector, source.config if data.config is None else kept(connector, source.config, data.config)
        )
    except BadConfig as error:
        return SourceCheckOut(False, f"the configuration is not complete: {error}")
    result = await connectors.check(connector, config, CHECK_PATIENCE_S)
    return SourceCheckOut(result.ok, result.message)


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
        source = await _existing(session, key)
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


def _fields(data: SourceChange) -> dict[str, Any]:
    return {name: getattr(data, name) for name in SourceChange.__struct_fields__}


def _take_over(plugins: LoadReport, source: Source, given: dict[str, Any]) -> None:
    """Set what is given. Neither secrets nor the place where reading went on pass from one connector to another.

    Raises:
        Conflict: the connector is not installed, or does not take the configuration.
    """
    is_other = given.get("connector", source.connector) != source.connector
    stored = {} if is_other else source.config
    if is_other or "config" in given:
        connector = _installed(plugins, given.get("connector", source.connector))
        source.config = kept(connector, stored, given.get("config", stored))
        _validated(connector, source.config)
    if is_other:
        source.state = {}
    for name in given.keys() & {"name", "connector", "rules", "active"}:
        setattr(source, name, given[name])


async def _check_rules(session: AsyncSession, source: Source) -> None:
    """Hold the mappings of the rules until this transaction ends.

    Raises:
        Conflict: naming each rule whose mapping is not there.
    """
    names = [str(rule["mapping"]) for rule in source.rules]
    if missing := await hold_mappings(session, names):
        wrong = {
            f"rules.{place}.mapping": f"there is no mapping {name!r}"
            for place, name in enumerate(names)
            if name in missing
        }
        raise Conflict(f"there is no mapping {', '.join(sorted(missing))}", wrong)


def _connector(plugins: LoadReport, name: str) -> type[Connector] | None:
    loaded = plugins.connectors.get(name)
    return None if loaded is None else loaded.connector


def _installed(plugins: LoadReport, name: str) -> type[Connector]:
    found = _connector(plugins, name)
    if found is None:
        known = ", ".join(sorted(plugins.connectors)) or "none"
        raise Conflict(f"connector: {name!r} is not installed", {"connector": f"expected one of: {known}"})
    return found


def _validated(connector: type[Connector], config: dict[str, Any]) -> None:
    try:
        validated(connector, config)
    except BadConfig as error:
        wrong = {f"config.{field}" if field else "config": message for field, message in error.errors.items()}
        raise Conflict(f"config: {error}", wrong) from error


async def _existing(session: AsyncSession, key: str, *, lock: bool = False) -> Source:
    source = await sources.find(session, key, lock=lock)
    if source is None:
        raise NotFound(f"no source {key!r}")
    return source


async def _to_write(request: Request[User, Any, Any], session: AsyncSession, key: str) -> Source:
    """A source that a connector reads, held until this transaction ends."""
    source = await _existing(session, key, lock=True)
    if source.code == sources.UPLOAD:
        raise Conflict(f"{source.code} is where uploads by hand are kept and cannot be changed")
    require_match(request.headers.get("if-match"), source.revision)
    return source


def _answer(
    state: State, source: Source, status: int = 200, headers: dict[str, str] | None = None
) -> Response[SourceOut]:
    shown = source_out(source, _connector(state.plugins, source.connector))
    return Response(shown, status_code=status, headers={**etag_headers(source.revision), **(headers or {})})


router = Router(
    "/sources",
    route_handlers=[
        list_sources,
        list_connectors,
        get_source,
        create_source,
        change_source,
        delete_source,
        restore_source,
        check_source,
        ingest_source,
    ],
    tags=["Sources"],
)
