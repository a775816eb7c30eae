"""The routes of a resource for many rows at once: bulk, import, template, export. Annotations are real types here."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PureWindowsPath
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.datastructures import State, UploadFile
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body, Parameter
from sqlalchemy.ext.asyncio import AsyncSession

from actors.file_limits import file_limits
from db.record_export import read_rows
from serve.parameters import sorts
from serve.problems import ERRORS
from serve.resources.files import CONTENT_DISPOSITION, MEDIA_TYPES, FileDownload, Format, download, write_table
from serve.resources.filters import list_parameters, narrowed, with_parameters
from serve.resources.resource import Resource
from serve.resources.schemas import Schemas, one_of
from serve.resources.templates import template
from serve.resources.transfer import Reader, TransferReport, file_reader, list_reader, target_of, transfer
from serve.security import User

BULK_LIMIT = 16 * 1024 * 1024
# What multipart encoding adds to a file of the largest size taken.
MULTIPART_ROOM = 64 * 1024
AT_ONCE = 2
"""Files read or written at the same time in one process: each may take a core and some hundred megabytes."""

DryRun = Annotated[bool, Parameter(description="Only report what would become of the rows; nothing is written.")]
_TELLS = (
    "A row is known by its key: it changes what it names of the row that is stored, or makes a new one."
    " What is left out or empty stays. Good rows are kept, the others are reported, each with its line."
)


@dataclass
class FileIn:
    """A file to import."""

    file: UploadFile

    @property
    def name(self) -> str:
        """What it is called, without folders; `file` when it is called nothing."""
        # A Windows path knows both separators.
        return PureWindowsPath(self.file.filename).name.strip(". ") or "file"


def transfer_handlers(resource: Resource, schemas: Schemas, upload_max_bytes: int) -> list[HTTPRouteHandler]:
    """The routes; of what can only be read, export alone."""
    if resource.target is None:
        return [_export(resource)]
    return [_bulk(resource, schemas), _import(resource, upload_max_bytes), _template(resource), _export(resource)]


def _bulk(resource: Resource, schemas: Schemas) -> HTTPRouteHandler:
    body = schemas.bulk

    @post(
        "/bulk",
        opt={"role": resource.write},
        responses=ERRORS,
        status_code=200,
        request_max_body_size=BULK_LIMIT,
        operation_id=f"bulkChange{resource.name_many}",
        summary=f"Create or change many {resource.many}",
        description=_TELLS,
    )
    async def bulk_change(
        request: Request[User, Any, Any],
        state: State,
        data: body,  # type: ignore[valid-type]
        dry_run: DryRun = False,
    ) -> TransferReport:
        rows: Any = data
        async with state.transfers:
            read = list_reader(resource, rows.rows)
            return await _taken(state, resource, read, request.user.email, dry_run)

    return bulk_change


def _import(resource: Resource, upload_max_bytes: int) -> HTTPRouteHandler:
    @post(
        "/import",
        opt={"role": resource.write},
        responses=ERRORS,
        status_code=200,
        request_max_body_size=upload_max_bytes + MULTIPART_ROOM,
        operation_id=f"import{resource.name_many}",
        summary=f"Import {resource.many} from a file",
        description=f"CSV, JSON, a workbook, Parquet or a PDF with a table. {_TELLS}"
        " 409 if the file as a whole cannot be read, telling why.",
    )
    async def import_file(
        request: Request[User, Any, Any],
        state: State,
        data: Annotated[FileIn, Body(media_type=RequestEncodingType.MULTI_PART)],
        dry_run: DryRun = False,
    ) -> TransferReport:
        async with state.transfers:
            limits = file_limits(state.connections.settings)
            read = file_reader(resource, await data.file.read(), data.name, limits)
            return await _taken(state, resource, read, request.user.email, dry_run)

    return import_file


async def _taken(state: State, resource: Resource, read: Reader, actor: str, dry_run: bool) -> TransferReport:
    report = await transfer(state.connections, resource, read, actor=actor, dry_run=dry_run)
    if not dry_run and (changed := report.created + report.updated):
        state.data_changes.tell(resource.path, (), actor=actor, count=changed)
    return report


def _template(resource: Resource) -> HTTPRouteHandler:
    @get(
        "/template",
        opt={"role": resource.read},
        responses=ERRORS,
        response_headers=[CONTENT_DISPOSITION],
        operation_class=FileDownload,
        media_type=MEDIA_TYPES["csv"],
        operation_id=f"get{resource.name_many}Template",
        summary=f"An empty file to import {resource.many} from",
        description="The workbook explains each field on a second sheet.",
    )
    async def get_template(state: State, file_format: Format = "csv") -> Response[bytes]:
        async with state.transfers:
            content = await asyncio.to_thread(template, target_of(resource), resource.many, file_format)
        return download(content, f"{resource.path}-template", file_format)

    return get_template


def _export(resource: Resource) -> HTTPRouteHandler:
    table = resource.table
    about = "Only these fields, in this order."
    names = one_of(table.shown)
    asked = Parameter(query="fields", max_items=len(table.shown), description=about)
    parameters: dict[str, tuple[Any, Any]] = {
        "file_format": (Format, "csv"),
        "fields": (Annotated[list[names] | None, asked], None),  # type: ignore[valid-type]
        "sort": (Annotated[str | None, sorts(table.order)], None),
        **list_parameters(resource),
    }

    async def export_rows(session: AsyncSession, state: State, **given: Any) -> Any:
        shown = tuple(dict.fromkeys(given["fields"] or exported(resource)))
        query = await narrowed(session, resource, table.rows(), given)
        async with state.transfers:
            frame = await read_rows(session, table, query, table.order, shown, given["sort"])
            await session.close()
            content = await asyncio.to_thread(write_table, frame, resource.many, given["file_format"])
        name = resource.path.rsplit("/", 1)[-1]
        return download(content, f"{name}-{datetime.now(UTC):%Y-%m-%d}", given["file_format"])

    return get(
        "/export",
        opt={"role": resource.read},
        responses=ERRORS,
        response_headers=[CONTENT_DISPOSITION],
        operation_class=FileDownload,
        media_type=MEDIA_TYPES["csv"],
        operation_id=f"export{resource.name_many}",
        summary=f"Export {resource.many} as CSV or XLSX",
        description="All rows by the filters, free text and order of the list. The file can be edited and imported."
        " A text that a spreadsheet would run as a formula begins with an apostrophe, which import takes off again.",
    )(with_parameters(export_rows, parameters, Response[bytes]))


def exported(resource: Resource) -> tuple[str, ...]:
    """The columns of an export: the fields, then what else there is to read."""
    table = resource.table
    fields = tuple(resource.target.fields) if resource.target is not None else table.fields
    return (*fields, *(name for name in table.shown if name not in fields))
