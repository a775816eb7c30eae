"""One SFTP session: what is asked of the server, and how long its silence is borne.

A `ReadingSession` looks and reads; it has no call that changes anything at the server. Only a `MarkingSession` has, and
one is had only for a source whose configuration asks for files to be moved or deleted.
"""

import asyncio
import posixpath
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Self, TypeVar

import asyncssh
from asyncssh.packet import PacketDecodeError

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.names import to_text
from fmrp_sdk import FatalError

_T = TypeVar("_T")
_PATIENCE_AT_CLOSE_S = 1.0
_PAUSE_AT_CANCEL_S = 0.05
_NO_NAMES = 1_000
_LONGEST_REASON = 200
LOST = (
    OSError,  # also TimeoutError
    asyncssh.DisconnectError,
    asyncssh.ChannelOpenError,
    asyncssh.SFTPNoConnection,
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPBadMessage,
    PacketDecodeError,
)
"""What is raised where the link no longer is one, or what comes over it makes no sense."""
NOT_THERE = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)


class LinkLost(Exception):
    """The link broke, or the server fell silent, while something was under way."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a folder: its bytes and text, kind, size in bytes, and times in seconds since the epoch by the server's
    clock.
    """

    raw: bytes
    text: str
    kind: int
    size: int | None
    mtime: int | None
    atime: int | None

    @classmethod
    def of(cls, told: asyncssh.SFTPName) -> Self:
        """As the server tells it."""
        looks = told.attrs
        return cls(told.filename, to_text(told.filename), looks.type, looks.size, looks.mtime, looks.atime)


class _Watch:
    """Ends the link when the server says nothing for too long while somebody waits for it.

    Any answer is a sign of life: on a slow line the last of many requests may wait long, and rightly.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, patience_s: float) -> None:
        self._connection = connection
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._heard_at = 0.0
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_silent = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While the block lasts the server owes an answer. LinkLost: it gave none."""
        self._waiting += 1
        if self._waiting == 1:
            self.heard()
            self._look()
        try:
            yield
        except LOST as error:
            raise LinkLost("no answer in time" if self._is_silent else told(error)) from error
        finally:
            self._waiting -= 1
            self.heard()
            if self._waiting == 0 and self._timer is not None:
                self._timer.cancel()

    def heard(self) -> None:
        """The server has just said something."""
        self._heard_at = self._loop.time()

    def end(self) -> None:
        """End the link; whoever waits for an answer is told at once."""
        self._connection.abort()

    def _look(self) -> None:
        left_s = self._heard_at + self._patience_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._is_silent = True
            self.end()


class RemoteContent:
    """A file that is open for reading. `block_bytes`: how much the server gives at once; 0: it did not say."""

    def __init__(self, handle: asyncssh.SFTPClientFile, watch: _Watch) -> None:
        self._handle = handle
        self._watch = watch
        self.block_bytes: int = handle.read_len

    async def stat(self) -> asyncssh.SFTPAttrs:
        """How the open file looks, whatever its name stands for by now."""
        with self._watch.waiting():
            return await self._handle.stat()

    async def read(self, size: int, at: int) -> bytes:
        """Up to `size` bytes from there; none: the file ends before."""
        with self._watch.waiting():
            content: bytes = await self._handle.read(size, at)
            return content


class ReadingSession:
    """Looks and reads. Every call raises SFTPError as the server answers, and LinkLost where it does not."""

    def __init__(
        self, config: ErpSftpConfig, connection: asyncssh.SSHClientConnection, client: asyncssh.SFTPClient
    ) -> None:
        self._client = client
        self._watch = _Watch(connection, config.operation_timeout_s)

    async def real_path(self, path: bytes) -> bytes:
        """The path without links and dots."""
        try:
            resolved: bytes = await self._within(self._client.realpath(path))
        except IndexError:
            raise LinkLost("the server gives no real path") from None
        return resolved

    async def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """How what the path leads to looks."""
        return await self._within(self._client.stat(path))

    async def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """How what lies there looks, be it a link."""
        return await self._within(self._client.lstat(path))

    async def is_there(self, path: bytes) -> bool:
        """Whether anything lies there, be it a link to nothing."""
        try:
            await self.lstat(path)
        except NOT_THERE:
            return False
        return True

    async def entries(self, folder: bytes, at_most: int) -> list[Entry]:
        """The names in a folder with their looks; one more than `at_most`: there are more."""
        found: list[Entry] = []
        listing = asyncio.ensure_future(self._list(folder, at_most, found))
        try:
            with self._watch.waiting():
                await asyncio.wait({listing})
                return listing.result()
        except asyncio.CancelledError:
            # On its way out the listing closes its folder at the server, and would wait for an answer to that, too.
            self._watch.end()
            while not listing.done():
                listing.cancel()
                await asyncio.wait({listing}, timeout=_PAUSE_AT_CANCEL_S)
            raise

    @asynccontextmanager
    async def opened(self, path: bytes) -> AsyncIterator[RemoteContent]:
        """A file, open for reading while the block lasts."""
        handle = await self._within(self._client.open(path, "rb", encoding=None))
        try:
            yield RemoteContent(handle, self._watch)
        finally:
            await release(handle.close())

    async def _list(self, folder: bytes, at_most: int, found: list[Entry]) -> list[Entry]:
        passed_over = 0
        async with aclosing(self._client.scandir(folder)) as told_one_by_one:
            async for name in told_one_by_one:
                self._watch.heard()
                # A name is one part of a path, whatever a server makes of it.
                if name.filename in (b"", b".", b"..") or b"/" in name.filename:
                    passed_over += 1
                else:
                    found.append(Entry.of(name))
                if len(found) > at_most:
                    break
                if passed_over > _NO_NAMES:
                    raise asyncssh.SFTPBadMessage("lists names that are none")
        return found

    async def _within(self, answer: Awaitable[_T]) -> _T:
        with self._watch.waiting():
            return await answer


class MarkingSession(ReadingSession):
    """Moves and deletes as well. FatalError when it is made for a source that is only read."""

    def __init__(
        self, config: ErpSftpConfig, connection: asyncssh.SSHClientConnection, client: asyncssh.SFTPClient
    ) -> None:
        if config.after_reading == "leave":
            raise FatalError(f"{config.server}: after_reading is 'leave', so nothing is written there")
        super().__init__(config, connection, client)

    async def rename(self, path: bytes, target: bytes) -> None:
        """Moves a file to where nothing lies."""
        await self._within(self._client.rename(path, target))

    async def remove(self, path: bytes) -> None:
        """Deletes a file."""
        await self._within(self._client.remove(path))

    async def make_folder(self, path: bytes) -> None:
        """Makes a folder and those above it, as far as they are missing."""
        try:
            await self.stat(path)
        except NOT_THERE:
            if (above := posixpath.dirname(path)) != path:
                await self.make_folder(above)
            try:
                await self._within(self._client.mkdir(path))
            except asyncssh.SFTPError:
                if not await self.is_there(path):  # else somebody was quicker
                    raise


async def release(closing: Awaitable[object]) -> None:
    """Closes something as far as the link still allows it; what it held goes with the link in any case."""
    with suppress(asyncssh.SFTPError, *LOST):
        async with asyncio.timeout(_PATIENCE_AT_CLOSE_S):
            await closing


def told(error: Exception) -> str:
    """What happened, in a few words, be they the server's; the errors' own texts are often empty."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    said = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error) or type(error).__name__
    return "".join(char if char.isprintable() else " " for char in said[:_LONGEST_REASON])
