"""Uploads and ingestion runs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Annotated, Any

from litestar import Request, Router, get, post
from litestar.datastructures import State, UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body, Parameter
from sqlalchemy.ext.asyncio import AsyncSession

from actors.events import job_event
from actors.owner import Connections
from actors.uploads import start_upload
from db.paging import fetch_page
from db.repositories import sources
from serve.job_schemas import JobOut, job_out
from serve.mapping_schemas import MappingName, MappingOut
from serve.parameters import Cursor, IdempotencyKey, Limit, text_parameter
from serve.problems import ERRORS, Conflict, NotFound, TooLarge
from serve.routes.mappings import every_mapping
from serve.schemas import IngestRunOut, Listing, ingest_run_out
from serve.security import OPERATOR, VIEWER, User


@dataclass
class UploadIn:
    """A file and the mapping to read it with."""

    file: UploadFile
    mapping: MappingName


RunId = Annotated[uuid.UUID, Parameter(description="Id of an ingestion run.")]


@get("/mappings", opt=VIEWER, responses=ERRORS, operation_id="listMappings", summary="Mappings for an upload")
async def list_mappings(session: AsyncSession) -> Listing[MappingOut]:
    """Shipped ones and the plant's own; the same as `GET /mappings`."""
    rows = await every_mapping(session)
    return Listing(rows, None, len(rows))


@post(
    "/uploads",
    # A file is worth many requests to read and to take in.
    opt={**OPERATOR, "cost": 20},
    responses=ERRORS,
    status_code=202,
    operation_id="uploadFile",
    summary="Upload a file to be taken in",
)
async def upload(
    request: Request[User, Any, Any],
    state: State,
    data: Annotated[UploadIn, Body(media_type=RequestEncodingType.MULTI_PART)],
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """Keep the file and enqueue its ingestion in one transaction: once answered, it cannot be lost.

    The same idempotency key with the same file gives the job it has started before.
    """
    connections: Connections = state.connections
    # A Windows path knows both separators.
    name = PureWindowsPath(data.file.filename).name
    if name.strip(". ") == "":
        raise Conflict("file: it has no name", {"file": "it has no name"})
    content = await data.file.read()
    if len(content) > connections.settings.upload_max_bytes:
        raise TooLarge(f"file: {len(content):,} bytes; at most {connections.settings.upload_max_bytes:,} are taken")
    async with connections.sessions.begin() as session:
        job, is_new = await start_upload(
            session,
            name,
            content,
            data.mapping,
            requested_by=request.user.email,
            max_attempts=connections.settings.job_max_attempts,
            idempotency_key=idempotency_key,
        )
    if is_new:
        await connections.events.publish(job_event(job))
    return job_out(job)


@get(
    "/runs",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="listIngestRuns",
    summary="Ingestion runs of all sources, newest first",
)
async def list_all_runs(session: AsyncSession, limit: Limit = 50, cursor: Cursor = None) -> Listing[IngestRunOut]:
    """What was read, file by file."""
    page = await fetch_page(
        session, sources.runs_statement(), sources.RUNS_ORDER, sort=None, limit=limit, cursor=cursor
    )
    return Listing([ingest_run_out(row[0]) for row in page.rows], page.next_cursor, page.total)


@get(
    "/{code:str}/runs",
    opt=VIEWER,
    responses=ERRORS,
    operation_id="listSourceRuns",
    summary="Ingestion runs of a source",
)
async def list_runs(
    session: AsyncSession,
    code: Annotated[str, text_parameter("Code of a source, deleted ones too, or `upload`.")],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[IngestRunOut]:
    """What was read from one source, file by file."""
    if code != sources.UPLOAD and await sources.find(session, code, deleted=None) is None:
        raise NotFound(f"no source with code {code!r}")
    query = sources.runs_statement(code)
    page = await fetch_page(session, query, sources.RUNS_ORDER, sort=None, limit=limit, cursor=cursor)
    return Listing([ingest_run_out(row[0]) for row in page.rows], page.next_cursor, page.total)


@get("/runs/{run_id:uuid}", opt=VIEWER, responses=ERRORS, operation_id="getIngestRun", summary="One ingestion run")
async def get_run(session: AsyncSession, run_id: RunId) -> IngestRunOut:
    """A run with its row counts."""
    run = await sources.find_run(session, run_id)
    if run is None:
        raise NotFound(f"no ingestion run {run_id}")
    return ingest_run_out(run)


router = Router(
    "/sources",
    route_handlers=[list_mappings, upload, list_all_runs, list_runs, get_run],
    tags=["Sources"],
)
