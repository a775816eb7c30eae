"""Lists that are read whole: given only when something in them changed, and then all of it."""

import io
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from typing import IO

import pyarrow as pa

from fmrp_erp_api.config import MIB, ApiConfig
from fmrp_erp_api.pages import Page, read_pages
from fmrp_erp_api.records import Row, digest, merged_columns, to_rows, to_table
from fmrp_erp_api.session import Session
from fmrp_erp_api.state import Snapshot, StreamState
from fmrp_erp_api.stream_config import NoPaging, Stream
from fmrp_sdk import FatalError, FileBatch, RecordsBatch, RetriableError

_IN_MEMORY = 16 * MIB
_MAX_VALIDATOR = 1_000


async def read_snapshot(
    session: Session, config: ApiConfig, stream: Stream, known: StreamState
) -> AsyncGenerator[tuple[RecordsBatch, StreamState]]:
    """The whole list, in batches of which only the last one brings a new state; nothing where it is as it was.

    All of it is fetched before the first batch, so a list that breaks off is not given in part.
    """
    kept = _Kept(config, stream, known.columns)
    try:
        pages = read_pages(session, config, stream, headers=_conditions(stream, known))
        last: Page | None = None
        async with aclosing(pages):
            async for page in pages:
                if page.is_unchanged:
                    return
                kept.add(page)
                last = page
        assert last is not None
        kept.check_total(last)
        if known.snapshot is not None and known.snapshot.content == kept.fingerprint:
            return
        after = StreamState(columns=kept.told_columns, snapshot=_snapshot(stream, kept.fingerprint, last))
        for table, is_last in kept.tables():
            batch = RecordsBatch(stream.name, table, is_snapshot=True, is_last=is_last)
            yield batch, after if is_last else known
    finally:
        kept.close()


async def read_file(
    session: Session, config: ApiConfig, stream: Stream, known: StreamState
) -> AsyncGenerator[tuple[FileBatch, StreamState]]:
    """The CSV file, its pages put together with one header; nothing where it is as it was."""
    content = bytearray()
    pages = read_pages(session, config, stream, headers=_conditions(stream, known))
    last: Page | None = None
    async with aclosing(pages):
        async for page in pages:
            if page.is_unchanged:
                return
            _append(content, page.answer.body)
            if len(content) > config.max_response_bytes:
                raise FatalError(
                    f"{page.answer.asked}: the file is larger than {config.max_response_bytes:,} bytes in all; raise "
                    "max_response_bytes"
                )
            last = page
    assert last is not None
    if not content.strip():
        raise RetriableError(f"{last.answer.asked}: the file is empty, without so much as a header")
    fingerprint = blake2b(content, digest_size=16).hexdigest()
    if known.snapshot is not None and known.snapshot.content == fingerprint:
        return
    modified_at = last.answer.last_modified or last.answer.at
    opener = partial(io.BytesIO, bytes(content))
    origin = {"url": str(last.answer.url.copy_with(query=None))}
    file = FileBatch(f"{stream.name}.csv", len(content), modified_at, config.max_response_bytes, opener, origin)
    yield file, StreamState(snapshot=_snapshot(stream, fingerprint, last))


def _append(content: bytearray, page: bytes) -> None:
    """Puts a page behind those before it, without its header where that is the first one's."""
    if content and page:
        end = content.find(b"\n") + 1
        if end and page.startswith(content[:end]):
            page = page[end:]
        if page and not content.endswith(b"\n"):
            content += b"\n"
    content += page


def _conditions(stream: Stream, known: StreamState) -> dict[str, str]:
    """Headers that ask for the list only if it changed; for one request, as a page tells nothing of the others."""
    before = known.snapshot
    if before is None or not isinstance(stream.paging, NoPaging) or before.request != _request(stream):
        return {}
    if before.etag is not None:
        return {"if-none-match": before.etag}
    return {"if-modified-since": before.last_modified} if before.last_modified is not None else {}


def _snapshot(stream: Stream, fingerprint: str, page: Page) -> Snapshot:
    def validator(name: str) -> str | None:
        value = page.answer.headers.get(name)
        fits = value is not None and len(value) <= _MAX_VALIDATOR and value.isascii() and value.isprintable()
        return value if fits else None

    is_one = isinstance(stream.paging, NoPaging)
    changed = page.answer.last_modified
    # RFC 9110, 8.8.2.2: within a minute it may have changed again under the same time.
    is_settled = changed is not None and page.answer.at - changed >= timedelta(minutes=1)
    return Snapshot(
        content=fingerprint,
        request=_request(stream),
        etag=validator("etag") if is_one else None,
        last_modified=validator("last-modified") if is_one and is_settled else None,
    )


def _request(stream: Stream) -> str:
    """A fingerprint of all that decides what is asked for and how it is read."""
    return blake2b(stream.model_dump_json().encode(), digest_size=16).hexdigest()


class _Kept:
    """Rows put aside, in memory and then in a file that has no name, until the whole list is there."""

    def __init__(self, config: ApiConfig, stream: Stream, columns: tuple[str, ...]) -> None:
        self._config, self._stream = config, stream
        self._columns = tuple(stream.fields) or columns
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self._places: list[int] = []
        self._waiting: list[Row] = []
        self._seen: set[bytes] = set()
        self._sum = 0
        self._count = 0

    @property
    def told_columns(self) -> tuple[str, ...]:
        """The columns to remember; none where they are configured."""
        return () if self._stream.fields else self._columns

    @property
    def fingerprint(self) -> str:
        """Of the rows, whatever their order."""
        return f"{self._count}-{self._sum:032x}"

    def add(self, page: Page) -> None:
        """Puts a page's rows aside. With a key, a row that a shifted page brings a second time is passed over."""
        where = f"{page.answer.asked}, page {page.number}"
        rows = to_rows(self._stream, page.records, where)
        if not self._stream.fields:
            self._columns = merged_columns(self._columns, rows, where)
        for row in rows:
            content = digest(row, 16)
            if self._stream.key:
                if content in self._seen:
                    continue
                self._seen.add(content)
            self._sum = (self._sum + int.from_bytes(content)) % (1 << 128)
            self._count += 1
            self._waiting.append(row)
            if len(self._waiting) == self._config.batch_rows:
                self._put_aside()

    def check_total(self, last: Page) -> None:
        """RetriableError: the API speaks of another number of records, so the list changed while it was read."""
        if last.total is not None and last.total != self._count:
            raise RetriableError(
                f"{last.answer.asked}: {self._count:,} records came of {last.total:,}: the list changed while it was "
                "read, or key does not tell its records apart"
            )

    def tables(self) -> Iterator[tuple[pa.Table, bool]]:
        """The rows, and whether these are the last; of an empty list one empty table, if its columns are known."""
        if self._waiting or (not self._places and self._columns):
            self._put_aside()
        for number, place in enumerate(self._places, start=1):
            self._file.seek(place)
            table = pa.ipc.open_stream(self._file).read_all()
            missing = [name for name in self._columns if name not in table.column_names]
            for name in missing:
                table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
            yield table.select(list(self._columns)), number == len(self._places)

    def close(self) -> None:
        """Drops everything."""
        self._file.close()

    def _put_aside(self) -> None:
        table = to_table(self._waiting, self._columns)
        self._places.append(self._file.seek(0, io.SEEK_END))
        with pa.ipc.new_stream(self._file, table.schema) as writer:
            writer.write_table(table)
        self._waiting = []
