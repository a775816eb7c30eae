"""Mappings: how the columns of one kind of file become the fields of a table; shipped ones and the plant's own."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post
from litestar.datastructures import State
from litestar.params import Parameter
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from actors.mappings import BadDefinition, checked, shipped
from db.models import SavedMapping
from db.repositories import mappings, sources
from ingestion.suggested_mapping import RESERVED_NAMES
from serve.mapping_schemas import (
    MAPPING_NAME,
    MappingChange,
    MappingDefinition,
    MappingDetail,
    MappingIn,
    MappingOut,
    definition_of,
)
from serve.parameters import text_parameter
from serve.preconditions import ETAG, IF_MATCH, LOCATION, etag_headers, not_modified, require_match
from serve.problems import ERRORS, Conflict, NotFound
from serve.routes.mapping_trials import preview_mapping, suggest_mapping
from serve.schemas import Listing
from serve.security import MANAGER, VIEWER, User, act_for

NamedMapping = Annotated[
    str, Parameter(min_length=1, max_length=63, pattern=MAPPING_NAME, description="Name of a mapping.")
]


@get("/", opt=VIEWER, responses=ERRORS, operation_id="listAllMappings", summary="Mappings files can be read with")
async def list_mappings(
    session: AsyncSession,
    target: Annotated[str | None, text_parameter("Only those that fill this table.")] = None,
    own: Annotated[bool | None, Parameter(description="Only the plant's own, or only those shipped.")] = None,
) -> Listing[MappingOut]:
    """Shipped ones and the plant's own together, by name; all on one page."""
    rows = [each for each in await every_mapping(session) if target in (None, each.target) and own in (None, each.own)]
    return Listing(rows, None, len(rows))


async def every_mapping(session: AsyncSession) -> list[MappingOut]:
    """Every mapping there is, by name."""
    rows = [MappingOut(each.name, each.description, each.target, False) for each in shipped().values()]
    for saved in await mappings.every(session):
        rows.append(MappingOut(saved.name, saved.definition.get("description", ""), saved.definition["target"], True))
    return sorted(rows, key=lambda each: each.name)


@get(
    "/{name:str}",
    opt=VIEWER,
    responses=ERRORS,
    response_headers=[ETAG],
    operation_id="getMapping",
    summary="One mapping",
)
async def get_mapping(
    request: Request[User, Any, Any], session: AsyncSession, name: NamedMapping
) -> Response[MappingDetail]:
    """With its definition. One that is shipped has no ETag: it cannot be changed."""
    if (found := shipped().get(name)) is not None:
        return Response(MappingDetail(name=name, own=False, id=None, revision=None, definition=definition_of(found)))
    saved = await _existing(session, name)
    if (known := not_modified(request, saved.revision)) is not None:
        return known
    return _answer(saved)


@post(
    "/",
    opt=MANAGER,
    responses=ERRORS,
    response_headers=[ETAG, LOCATION],
    operation_id="createMapping",
    summary="Save a mapping",
    description="409 when the name is taken, or when the definition contradicts itself or the table it fills.",
)
async def create_mapping(request: Request[User, Any, Any], state: State, data: MappingIn) -> Response[MappingDetail]:
    """It can be used at once."""
    definition = msgspec.to_builtins(data)
    name = definition.pop("name")
    _check(name, definition)
    if name in shipped():
        raise Conflict(f"name: {name!r} comes with the product", {"name": "is taken by a mapping that is shipped"})
    if name in RESERVED_NAMES:
        raise Conflict(f"name: {name!r} is a word of the API", {"name": "is a word of the API: take another"})
    async with state.connections.sessions.begin() as session:
        await act_for(session, request.user)
        saved = SavedMapping(name=name, definition=definition)
        session.add(saved)
        await session.flush()
        await session.refresh(saved)
    state.data_changes.tell("mappings", [name], actor=request.user.email)
    return _answer(saved, 201, {"Location": f"{request.url.path.rstrip('/')}/{quote(name, safe='')}"})


@patch(
    "/{name:str}",
    opt=MANAGER,
    responses=ERRORS,
    response_headers=[ETAG],
    operation_id="changeMapping",
    summary="Change a mapping",
    description=f"What is left out stays, null sets back to the default; lists and columns are replaced whole."
    f" Files that are handed in again are then read anew. 409 for one that is shipped. {IF_MATCH}",
)
async def change_mapping(
    request: Request[User, Any, Any],
    state: State,
    name: NamedMapping,
    data: MappingChange,  # type: ignore[valid-type]
) -> Response[MappingDetail]:
    """Set some fields, and see them all."""
    given = {
        field: msgspec.to_builtins(value)
        for field, value in ((field, getattr(data, field)) for field in MappingDefinition.__struct_fields__)
        if value is not msgspec.UNSET
    }
    async with state.connections.sessions.begin() as session:
        saved = await _to_write(request, session, name)
        definition = {field: value for field, value in {**saved.definition, **given}.items() if value is not None}
        _check(name, definition)
        if definition != saved.definition:
            await act_for(session, request.user)
            saved.definition = definition
            await session.flush()
            await session.refresh(saved)
    state.data_changes.tell("mappings", [name], actor=request.user.email)
    return _answer(saved)


@delete(
    "/{name:str}",
    opt=MANAGER,
    responses=ERRORS,
    operation_id="deleteMapping",
    summary="Delete a mapping",
    description=f"409 while a source uses it, and for one that is shipped. {IF_MATCH}",
)
async def delete_mapping(request: Request[User, Any, Any], state: State, name: NamedMapping) -> None:
    """Runs that were made with it stay on record."""
    async with state.connections.sessions.begin() as session:
        saved = await _to_write(request, session, name)
        if users := await sources.using(session, name):
            raise Conflict(f"{name} is used by {', '.join(users)}", {"name": f"is used by {', '.join(users)}"})
        await act_for(session, request.user)
        saved.deleted_at = func.now()
    state.data_changes.tell("mappings", [name], actor=request.user.email)


def _check(name: str, definition: dict[str, Any]) -> None:
    try:
        checked(name, definition)
    except BadDefinition as error:
        raise Conflict(str(error), error.errors) from error


async def _existing(session: AsyncSession, name: str, *, lock: bool = False) -> SavedMapping:
    saved = await mappings.find(session, name, lock=lock)
    if saved is None:
        raise NotFound(f"no mapping {name!r}")
    return saved


async def _to_write(request: Request[User, Any, Any], session: AsyncSession, name: str) -> SavedMapping:
    """One of the plant's own, held until this transaction ends."""
    if name in shipped():
        raise Conflict(f"{name} comes with the product and cannot be changed", {"name": "is shipped: save your own"})
    saved = await _existing(session, name, lock=True)
    require_match(request.headers.get("if-match"), saved.revision)
    return saved


def _answer(saved: SavedMapping, status: int = 200, headers: dict[str, str] | None = None) -> Response[MappingDetail]:
    detail = MappingDetail(
        name=saved.name,
        own=True,
        id=saved.id,
        revision=saved.revision,
        definition=msgspec.convert(saved.definition, MappingDefinition),
    )
    return Response(detail, status_code=status, headers={**etag_headers(saved.revision), **(headers or {})})


router = Router(
    "/mappings",
    route_handlers=[
        list_mappings,
        get_mapping,
        create_mapping,
        change_mapping,
        delete_mapping,
        suggest_mapping,
        preview_mapping,
    ],
    tags=["Mappings"],
)
