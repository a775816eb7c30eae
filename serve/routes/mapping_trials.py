"""A mapping suggested for a file, and a mapping tried out on one. Both read the whole file and store nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
import polars as pl
from litestar import post
from litestar.datastructures import State
from litestar.enums import RequestEncodingType
from litestar.exceptions import ServiceUnavailableException
from litestar.params import Body
from sqlalchemy.ext.asyncio import AsyncSession

from actors.file_limits import file_limits
from actors.mappings import checked, find_mapping, known_to, shipped
from db.repositories import mappings
from ingestion.errors import IngestionError
from ingestion.mapping import Mapping
from ingestion.preview import Preview, preview
from ingestion.suggest import Suggestion, suggest
from serve.bodies import place_and_fault
from serve.mapping_schemas import MappingDefinition, MappingIn, definition_of
from serve.problems import ERRORS, Conflict
from serve.resources.transfer_routes import FileIn
from serve.security import OPERATOR
from serve.trial_schemas import (
    FileReading,
    MappingPreview,
    MappingSuggestion,
    PreviewedRejection,
    PreviewIn,
    SuggestedField,
    SuggestedTarget,
    SuggestIn,
)

PREVIEWED = 50
"""Rows of a file that a preview shows."""
LONGEST_S = 60.0
"""Seconds a file may wait for its turn and be read."""
# A file is worth many requests to read.
_COST = {**OPERATOR, "cost": 20}
_running: set[asyncio.Task[Any]] = set()
T = TypeVar("T")


class _Unsaved(MappingDefinition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A definition as it is handed in for a preview: what was suggested has a name too."""

    name: str = ""


@post(
    "/suggest",
    opt=_COST,
    responses=ERRORS,
    status_code=200,
    operation_id="suggestMapping",
    summary="Have a mapping suggested for a file",
    description="Looks at headers, in English and German, and at the first few thousand values. What comes back under"
    " `mapping` can be saved by `POST /mappings` or handed to `POST /mappings/preview` as it is; `warnings` tell what"
    " to look at first, such as dates that can be read in two ways. 409 when the file as a whole cannot be read.",
)
async def suggest_mapping(
    state: State, data: Annotated[SuggestIn, Body(media_type=RequestEncodingType.MULTI_PART)]
) -> MappingSuggestion:
    """Nothing is stored."""
    async with state.connections.sessions() as session:
        known = await known_to(session)
        taken = {*shipped(), *(each.name for each in await mappings.every(session))}
    limits = file_limits(state.settings)
    found = await _read(state, data, lambda content: suggest(content, data.name, known, limits, data.target))
    return _suggestion(found, taken)


@post(
    "/preview",
    opt=_COST,
    responses=ERRORS,
    status_code=200,
    operation_id="previewMapping",
    summary="See what would become of a file",
    description=f"Reads the whole file with a mapping, saved or not, and shows the first {PREVIEWED} rows of those that"
    " would be taken, and of those that would be rejected or parked, with the reason. 409 when the file as a whole"
    " cannot be read, when there is no such mapping, and for a definition that is none.",
)
async def preview_mapping(
    state: State, data: Annotated[PreviewIn, Body(media_type=RequestEncodingType.MULTI_PART)]
) -> MappingPreview:
    """The same reading as of an upload. Nothing is stored."""
    async with state.connections.sessions() as session:
        mapping = await _wanted(session, data)
        known = await known_to(session, mapping)
    limits = file_limits(state.settings)
    seen = await _read(state, data, lambda content: preview(content, data.name, mapping, known, limits))
    return _preview(seen)


async def _wanted(session: AsyncSession, data: PreviewIn) -> Mapping:
    if (data.mapping is None) == (data.definition is None):
        message = "give either the name of a mapping or a definition"
        raise Conflict(f"mapping: {message}", {"mapping": message})
    if data.mapping is not None:
        return (await find_mapping(session, data.mapping)).mapping
    try:
        given = msgspec.json.decode(data.definition or "", type=_Unsaved)
    except msgspec.ValidationError as error:
        path, message = place_and_fault(str(error))
        place = f"definition.{path}" if path else "definition"
        raise Conflict(f"{place}: {message}", {place: message}) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Conflict(f"definition: no JSON ({error})", {"definition": "no JSON"}) from error
    definition = msgspec.to_builtins(given)
    definition.pop("name", None)
    return checked("unsaved", definition)


async def _read(state: State, data: FileIn, work: Callable[[bytes], T]) -> T:
    """Read a file in a thread, a few at a time.

    A thread cannot be stopped: what takes too long is given up on, and keeps its turn until it ends by itself.

    Raises:
        Conflict: the file as a whole is refused, or takes too long.
        ServiceUnavailableException: other files are being read all the time.
    """
    begun = asyncio.Event()

    async def alone() -> T:
        async with state.transfers:
            begun.set()
            return await asyncio.to_thread(work, await data.file.read())

    task = asyncio.create_task(alone())
    _running.add(task)
    task.add_done_callback(_ended)
    try:
        return await asyncio.wait_for(asyncio.shield(task), LONGEST_S)
    except IngestionError as error:
        raise Conflict(str(error), {"file": str(error)}) from error
    except TimeoutError as error:
        if not begun.is_set():
            raise ServiceUnavailableException("other files are being read", headers={"Retry-After": "10"}) from error
        message = f"takes more than {LONGEST_S:g} seconds to read: hand in a part of it"
        raise Conflict(f"file: {message}", {"file": message}) from error
    finally:
        if not begun.is_set():  # also where whoever asked has gone away
            task.cancel()


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # was told, or nobody is there to be told any more


def _suggestion(found: Suggestion, taken: set[str]) -> MappingSuggestion:
    definition = definition_of(found.mapping)
    fields = {name: getattr(definition, name) for name in MappingDefinition.__struct_fields__}
    return MappingSuggestion(
        mapping=MappingIn(name=_free(found.mapping.name, taken), **fields),
        score=found.score,
        targets=[SuggestedTarget(*each) for each in found.tables],
        fields=[SuggestedField(each.field, each.column, each.score, list(each.reasons)) for each in found.fields],
        missing=list(found.missing),
        unused=list(found.unused),
        warnings=list(found.warnings),
        reading=FileReading(found.file_format, found.encoding, found.delimiter, found.sheet, found.header_line),
    )


def _free(name: str, taken: set[str]) -> str:
    return next(each for each in (name, *(f"{name}_{number}" for number in range(2, 10_000))) if each not in taken)


def _preview(seen: Preview) -> MappingPreview:
    found = seen.ingested
    rejected = found.rejected.head(PREVIEWED).select("line", "field", "reason", "raw", "parked")
    return MappingPreview(
        target=found.target,
        read=found.read,
        taken=found.taken,
        merged=found.merged,
        rejected=found.rejected_count,
        parked=found.parked_count,
        rows=_shown(found.rows),
        lines=found.lines.head(PREVIEWED).to_list(),
        rejected_rows=[PreviewedRejection(*row) for row in rejected.iter_rows()],
        new_items=found.new_items.height,
        first_new_items=_shown(found.new_items),
        unused=list(seen.unused),
        warnings=list(seen.warnings),
    )


def _shown(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """The first rows, days as a person would write them: they are looked at, not reckoned with."""
    return rows.head(PREVIEWED).with_columns(pl.col(pl.Date, pl.Datetime, pl.Decimal).cast(pl.String)).to_dicts()
