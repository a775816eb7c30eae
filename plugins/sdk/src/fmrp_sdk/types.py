"""What travels between a connector and the runner: check results, offers, batches and their state."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Protocol

from fmrp_sdk.errors import SkippableError

State = Mapping[str, Any]
"""Opaque JSON, versioned by the connector ({"version": 1, ...}); stored in the transaction of the rows before it."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Answer of `Connector.check`: ok, or a sentence the user can act on."""

    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file the source offers now. `problem` says why it would not be taken; None means it would be."""

    name: str
    size: int
    modified_at: datetime
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One table, query or endpoint the source offers as records. `columns`: name to type, in the source's own words.

    `key` names the columns that tell rows apart, `cursor` the one by which only what is new is read; None: all of it.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    cursor: str | None = None
    problem: str | None = None


Offer = FileInfo | StreamInfo


class ArrowStream(Protocol):
    """Anything that speaks Arrow's PyCapsule interface: a pyarrow RecordBatch or Table, a Polars DataFrame, ..."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The stream as a capsule."""
        ...


@dataclass(frozen=True, slots=True)
class FileBatch:
    """One file: name, size in bytes, time of its last change (with time zone), and how to open its content.

    `opener` gives a binary stream or an asynchronous iterator of bytes, and may raise any ConnectorError. At most
    `max_bytes` are ever read from it. `origin` says where the file came from (sender, subject, folder), for people.
    """

    name: str
    size: int
    modified_at: datetime
    max_bytes: int
    opener: Callable[[], BinaryIO | AsyncIterator[bytes]]
    origin: Mapping[str, str] = field(default_factory=dict)

    async def read(self) -> bytes:
        """The whole content; SkippableError where the source sends more than `max_bytes`, whatever size it claimed."""
        opened = self.opener()
        content = bytearray()
        if isinstance(opened, AsyncIterator):
            try:
                async for chunk in opened:
                    self._append(content, chunk)
            finally:
                if (close := getattr(opened, "aclose", None)) is not None:
                    await close()
        else:
            with opened as stream:
                while chunk := stream.read(_CHUNK):
                    self._append(content, chunk)
        return bytes(content)

    def _append(self, content: bytearray, chunk: bytes) -> None:
        content += chunk
        if len(content) > self.max_bytes:
            raise SkippableError(f"{self.name}: larger than the limit of {self.max_bytes:,} bytes")


@dataclass(frozen=True, slots=True)
class RecordsBatch:
    """Rows of one stream, with the columns' own names, at most some ten thousand at a time.

    `is_snapshot`: together with the batches of the same stream before it, up to one that `is_last`, these rows are all
    there are: what is missing is gone at the source. Without it rows add to, or change, what came before.
    """

    stream: str
    records: ArrowStream
    is_snapshot: bool = False
    is_last: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """A file or rows, and the state that holds once they are stored: reading from that state goes on after them.

    Without content only the state moves on: past mails without attachments, say, that need not be looked at again.
    """

    content: FileBatch | RecordsBatch | None
    state: State
