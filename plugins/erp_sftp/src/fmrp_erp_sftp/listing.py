"""What lies on the server now: one listing with attributes of each folder that may hold something, no look a file."""

import posixpath
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import asyncssh

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.link import SftpLink
from fmrp_erp_sftp.names import to_text
from fmrp_erp_sftp.patterns import Patterns, Positions
from fmrp_erp_sftp.session import NOT_THERE, Entry, ReadingSession, told
from fmrp_sdk import FatalError, RetriableError


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that matches. `name`: path below the base folder, as text; `path`: as the server knows it, links resolved.

    `size` in bytes, `mtime` in seconds since the epoch by the server's clock. `marked`: its done-marker stands beside
    it. `problem`: why it is not taken, whatever its age.
    """

    name: str
    path: bytes
    size: int
    mtime: int
    marked: bool
    problem: str | None

    @property
    def modified_at(self) -> datetime:
        """`mtime` with its time zone."""
        return datetime.fromtimestamp(self.mtime, UTC)


@dataclass(slots=True)
class Listing:
    """Files that match, and folders that cannot be listed, as "orders/" with the problem: nobody knows what they hold.

    `clock`: the server's time when it was learnt, in seconds since the epoch. A file system notes when a folder was
    last read: where that went forward with our own reading it is the server's now. None: it tells nothing.
    """

    base: bytes
    files: list[RemoteFile] = field(default_factory=list)
    clock: int | None = None
    entries: int = 0

    def still_there(self) -> Callable[[str], bool]:
        """Tells of a name whether the file may still be there."""
        names = {file.name for file in self.files}
        unlisted = tuple(name for name in names if name.endswith("/"))
        return lambda name: name in names or name.startswith(unlisted)


@dataclass(frozen=True, slots=True)
class _Folder:
    path: bytes
    name: str
    depth: int
    positions: Positions
    mtime: int
    read_at: int | None


async def list_files(link: SftpLink[ReadingSession], config: ErpSftpConfig) -> Listing:
    """Every matching file, oldest first.

    RetriableError: the base folder cannot be listed, or holds too much. FatalError: it is its own archive.
    """
    return await link.call(lambda session: _Walk(session, config).run())


def is_within(path: bytes, folder: bytes) -> bool:
    """Whether a real path lies below a real folder."""
    return path.startswith(folder.rstrip(b"/") + b"/")


class _Walk:
    """One walk through the folders, breadth first."""

    def __init__(self, session: ReadingSession, config: ErpSftpConfig) -> None:
        self._session = session
        self._config = config
        self._patterns = Patterns(config.patterns)
        self._archive: bytes | None = None
        self._listing = Listing(b"")

    async def run(self) -> Listing:
        base = await self._base()
        self._listing = Listing(base.path)
        self._archive = await self._archive_path(base)
        todo = deque([base])
        while todo:
            folder = todo.popleft()
            try:
                todo.extend(await self._folder(folder))
            except NOT_THERE:
                if folder is base:
                    raise self._no_base("does not exist") from None
            except asyncssh.SFTPError as error:
                if folder is base:
                    raise self._no_base(f"cannot be listed: {told(error)}") from None
                problem = f"cannot be listed: {told(error)}"
                self._listing.files.append(RemoteFile(folder.name, folder.path, 0, folder.mtime, False, problem))
        self._listing.files.sort(key=lambda file: (file.mtime, file.name))
        return self._listing

    async def _base(self) -> _Folder:
        try:
            path = await self._session.real_path(self._config.folder.encode())
            attributes = await self._session.stat(path)
        except NOT_THERE:
            raise self._no_base("does not exist") from None
        except asyncssh.SFTPError as error:
            raise self._no_base(f"cannot be looked at: {told(error)}") from None
        if attributes.type != asyncssh.FILEXFER_TYPE_DIRECTORY:
            raise self._no_base("is not a folder")
        return _Folder(path, "", 0, self._patterns.start(), attributes.mtime or 0, attributes.atime)

    async def _archive_path(self, base: _Folder) -> bytes | None:
        """Where the archive really lies, so that nothing in it is taken again; None: there is none yet."""
        if self._config.archive_folder is None:
            return None
        try:
            path = await self._session.real_path(posixpath.join(base.path, self._config.archive_folder.encode()))
        except asyncssh.SFTPError:
            return None
        if path == base.path:
            raise FatalError(f"{self._config.server}: archive_folder: is the folder itself; name another one")
        return path

    async def _folder(self, folder: _Folder) -> list[_Folder]:
        """Takes note of the files that match, and gives the folders to go on with."""
        found = await self._entries(folder)
        await self._read_clock(folder, found)
        markers = {entry.text: entry.mtime for entry in found} if self._config.done_suffix else {}
        further = []
        for entry in found:
            if entry.kind == asyncssh.FILEXFER_TYPE_DIRECTORY:
                positions = self._patterns.within(folder.positions, entry.text)
                path = posixpath.join(folder.path, entry.raw)
                if positions and folder.depth < self._config.max_depth and path != self._archive:
                    name = f"{folder.name}{entry.text}/"
                    further.append(_Folder(path, name, folder.depth + 1, positions, entry.mtime or 0, entry.atime))
            elif self._takes(folder, entry) and (file := await self._file(folder, entry, markers)) is not None:
                self._listing.files.append(file)
        return further

    def _takes(self, folder: _Folder, entry: Entry) -> bool:
        suffix = self._config.done_suffix
        if suffix is not None and entry.text.endswith(suffix):
            return False
        return self._patterns.takes(folder.positions, entry.text)

    async def _entries(self, folder: _Folder) -> list[Entry]:
        """The names in a folder. RetriableError: there are too many."""
        room = self._config.max_entries - self._listing.entries
        found = await self._session.entries(folder.path, room)
        if len(found) > room:
            raise RetriableError(
                f"{self._config.server}: more than {self._config.max_entries:,} names in "
                f"{to_text(self._listing.base)}; move old files away, narrow the patterns or raise max_entries"
            )
        self._listing.entries += len(found)
        return found

    async def _read_clock(self, folder: _Folder, found: list[Entry]) -> None:
        """The server's time, if its file system notes when a folder was read, and not just roughly."""
        if folder.read_at is None or self._config.done_suffix is not None:
            return
        read_at = (await self._session.stat(folder.path)).atime
        newest = max((entry.mtime or 0 for entry in found), default=0)
        if read_at is not None and read_at > folder.read_at and read_at >= newest:
            self._listing.clock = max(read_at, self._listing.clock or 0)

    async def _file(self, folder: _Folder, entry: Entry, markers: dict[str, int | None]) -> RemoteFile | None:
        """One file that matches, seen through a link if it is one; None: it is a folder behind a link, or gone."""
        name, path = folder.name + entry.text, posixpath.join(folder.path, entry.raw)
        kind, size, mtime, problem = entry.kind, entry.size, entry.mtime, None
        if entry.kind == asyncssh.FILEXFER_TYPE_SYMLINK:
            try:
                path = await self._session.real_path(path)
                # Nothing outside the folder is looked at, not even its size.
                if is_within(path, self._listing.base):
                    target = await self._session.stat(path)
                    kind, size, mtime = target.type, target.size, target.mtime
                else:
                    problem = "is a symbolic link that leaves the folder"
            except asyncssh.SFTPError:
                problem = "is a symbolic link to nothing"
            if kind == asyncssh.FILEXFER_TYPE_DIRECTORY:
                return None
        if problem is None:
            problem = self._problem(kind, size, mtime)
        marked = self._is_marked(entry, mtime, markers)
        return RemoteFile(name, path, size or 0, mtime or 0, marked, problem)

    def _problem(self, kind: int, size: int | None, mtime: int | None) -> str | None:
        if kind not in (asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN):
            return "is not a regular file"
        if size is None or mtime is None:
            return "has no size or time of change that the server would tell"
        if size > self._config.max_file_bytes:
            return f"has {size:,} bytes, the limit is {self._config.max_file_bytes:,}"
        return None

    def _is_marked(self, entry: Entry, mtime: int | None, markers: dict[str, int | None]) -> bool:
        """Whether its marker is there and no older: the marker of an earlier file of that name says nothing."""
        if self._config.done_suffix is None:
            return False
        marker = markers.get(entry.text + self._config.done_suffix)
        return marker is not None and marker >= (mtime or 0)

    def _no_base(self, sentence: str) -> RetriableError:
        return RetriableError(f"{self._config.server}: folder {self._config.folder} {sentence}")
