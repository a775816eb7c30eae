"""The routes of one resource. Annotations are real types here, as each resource has structs of its own."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import MediaType, Request, Response, Router, delete, get, patch, post
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db import record_writes, records
from db.paging import fetch_page
from db.records import LATEST
from db.versions import version_of
from serve.parameters import Cursor, Limit, sorts, text_parameter
from serve.preconditions import ETAG, IF_MATCH, LOCATION, etag_headers, not_modified, require_match
from serve.problems import ERRORS, NotFound, RuleBroken
from serve.resources.filters import list_parameters, narrowed, run_id_of, with_parameters
from serve.resources.resource import Resource
from serve.resources.schemas import Schemas, make_schemas, one_of
from serve.resources.transfer_routes import transfer_handlers
from serve.schemas import Listing
from serve.security import User, act_for, acting_for

Key = Annotated[str, text_parameter("Id of the row, or its code where it has one.")]


def make_router(resource: Resource, upload_max_bytes: int) -> Router:
    """All routes of a resource under its path; files up to so many bytes are taken."""
    schemas = make_schemas(resource)
    handlers: list[HTTPRouteHandler] = [_list(resource, schemas)]
    if resource.within is None:
        handlers.append(_read(resource, schemas))
    handlers += transfer_handlers(resource, schemas, upload_max_bytes)
    if resource.target is not None:
        handlers += [_create(resource, schemas), _change(resource, schemas), _delete(resource)]
    if resource.target is not None and resource.table.is_retired_by_delete:
        handlers.append(_restore(resource, schemas))
    return Router(f"/{resource.path}", route_handlers=handlers, tags=[resource.tag])


def _list(resource: Resource, schemas: Schemas) -> HTTPRouteHandler:
    table = resource.table
    names = one_of(table.shown)
    about = f"Only these fields{', beside ' + ' and '.join(table.always_shown) if table.always_shown else ''}."
    asked = Parameter(query="fields", max_items=len(table.shown), description=about)
    parameters: dict[str, tuple[Any, Any]] = {
        "fields": (Annotated[list[names] | None, asked], None),  # type: ignore[valid-type]
        **list_parameters(resource),
        "sort": (Annotated[str | None, sorts(table.order)], None),
        "limit": (Limit, 50),
        "cursor": (Cursor, None),
    }

    async def list_rows(session: AsyncSession, state: State, **given: Any) -> Any:
        fields = given["fields"]
        shown = table.shown if fields is None else tuple(dict.fromkeys((*table.always_shown, *fields)))
        if resource.within is None or not resource.kept_under:
            return Response(await _page(session, resource, shown, given), media_type=MediaType.JSON)
        run_id = await run_id_of(session, resource.within, given["key"])
        version = (await session.execute(select(version_of(resource.kept_under)))).scalar_one()
        asked = sorted((name, value) for name, value in given.items() if value is not None and name != "key")
        compute = partial(_page, session, resource, shown, {**given, "key": str(run_id)})
        content = await state.cache.answer(resource.one, (run_id, version, repr(asked)), compute)
        return Response(content, media_type=MediaType.JSON)

    return get(
        "/",
        opt={"role": resource.read},
        responses=ERRORS,
        operation_id=f"list{resource.name_many}",
        summary=f"List {resource.many}",
        description=f"{resource.about}. By filter, free text and order, page by page.",
    )(with_parameters(list_rows, parameters, Listing[schemas.row]))  # type: ignore[name-defined]


def _read(resource: Resource, schemas: Schemas) -> HTTPRouteHandler:
    answer = schemas.answer

    @get(
        "/{key:str}",
        opt={"role": resource.read},
        responses=ERRORS,
        response_headers=[ETAG] if "revision" in resource.table.table.c else None,
        operation_id=f"get{resource.name_one}",
        summary=f"One {resource.one}",
        description=f"By its id{_or_else(resource)}.",
    )
    async def read_row(request: Request[User, Any, Any], session: AsyncSession, key: Key) -> Response[answer]:  # type: ignore[valid-type]
        row = await _existing(session, resource, key)
        if "revision" in resource.table.table.c and (known := not_modified(request, row.revision)) is not None:
            return known
        return _answered(row)

    return read_row


def _or_else(resource: Resource) -> str:
    if resource.table.newest_by:
        return f", or `{LATEST}`"
    return ", or its code" if resource.table.has_code else ""


def _create(resource: Resource, schemas: Schemas) -> HTTPRouteHandler:
    body, answer, table = schemas.create, schemas.answer, resource.table

    @post(
        "/",
        opt={"role": resource.write},
        responses=ERRORS,
        response_headers=[ETAG, LOCATION],
        operation_id=f"create{resource.name_one}",
        summary=f"Add a {resource.one}",
        description=f"{resource.about}. 409 when there is one with this {' and '.join(table.key)} already.",
    )
    async def create_row(request: Request[User, Any, Any], state: State, data: body) -> Response[answer]:  # type: ignore[valid-type]
        values = msgspec.structs.asdict(data)
        resource.check_rules(values)
        async with state.connections.sessions.begin() as session:
            await act_for(session, request.user)
            columns = await record_writes.resolve(session, table, values)
            row_id = await record_writes.add(session, table, columns)
            row = await _written(session, resource, str(row_id))
        state.data_changes.tell(resource.path, [str(row_id)], actor=request.user.email)
        response = _answered(row, 201)
        response.headers["Location"] = f"{request.url.path.rstrip('/')}/{quote(str(row_id))}"
        return response

    return create_row


def _change(resource: Resource, schemas: Schemas) -> HTTPRouteHandler:
    body, answer, table = schemas.change, schemas.answer, resource.table

    @patch(
        "/{key:str}",
        opt={"role": resource.write},
        responses=ERRORS,
        response_headers=[ETAG],
        operation_id=f"change{resource.name_one}",
        summary=f"Change a {resource.one}",
        description=f"What is left out stays, null clears. {IF_MATCH}",
    )
    async def change_row(
        request: Request[User, Any, Any],
        state: State,
        key: Key,
        data: body,  # type: ignore[valid-type]
    ) -> Response[answer]:  # type: ignore[valid-type]
        given = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
        async with state.connections.sessions.begin() as session:
            row_id = await _locked(session, resource, key, request)
            if given:
                columns = await record_writes.resolve(session, table, given)
                await record_writes.change(session, table, row_id, columns)
            row = await _written(session, resource, str(row_id))
            resource.check_rules(row._mapping)
        state.data_changes.tell(resource.path, [str(row_id)], actor=request.user.email)
        return _answered(row)

    return change_row


def _delete(resource: Resource) -> HTTPRouteHandler:
    hidden = resource.table.is_retired_by_delete
    how = "It is hidden, as history hangs on it, and can be restored." if hidden else "409 while others refer to it."

    @delete(
        "/{key:str}",
        opt={"role": resource.write},
        responses=ERRORS,
        operation_id=f"delete{resource.name_one}",
        summary=f"Delete a {resource.one}",
        description=f"{how} {IF_MATCH}",
    )
    async def delete_row(request: Request[User, Any, Any], state: State, key: Key) -> None:
        async with state.connections.sessions.begin() as session:
            row_id = await _locked(session, resource, key, request)
            await record_writes.remove(session, resource.table, row_id)
        state.data_changes.tell(resource.path, [str(row_id)], actor=request.user.email)

    return delete_row


def _restore(resource: Resource, schemas: Schemas) -> HTTPRouteHandler:
    answer = schemas.answer

    @post(
        "/{key:str}/restore",
        opt={"role": resource.write},
        responses=ERRORS,
        response_headers=[ETAG],
        status_code=200,
        operation_id=f"restore{resource.name_one}",
        summary=f"Bring back a deleted {resource.one}",
        description="404 unless it was deleted.",
    )
    async def restore_row(request: Request[User, Any, Any], state: State, key: Key) -> Response[answer]:  # type: ignore[valid-type]
        async with state.connections.sessions.begin() as session:
            row_id = await _locked(session, resource, key, request, deleted=True)
            await record_writes.restore(session, resource.table, row_id)
            row = await _written(session, resource, str(row_id))
        state.data_changes.tell(resource.path, [str(row_id)], actor=request.user.email)
        return _answered(row)

    return restore_row


async def _page(session: AsyncSession, resource: Resource, shown: tuple[str, ...], given: Mapping[str, Any]) -> bytes:
    """A page as it is answered. The database puts rows into JSON: through Python they cost more than the query."""
    table = resource.table
    query = await narrowed(session, resource, table.json_rows(shown), given)
    page = await fetch_page(
        session, query, table.order, sort=given["sort"], limit=given["limit"], cursor=given["cursor"]
    )
    rows = ",".join(row.json for row in page.rows)
    end: bytes = msgspec.json.encode({"next_cursor": page.next_cursor, "total": page.total})
    return b'{"items":[' + rows.encode() + b"]," + end[1:]


async def _existing(session: AsyncSession, resource: Resource, key: str) -> Any:
    row = await records.find(session, resource.table, key)
    if row is None:
        raise NotFound(f"there is no {resource.one} {key!r}")
    return row


async def _locked(
    session: AsyncSession, resource: Resource, key: str, request: Request[User, Any, Any], *, deleted: bool = False
) -> Any:
    """The id of the row, held for this transaction of the request's user, and at the revision they have read."""
    acting = acting_for(request.user)
    held = await record_writes.lock(session, resource.table, key, deleted=deleted, acting=acting)
    if held is None:
        raise NotFound(f"there is no {'deleted ' if deleted else ''}{resource.one} {key!r}")
    require_match(request.headers.get("if-match"), held.revision)
    return held.id


async def _written(session: AsyncSession, resource: Resource, key: str) -> Any:
    """The row as it now stands, after the rules that need to see it in its place."""
    row = await _existing(session, resource, key)
    if resource.after_write is not None and (errors := await resource.after_write(session, [row._mapping])):
        raise RuleBroken(errors)
    return row


def _answered(row: Any, status: int = 200) -> Response[Any]:
    shown = dict(row._mapping)
    return Response(shown, status_code=status, headers=etag_headers(row.revision) if "revision" in shown else None)
