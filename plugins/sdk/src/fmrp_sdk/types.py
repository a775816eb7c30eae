"""What travels between a connector and the runner: check results, file listings, batches and their state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

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
class FileBatch:
    """One file: name, size in bytes, time of its last change (with time zone), and how to open its content.

    `opener` may raise any ConnectorError. At most `max_bytes` are ever read from it.
    """

    name: str
    size: int
    modified_at: datetime
    max_bytes: int
    opener: Callable[[], BinaryIO]

    def read(self) -> bytes:
        """The whole content; SkippableError where the source sends more than `max_bytes`, whatever size it claimed."""
        chunks: list[bytes] = []
        total = 0
        with self.opener() as stream:
            while chunk := stream.read(_CHUNK):
                total += len(chunk)
                if total > self.max_bytes:
                    raise SkippableError(f"{self.name}: larger than the limit of {self.max_bytes:,} bytes")
                chunks.append(chunk)
        return b"".join(chunks)


@dataclass(frozen=True, slots=True)
class Batch:
    """A file and the state that holds once its rows are stored: reading from that state goes on after this file."""

    file: FileBatch
    state: State
