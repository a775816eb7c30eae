"""Lists that are read whole: given only when something in them changed, and then all of it."""

import io
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from typing import IO, Protocol, TypeVar

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
_READINGS = 4
"""How often a list is read in one run, at most, until two readings agree."""


async def read_snapshot(
    session: Session, config: ApiConfig, stream: Stream, known: StreamState
) -> AsyncGenerator[tuple[RecordsBatch, StreamState]]:
    """The whole list, in batches of which only the last one brings a new state; nothing where it is as it was.

    All of it is fetched before the first batch, so a list that breaks off is not given in part. RetriableError: it
    changed while it was read.
    """
    kept = await _steady(partial(_KeptRows, config, stream, known.columns), session, config, stream, known)
    if kept is None:
        return
    try:
        after = StreamState(columns=kept.told_columns, snapshot=_snapshot(stream, kept))
        for table, is_last in kept.tables():
            batch = RecordsBatch(stream.name, table, is_snapshot=True, is_last=is_last)
            yield batch, after if is_last else known
    finally:
        kept.close()


async def read_file(
    session: Session, config: ApiConfig, stream: Stream, known: StreamState
) -> AsyncGenerator[tuple[FileBatch, StreamState]]:
    """The CSV file, its pages put together with one header; nothing where it is as it was. See `read_snapshot`."""
    kept = await _steady(partial(_KeptLines, config), session, config, stream, known)
    if kept is None:
        return
    answer = kept.last.answer
    content = bytes(kept.content)
    if not content.strip():
        raise RetriableError(f"{answer.asked}: the file is empty, without so much as a header")
    modified_at = answer.last_modified or answer.at
    origin = {"url": str(answer.url.copy_with(query=None))}
    opener = partial(io.BytesIO, content)
    file = FileBatch(f"{stream.name}.csv", len(content), modified_at, config.max_response_bytes, opener, origin)
    yield file, StreamState(snapshot=_snapshot(stream, kept))


class _Kept(Protocol):
    """A list as it is gathered, page by page."""

    last: Page

    @property
    def fingerprint(self) -> str:
        """Of all that it holds."""
        ...

    def add(self, page: Page) -> None:
        """Puts a page to those before it."""
        ...

    def check(self) -> None:
        """RetriableError: something is missing."""
        ...

    def close(self) -> None:
        """Drops everything."""
        ...


_AnyKept = TypeVar("_AnyKept", bound=_Kept)


async def _steady(
    begin: Callable[[], _AnyKept], session: Session, config: ApiConfig, stream: Stream, known: StreamState
) -> _AnyKept | None:
    """The list, to be closed; None where it is as it was.

    Records that move from page to page while pages are counted would be missed, and taken for gone. Where the API tells
    no total by which that is seen, the list is read until two readings agree.
    """
    before: str | None = None
    for _ in range(_READINGS):
        kept = await _whole(begin(), session, config, stream, known)
        if kept is None:
            return None
        is_sure = kept.last.number == 1 or stream.tells_total or not stream.may_shift
        if known.snapshot is not None and known.snapshot.content == kept.fingerprint:
            kept.close()
            return None
        if is_sure or kept.fingerprint == before:
            return kept
        before = kept.fingerprint
        kept.close()
    raise RetriableError(
        f"{stream.name}: read {_READINGS} times, the list was another each time; a total_path or paging by cursor "
        "tells more surely whether something is missing"
    )


async def _whole(
    kept: _AnyKept, session: Session, config: ApiConfig, stream: Stream, known: StreamState
) -> _AnyKept | None:
    """One reading of all pages; None where the API says that nothing changed."""
    try:
        async with aclosing(read_pages(session, config, stream, headers=_conditions(stream, known))) as pages:
            async for page in pages:
                if page.is_unchanged:
                    kept.close()
                    return None
                kept.add(page)
        kept.check()
    except BaseException:
        kept.close()
        raise
    return kept


def _conditions(stream: Stream, known: StreamState) -> dict[str, str]:
    """Headers that ask for the list only if it changed; for one request, as a page tells nothing of the others."""
    before = known.snapshot
    if before is None or not isinstance(stream.paging, NoPaging) or before.request != stream.fingerprint:
        return {}
    if before.etag is not None:
        return {"if-none-match": before.etag}
    return {"if-modified-since": before.last_modified} if before.last_modified is not None else {}


def _snapshot(stream: Stream, kept: _Kept) -> Snapshot:
    page = kept.last

    def validator(name: str) -> str | None:
        value = page.answer.headers.get(name)
        fits = value is not None and len(value) <= _MAX_VALIDATOR and value.isascii() and value.isprintable()
        return value if fits else None

    is_one = isinstance(stream.paging, NoPaging)
    changed = page.answer.last_modified
    # RFC 9110, 8.8.2.2: within a minute it may have changed again under the same time.
    is_settled = changed is not None and page.answer.at - changed >= timedelta(minutes=1)
    return Snapshot(
        content=kept.fingerprint,
        request=stream.fingerprint,
        etag=validator("etag") if is_one else None,
        last_modified=validator("last-modified") if is_one and is_settled else None,
    )


class _KeptRows:
    """Rows put aside, in memory and then in a file that has no name, until the whole list is there."""

    def __init__(self, config: ApiConfig, stream: Stream, columns: tuple[str, ...]) -> None:
        self._config, self._stream = config, stream
        self._columns = tuple(stream.fields) or columns
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self._places: list[int] = []
        self._waiting: list[Row] = []
        self._seen: set[bytes] = set()
        self._totals: list[int] = []
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
        self.last = page
        if page.total is not None:
            self._totals.append(page.total)
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

    def check(self) -> None:
        """RetriableError: the API speaks of another number of records, so the list changed while it was read."""
        if self._totals and (self._totals[-1] != self._count or self._totals != sorted(self._totals)):
            raise RetriableError(
                f"{self.last.answer.asked}: {self._count:,} records came of {self._totals[-1]:,}: the list changed "
                "while it was read, or key does not tell its records apart"
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


class _KeptLines:
    """A CSV file put together from its pages."""

    def __init__(self, config: ApiConfig) -> None:
        self._max_bytes = config.max_response_bytes
        self.content = bytearray()

    @property
    def fingerprint(self) -> str:
        """Of its bytes."""
        return blake2b(self.content, digest_size=16).hexdigest()

    def add(self, page: Page) -> None:
        """Puts a page's lines below those before; of the first one all is taken. FatalError: it is too much."""
        self.last = page
        if self.content and not self.content.endswith(b"\n"):
            self.content += b"\n"
        self.content += b"".join(page.records) if self.content else page.answer.body
        if len(self.content) > self._max_bytes:
            raise FatalError(
                f"{page.answer.asked}: the file is larger than {self._max_bytes:,} bytes in all; raise "
                "max_response_bytes"
            )

    def check(self) -> None:
        """CSV tells no total."""

    def close(self) -> None:
        """Holds nothing that must be closed."""
