"""Rejected rows are seen, corrected, let be and read again; files that were refused as a whole are read again too."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any

import msgspec
import polars as pl
from litestar import Request, Response, Router, get, patch, post
from litestar.datastructures import State
from litestar.params import Parameter
from sqlalchemy.ext.asyncio import AsyncSession

from actors import jobs
from actors.events import job_event
from actors.mappings import hold_mappings, unknown_mapping
from actors.owner import Connections
from db.models import IngestRun
from db.paging import fetch_page
from db.repositories import rejected_rows, sources
from serve.job_schemas import JobOut, job_out
from serve.parameters import Cursor, IdempotencyKey, Limit, Search, text_parameter
from serve.preconditions import ETAG, IF_MATCH, etag_headers, require_match
from serve.problems import ERRORS, Conflict, NotFound
from serve.rejected_row_schemas import (
    DismissedOut,
    RejectedRowChange,
    RejectedRowDetail,
    RejectedRowIds,
    RejectedState,
    RerunIn,
    rejected_row_out,
)
from serve.resources.files import CONTENT_DISPOSITION, MEDIA_TYPES, FileDownload, Format, download, write_table
from serve.schemas import Listing
from serve.security import OPERATOR, VIEWER, User

RunId = Annotated[uuid.UUID, Parameter(description="Id of an ingestion run.")]
RowId = Annotated[uuid.UUID, Parameter(description="Id of a rejected row.")]


@get(
    "/rejected-rows",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="listAllRejectedRows",
    summary="Rows not taken of all sources, newest first",
)
async def list_all(
    session: AsyncSession,
    source: Annotated[str | None, text_parameter("Code of a source, or `upload`.")] = None,
    mapping: Annotated[str | None, text_parameter("Name of the mapping they were read with.")] = None,
    rejected_state: Annotated[
        RejectedState | None, Parameter(query="state", description="What has become of them; by default all.")
    ] = None,
    parked: Annotated[
        bool | None, Parameter(description="Whether all that is wrong is that what they refer to is not there yet.")
    ] = None,
    search: Search = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[RejectedRowDetail]:
    """Each with its reason, its run and what has become of it."""
    query = rejected_rows.of_all(source=source, mapping=mapping, state=rejected_state, parked=parked, search=search)
    page = await fetch_page(session, query, rejected_rows.IN_ALL, sort=None, limit=limit, cursor=cursor)
    return Listing([rejected_row_out(row[0], row[1]) for row in page.rows], page.next_cursor, page.total)


@get(
    "/runs/{run_id:uuid}/rejected-rows",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="listRejectedRows",
    summary="Rows a run has not taken, and why",
)
async def list_of_run(
    session: AsyncSession, run_id: RunId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[RejectedRowDetail]:
    """In the order of the file; also those of an earlier run that this one was the last to look at."""
    await _run(session, run_id)
    query = rejected_rows.of_all(run_id=run_id)
    page = await fetch_page(session, query, rejected_rows.IN_RUN, sort=None, limit=limit, cursor=cursor)
    return Listing([rejected_row_out(row[0], row[1]) for row in page.rows], page.next_cursor, page.total)


@get(
    "/runs/{run_id:uuid}/rejected-rows/export",
    opt={**VIEWER, "cost": 20},
    responses=ERRORS,
    response_headers=[CONTENT_DISPOSITION],
    media_type=MEDIA_TYPES["csv"],
    operation_class=FileDownload,
    operation_id="exportRejectedRows",
    summary="Rows a run has not taken, as a file",
    description="With their lines and reasons beside the columns of their file. Corrected, it may be uploaded again.",
)
async def export_of_run(
    session: AsyncSession, state: State, run_id: RunId, file_format: Format = "csv"
) -> Response[bytes]:
    """The open ones, as corrected or as they stood."""
    run = await _run(session, run_id)
    rows = await rejected_rows.open_of_run(session, run_id)
    told = [
        {
            "line": row.line,
            "field": row.field,
            "reason": row.reason,
            **(rejected_rows.values_of(row) or {"text": row.raw}),
        }
        for row in rows
    ]
    frame = pl.DataFrame(told, infer_schema_length=None) if told else pl.DataFrame(schema={"line": pl.Int64})
    async with state.transfers:
        await session.close()
        content = await asyncio.to_thread(write_table, frame, "Rejected rows", file_format)
    return download(content, f"rejected-rows-{run.id}", file_format)


@patch(
    "/rejected-rows/{row_id:uuid}",
    opt=OPERATOR,
    responses=ERRORS,
    response_headers=[ETAG],
    operation_id="correctRejectedRow",
    summary="Correct a rejected row, or let it be",
    description=f"Nothing is taken until its run is read again. 409 for a row that was taken. {IF_MATCH}",
)
async def correct(
    request: Request[User, Any, Any], state: State, row_id: RowId, data: RejectedRowChange
) -> Response[RejectedRowDetail]:
    """Values that are not given stay as they stood, or as they were corrected before."""
    async with state.connections.sessions.begin() as session:
        found = await rejected_rows.find(session, row_id, lock=True)
        if found is None:
            raise NotFound(f"no rejected row {row_id}")
        row, run = found
        require_match(request.headers.get("if-match"), row.revision)
        if row.state == "taken":
            raise Conflict("the row was taken meanwhile")
        if data.corrected is None:
            row.corrected, row.corrected_by = None, None
        elif data.corrected is not msgspec.UNSET:
            row.corrected = {**(rejected_rows.values_of(row) or {}), **data.corrected}
            row.corrected_by = request.user.email
        if data.state is not msgspec.UNSET:
            row.state = data.state
        row.revision += 1
        await session.flush()
        return Response(rejected_row_out(row, run), headers=etag_headers(row.revision))


@post(
    "/rejected-rows/dismiss",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=200,
    operation_id="dismissRejectedRows",
    summary="Let several rejected rows be",
)
async def dismiss(state: State, data: RejectedRowIds) -> DismissedOut:
    """Those that are open."""
    async with state.connections.sessions.begin() as session:
        changed = set(await rejected_rows.dismiss(session, data.ids))
    asked = list(dict.fromkeys(data.ids))
    return DismissedOut([each for each in asked if each in changed], [each for each in asked if each not in changed])


@post(
    "/runs/{run_id:uuid}/rerun",
    opt=OPERATOR,
    responses=ERRORS,
    status_code=202,
    operation_id="rerunIngestRun",
    summary="Read a run's rejected rows again, or a refused file",
    description="The open rows of a run, as corrected or as they stood; of a file that was refused, the whole file, by"
    " the same mapping or by another one. 409 when there is nothing to read again.",
)
async def rerun(
    request: Request[User, Any, Any],
    state: State,
    run_id: RunId,
    data: RerunIn,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """Enqueues the job that does it; an equal one still waiting is joined."""
    held: Connections = state.connections
    async with held.sessions.begin() as session:
        run = await _run(session, run_id)
        job, is_new = await jobs.start(
            session,
            "ingest",
            await _to_read_again(session, run, data.mapping),
            requested_by=request.user.email,
            idempotency_key=idempotency_key,
            max_attempts=held.settings.job_max_attempts,
        )
    if is_new:
        await held.events.publish(job_event(job))
    return job_out(job)


async def _to_read_again(session: AsyncSession, run: IngestRun, mapping: str | None) -> dict[str, Any]:
    """Parameters of the job."""
    if run.state != "failed":
        if mapping is not None and mapping != run.mapping:
            raise Conflict(
                "mapping: rows are read again by the mapping that has rejected them", {"mapping": "leave it out"}
            )
        if not await rejected_rows.open_of_run(session, run.id):
            raise Conflict(f"run {run.id} has no open rejected rows")
        return {"rerun_of": str(run.id)}
    name = mapping or run.mapping
    if run.source_file_id is None or not name:
        raise Conflict("mapping: the file was refused before it had one; name one", {"mapping": "name one"})
    if await hold_mappings(session, [name]):
        raise Conflict(str(await unknown_mapping(session, name)), {"mapping": f"there is no mapping {name!r}"})
    return {"source_file_id": str(run.source_file_id), "mapping": name, "file": run.file}


async def _run(session: AsyncSession, run_id: uuid.UUID) -> IngestRun:
    run = await sources.find_run(session, run_id)
    if run is None:
        raise NotFound(f"no ingestion run {run_id}")
    return run


router = Router(
    "/sources",
    route_handlers=[list_all, list_of_run, export_of_run, correct, dismiss, rerun],
    tags=["Sources"],
)
