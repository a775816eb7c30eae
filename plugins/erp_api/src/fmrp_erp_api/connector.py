"""Lists of a REST API: what is new in them, or all of them when something changed. Nothing is ever written there."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, ClassVar

from pydantic import BaseModel

from fmrp_erp_api.config import ApiConfig
from fmrp_erp_api.incremental import read_new
from fmrp_erp_api.pages import Page, first_page
from fmrp_erp_api.records import missing_columns, to_rows
from fmrp_erp_api.session import Session
from fmrp_erp_api.snapshot import read_file, read_snapshot
from fmrp_erp_api.state import ApiState, StreamState
from fmrp_erp_api.stream_config import NoPaging, Stream
from fmrp_sdk import Batch, CheckResult, ConnectorError, FileBatch, RecordsBatch, State, StreamInfo

_Content = FileBatch | RecordsBatch | None


class ApiConnector:
    """Reads JSON as records, all columns text with numbers as JSON writes them, and CSV as files."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "erp_api"
    version: ClassVar[str] = "0.1.0"
    config_model: ClassVar[type[BaseModel]] = ApiConfig

    async def check(self, config: ApiConfig) -> CheckResult:
        """Whether each stream's first page comes and can be read. One try each."""
        found = []
        try:
            async with Session(config, attempts=1) as session:
                for stream in config.streams:
                    found.append(_seen(stream, await first_page(session, config, stream)))
        except ConnectorError as error:
            return CheckResult(False, str(error))
        return CheckResult(True, "; ".join(found)[:1000])

    def discover(self, config: ApiConfig) -> list[StreamInfo]:
        """The streams as configured: an API does not tell what it holds, and no content is read for it."""
        return [
            StreamInfo(
                stream.name,
                dict.fromkeys(stream.fields, "text"),
                stream.key,
                stream.cursor.field if stream.cursor else None,
            )
            for stream in config.streams
        ]

    async def read(self, config: ApiConfig, state: State | None) -> AsyncGenerator[Batch]:
        """Stream after stream, in the order they are configured.

        RetriableError: the API is down, too slow or asks to wait. FatalError: it refuses, leads astray or gives what
        cannot be read; or the state is of a newer version or damaged.
        """
        known = ApiState.load(state, [stream.name for stream in config.streams])
        async with Session(config) as session:
            for stream in config.streams:
                async with aclosing(_read(session, config, stream, known.of(stream.name))) as found:
                    async for content, after in found:
                        known = known.with_stream(stream.name, after)
                        yield Batch(content, known.dump())


def _seen(stream: Stream, page: Page) -> str:
    """What a stream's first page holds, also which fields nothing was found for."""
    if stream.format == "csv":
        return f"{stream.name}: a file, {len(page.records)} lines on its first page"
    rows = to_rows(stream, page.records, f"{page.answer.asked}, page 1")
    missing = [f"{column} ({stream.fields[column]})" for column in missing_columns(stream.fields, rows)]
    lacking = f", none of them with {', '.join(missing)}" if missing else ""
    more = (
        ""
        if isinstance(stream.paging, NoPaging)
        else ", more follow"
        if page.following is not None
        else ", the last one"
    )
    return f"{stream.name}: {len(rows)} records on its first page{more}{lacking}"


async def _read(
    session: Session, config: ApiConfig, stream: Stream, known: StreamState
) -> AsyncGenerator[tuple[_Content, StreamState]]:
    readings: Any
    if stream.mode == "incremental":
        readings = read_new(session, config, stream, known)
    elif stream.format == "csv":
        readings = read_file(session, config, stream, known)
    else:
        readings = read_snapshot(session, config, stream, known)
    async with aclosing(readings) as found:
        async for content, after in found:
            if content is None or isinstance(content, FileBatch | RecordsBatch):
                yield content, after
            else:
                yield RecordsBatch(stream.name, content), after
