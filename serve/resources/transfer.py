"""Many rows of a resource at once, from a file or a list: good ones kept, each of the others told with its line.

A row is known by its key. It changes what it names of the row that is stored, and makes one where there is none. All of
it is one transaction, in which nobody else merges rows into the same table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import polars as pl
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncSession

from actors.owner import Connections
from db import records
from db.audit import act_as
from db.record_writes import LINE, Merge
from ingestion.errors import IngestionError
from ingestion.ingest import Ingested, ingest_rows, rejected_rows
from ingestion.limits import Limits
from ingestion.own_format import other_columns, own_mapping, parsed_rows
from ingestion.parse import parse
from ingestion.table import Parsed
from ingestion.targets import Target
from ingestion.validate import KnownCodes
from serve.problems import FieldError, RuleBroken
from serve.resources.resource import Resource

MOST_ERRORS = 1_000
_BROKEN = {"line": pl.Int64, "field": pl.String, "reason": pl.String}
_Count = Annotated[int, Meta(ge=0)]


class RowError(msgspec.Struct, frozen=True):
    """Why a row was not taken. `line` is that of the file, or the place in the list from 1; `row` what stood there."""

    line: int
    field: str
    message: str
    row: dict[str, str | None]


class TransferReport(msgspec.Struct, frozen=True):
    """What became of the rows: read = created + updated + unchanged + merged + rejected.

    merged: rows whose key comes again further down; the later one counts. errors: the first 1,000 of the rejected.
    ignored_columns: columns of the file that are none of the table.
    """

    read: _Count
    created: _Count
    updated: _Count
    unchanged: _Count
    merged: _Count
    rejected: _Count
    errors: Annotated[list[RowError], Meta(max_length=MOST_ERRORS)]
    ignored_columns: list[str]
    dry_run: bool


@dataclass(frozen=True)
class Taken:
    """Rows as they came and as they were understood."""

    parsed: Parsed
    ingested: Ingested
    ignored_columns: list[str]


Reader = Callable[[KnownCodes], Taken]
"""Understands rows, given the codes they may refer to. Runs in a thread."""


def file_reader(resource: Resource, content: bytes, file_name: str, max_bytes: int) -> Reader:
    """Reads a CSV file or a workbook. RuleBroken: it is none, naming `file`."""
    target = target_of(resource)

    def read(known: KnownCodes) -> Taken:
        mapping = own_mapping(target.name)
        limits = Limits(max_bytes=max_bytes)
        try:
            parsed = parse(content, file_name, limits, mapping.parse_options())
            ingested = ingest_rows(parsed, mapping, known, file_name)
        except IngestionError as error:
            raise RuleBroken([FieldError("file", str(error))]) from error
        shown = set(resource.table.shown)
        return Taken(parsed, ingested, [name for name in other_columns(parsed, mapping) if name not in shown])

    return read


def list_reader(resource: Resource, rows: Sequence[msgspec.Struct]) -> Reader:
    """Reads rows of a request's body."""
    target = target_of(resource)

    def read(known: KnownCodes) -> Taken:
        parsed = parsed_rows(msgspec.to_builtins(rows))
        return Taken(parsed, ingest_rows(parsed, own_mapping(target.name, from_a_file=False), known), [])

    return read


def target_of(resource: Resource) -> Target:
    """The target of a resource that can be written."""
    assert resource.target is not None
    return resource.target


async def transfer(
    connections: Connections, resource: Resource, read: Reader, *, actor: str, dry_run: bool
) -> TransferReport:
    """Take rows in, commit (unless it is a dry run) and report.

    Raises:
        RuleBroken: the file as a whole cannot be taken, or what was written breaks a rule of the table.
    """
    async with connections.sessions() as session:
        known = KnownCodes(**await records.codes(session, target_of(resource).references()))
    taken = await asyncio.to_thread(read, known)
    rows = taken.ingested.rows.with_columns(taken.ingested.lines.alias(LINE))
    async with connections.sessions() as session:
        await act_as(session, actor)
        merge = Merge(session, resource.table, rows)
        await merge.stage()
        broken = await _broken(merge, resource, rows)
        await merge.drop(broken["line"].to_list())
        stored = await merge.store()
        await _check_written(session, resource, rows, broken["line"])
        await (session.rollback() if dry_run else session.commit())
    rejected = pl.concat([taken.ingested.rejected.drop("parked"), _with_rows(taken.parsed, broken)]).sort("line")
    return TransferReport(
        read=taken.ingested.read,
        created=stored.created,
        updated=stored.updated,
        unchanged=stored.unchanged,
        merged=taken.ingested.merged,
        rejected=rejected.height,
        errors=[_row_error(row) for row in rejected.head(MOST_ERRORS).iter_rows(named=True)],
        ignored_columns=taken.ignored_columns,
        dry_run=dry_run,
    )


async def _broken(merge: Merge, resource: Resource, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows (line, field, reason) that do not go with what is stored, each once."""
    target = target_of(resource)
    found: dict[int, tuple[str, str]] = {}
    for line in await merge.retired_lines():
        found[line] = (target.key[0], f"this {resource.one} is deleted; restore it first")
    needed = [name for name, spec in target.fields.items() if spec.required and spec.default is None]
    new = rows.filter(pl.col(LINE).is_in(pl.Series(await merge.new_lines(), dtype=pl.Int64).implode()))
    for name in needed:
        for line in new.filter(pl.col(name).is_null())[LINE]:
            found.setdefault(line, (name, f"needed to create the {resource.one}, which is not there yet"))
    for early, late in target.in_order:
        for line in await merge.out_of_order(early, late):
            found.setdefault(line, (late, f"would be before {early}, with what is stored"))
    return pl.DataFrame([(line, *told) for line, told in found.items()], schema=_BROKEN, orient="row")


async def _check_written(session: AsyncSession, resource: Resource, rows: pl.DataFrame, left_out: pl.Series) -> None:
    """Hold the rows, now that they are written, against the rule that has to see them in their place. They are told
    with their `line`, unless that is a field of theirs.

    Raises:
        RuleBroken: they break it; none is kept, as the rule is over all of them.
    """
    if resource.after_write is None:
        return
    written = rows.filter(~pl.col(LINE).is_in(left_out.implode()))
    if "line" not in written.columns:
        written = written.rename({LINE: "line"})
    if written.height and (errors := await resource.after_write(session, written.to_dicts())):
        raise RuleBroken(errors)


def _with_rows(parsed: Parsed, broken: pl.DataFrame) -> pl.DataFrame:
    malformed = parsed.malformed.clear()
    return rejected_rows(Parsed(parsed.frame, parsed.columns, malformed, "", "", "", 0), broken)


def _row_error(row: Mapping[str, Any]) -> RowError:
    return RowError(row["line"], row["field"], row["reason"], msgspec.json.decode(row["raw"]))
