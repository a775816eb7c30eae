"""Sources: which connector reads what, with which settings, and how its files are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post
from litestar.datastructures import State
from litestar.params import Parameter
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from actors.connectors import BadConfig, problem_of
from actors.mappings import hold_mappings
from actors.secrets import SecretError, to_store
from actors.source_status import next_runs
from db.models import Schedule, Source
from db.paging import Order, fetch_page
from db.repositories import schedules, source_status, sources
from fmrp_sdk import Connector, LoadReport
from serve.parameters import Cursor, Limit, Search, Values, several, sorts, text_parameter
from serve.preconditions import ETAG, IF_MATCH, LOCATION, etag_headers, not_modified, require_match
from serve.problems import ERRORS, Conflict, NotFound
from serve.schemas import Listing
from serve.security import ADMIN, VIEWER, User, act_for
from serve.source_schemas import (
    ConnectorOut,
    SourceChange,
    SourceIn,
    SourceOut,
    SourceRow,
    SourceStatus,
    connectors_out,
    source_out,
    source_row,
    source_status_of,
)
from settings import Settings

# Paths beside the sources', and the uploads', which belong to no connector.
RESERVED = frozenset({"check", "connectors", "mappings", "runs", "uploads", sources.UPLOAD})
ORDER = Order(
    {"code": Source.code, "name": Source.name, "connector": Source.connector, "updated_at": Source.updated_at},
    "code",
    Source.id,
)

Key = Annotated[str, text_parameter("Code or id of a source.")]


@get("/", opt=VIEWER, responses=ERRORS, operation_id="listSources", summary="Configured sources")
async def list_sources(
    session: AsyncSession,
    state: State,
    connector: Annotated[Values | None, several("Only sources of one of these connectors.")] = None,
    active: Annotated[bool | None, Parameter(description="Only those switched on, or off.")] = None,
    search: Search = None,
    sort: Annotated[str | None, sorts(ORDER)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[SourceRow]:
    """Each without its secrets, with how it was read last, is read now and will be read next, and what is wrong."""
    query = sources.statement(connectors=connector or (), active=active, search=search)
    page = await fetch_page(session, query, ORDER, sort=sort, limit=limit, cursor=cursor)
    found: list[Source] = [row[0] for row in page.rows]
    status = await _status(session, state.plugins, found)
    rows = [source_row(each, connector_of(state.plugins, each.connector), status[each.code]) for each in found]
    return Listing(rows, page.next_cursor, page.total)


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
    source = await existing(session, key)
    if (known := not_modified(request, source.revision)) is not None:
        return known
    return answer(state, source)


@get(
    "/{key:str}/status",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="getSourceStatus",
    summary="How a source is doing",
)
async def get_source_status(session: AsyncSession, state: State, key: Key) -> SourceStatus:
    """As in the list of sources."""
    source = await existing(session, key)
    return (await _status(session, state.plugins, [source]))[source.code]


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
    connector = installed(state.plugins, data.connector)
    config = _to_store(connector, data.code, {}, data.config, state.settings)
    source = Source(**{**msgspec.to_builtins(data), "config": config})
    async with state.connections.sessions.begin() as session:
        await act_for(session, request.user)
        await _check_rules(session, source)
        session.add(source)
        await session.flush()
        await session.refresh(source)
    state.data_changes.tell("sources", [source.code], actor=request.user.email)
    return answer(state, source, 201, {"Location": f"{request.url.path.rstrip('/')}/{quote(source.code, safe='')}"})


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
        source = await to_write(request, session, key)
        if given:
            await act_for(session, request.user)
            _take_over(state.plugins, source, given, state.settings)
            await _check_rules(session, source)
            await revised(session, source)
    state.data_changes.tell("sources", [source.code], actor=request.user.email)
    return answer(state, source)


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
        source = await to_write(request, session, key)
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
        await revised(session, source)
    state.data_changes.tell("sources", [source.code], actor=request.user.email)
    return answer(state, source)


def _fields(data: SourceChange) -> dict[str, Any]:
    return {name: getattr(data, name) for name in SourceChange.__struct_fields__}


def _take_over(plugins: LoadReport, source: Source, given: dict[str, Any], settings: Settings) -> None:
    """Set what is given. Neither secrets nor the place where reading went on pass from one connector to another.

    Raises:
        Conflict: the connector is not installed, does not take the configuration, or a secret cannot be stored.
    """
    is_other = given.get("connector", source.connector) != source.connector
    stored = {} if is_other else source.config
    if is_other or "config" in given:
        connector = installed(plugins, given.get("connector", source.connector))
        source.config = _to_store(connector, source.code, stored, given.get("config", {}), settings)
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


def connector_of(plugins: LoadReport, name: str) -> type[Connector] | None:
    """The connector of that name, if it can be used here."""
    loaded = plugins.connectors.get(name)
    return None if loaded is None else loaded.connector


def installed(plugins: LoadReport, name: str) -> type[Connector]:
    """The connector of that name. Conflict: it cannot be used here, and why."""
    found = connector_of(plugins, name)
    if found is None:
        known = ", ".join(sorted(plugins.connectors)) or "none"
        raise Conflict(str(problem_of(plugins, name)), {"connector": f"expected one of: {known}"})
    return found


def _to_store(
    connector: type[Connector], code: str, stored: dict[str, Any], given: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    try:
        return to_store(given, stored, connector, code, settings)
    except SecretError as error:
        raise Conflict(str(error), {error.field: error.message}) from error
    except BadConfig as error:
        wrong = {f"config.{field}" if field else "config": message for field, message in error.errors.items()}
        raise Conflict(f"config: {error}", wrong) from error


async def _status(session: AsyncSession, plugins: LoadReport, found: Sequence[Source]) -> dict[str, SourceStatus]:
    """By code, in two statements for all of them."""
    rows = await source_status.read(session, [each.code for each in found])
    known: list[Schedule] = [row[0] for row in await session.execute(schedules.statement(enabled=True))]
    due = next_runs(found, known)
    return {
        each.code: source_status_of(
            rows[each.code],
            due.get(each.code),
            None if each.connector == sources.UPLOAD else problem_of(plugins, each.connector),
        )
        for each in found
    }


async def existing(session: AsyncSession, key: str, *, lock: bool = False) -> Source:
    """The source with that code or id. NotFound: there is none."""
    source = await sources.find(session, key, lock=lock)
    if source is None:
        raise NotFound(f"no source {key!r}")
    return source


async def to_write(request: Request[User, Any, Any], session: AsyncSession, key: str) -> Source:
    """A source that a connector reads, held until this transaction ends."""
    source = await existing(session, key, lock=True)
    if source.code == sources.UPLOAD:
        raise Conflict(f"{source.code} is where uploads by hand are kept and cannot be changed")
    require_match(request.headers.get("if-match"), source.revision)
    return source


async def revised(session: AsyncSession, source: Source) -> None:
    """Give a source that was changed its next revision, and read it as it is stored now."""
    source.revision += 1
    await session.flush()
    await session.refresh(source)


def answer(
    state: State, source: Source, status: int = 200, headers: dict[str, str] | None = None
) -> Response[SourceOut]:
    """What shows a source after it was read or changed."""
    shown = source_out(source, connector_of(state.plugins, source.connector))
    return Response(shown, status_code=status, headers={**etag_headers(source.revision), **(headers or {})})


router = Router(
    "/sources",
    route_handlers=[
        list_sources,
        list_connectors,
        get_source,
        get_source_status,
        create_source,
        change_source,
        delete_source,
        restore_source,
    ],
    tags=["Sources"],
)
