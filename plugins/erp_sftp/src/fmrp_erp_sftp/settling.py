"""Marking at the server what was taken: moved to the archive or deleted, its done-marker before it.

Only a file that still looks as it was read is touched, so a newer version that arrived meanwhile is never lost: where
one slips in between the look and the move, it is moved back.
"""

import asyncio
import posixpath
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

import asyncssh

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.link import SftpLink
from fmrp_erp_sftp.names import to_bytes
from fmrp_erp_sftp.session import NOT_THERE, MarkingSession, ReadingSession, told
from fmrp_erp_sftp.state import Seen, SftpState
from fmrp_sdk import RetriableError

_LOOKS_AT_ONCE = 64
_NAMES_TRIED = 100


async def settle_files(link: SftpLink[MarkingSession], config: ErpSftpConfig, state: SftpState) -> None:
    """Moves or deletes what `state` says was taken and still lies there unchanged; what is gone is passed over.

    RetriableError: some could not be; the others were.
    """
    base = await link.call(lambda session: session.real_path(config.folder.encode()))
    taken = state.taken()
    failures: list[str] = []
    for name in await those_there(link, base, taken):
        marking = _Marking(config, base, name, taken[name])
        try:
            await link.call(marking.perform)
        except asyncssh.SFTPError as error:
            failures.append(f"{name}: {told(error)}")
    if failures:
        done = "moved to the archive" if config.after_reading == "move" else "deleted"
        raise RetriableError(
            f"{config.server}: {len(failures)} file(s) were read but could not be {done}, the first is {failures[0]}; "
            "the user needs the right to write in the folder (and in the archive, on the same disk)"
        )


async def those_there(link: SftpLink[ReadingSession], base: bytes, names: Iterable[str]) -> list[str]:
    """Which of these files are still there, whatever they look like."""

    async def look(session: ReadingSession, some: list[str]) -> list[bool]:
        return await asyncio.gather(*(session.is_there(posixpath.join(base, to_bytes(name))) for name in some))

    found: list[str] = []
    todo = list(names)
    for at in range(0, len(todo), _LOOKS_AT_ONCE):
        some = todo[at : at + _LOOKS_AT_ONCE]
        there = await link.call(partial(look, some=some))
        found += [name for name, is_one in zip(some, there, strict=True) if is_one]
    return found


class _Marking:
    """One file to be moved or deleted. It may be performed again: what is done already is seen at the server."""

    def __init__(self, config: ErpSftpConfig, base: bytes, name: str, seen: Seen) -> None:
        self._config = config
        self._base = base
        self._raw = to_bytes(name)
        self._path = posixpath.join(base, self._raw)
        self._seen = seen
        self._marker = b"" if config.done_suffix is None else config.done_suffix.encode()

    async def perform(self, session: MarkingSession) -> None:
        """SFTPError as the server answers."""
        if not await self._is_as_read(session, self._path):
            return
        if self._config.archive_folder is None:
            await self._delete(session)
        else:
            await self._move(session, posixpath.join(self._base, self._config.archive_folder.encode()))

    async def _delete(self, session: MarkingSession) -> None:
        # The marker first: left alone it would release the next file of this name while that is still being written.
        for path in {self._path + self._marker: None, self._path: None}:
            with suppress(*NOT_THERE):
                await session.remove(path)

    async def _move(self, session: MarkingSession, archive: bytes) -> None:
        # A marker that is gone may have been moved already, when the link was lost before the file followed it.
        has_marker = bool(self._marker) and await session.is_there(self._path + self._marker)
        target = await self._free(session, archive, has_marker)
        if has_marker:
            with suppress(*NOT_THERE):
                await session.rename(self._path + self._marker, target + self._marker)
        try:
            await session.rename(self._path, target)
        except NOT_THERE:
            return
        if not await self._is_as_read(session, target):
            await session.rename(target, self._path)

    async def _free(self, session: MarkingSession, archive: bytes, has_marker: bool) -> bytes:
        """A path in the archive where nothing lies: servers differ in what a move onto another file does."""
        wanted = posixpath.join(archive, self._raw)
        await session.make_folder(posixpath.dirname(wanted))
        for target in self._candidates(wanted):
            if await session.is_there(target) or (has_marker and await session.is_there(target + self._marker)):
                continue
            return target
        raise asyncssh.SFTPFailure(f"the archive has {_NAMES_TRIED} files of this name already")

    def _candidates(self, wanted: bytes) -> Iterator[bytes]:
        """a.csv, a.1f3c09ab.csv (by its content), a.1f3c09ab-2.csv, ..."""
        folder, name = posixpath.split(wanted)
        stem, dot, ending = name.partition(b".") if not name.startswith(b".") else (name, b"", b"")
        yield wanted
        for number in range(1, _NAMES_TRIED):
            tail = f".{self._seen.sha256[:8]}{'' if number == 1 else f'-{number}'}".encode()
            yield posixpath.join(folder, stem + tail + dot + ending)

    async def _is_as_read(self, session: MarkingSession, path: bytes) -> bool:
        """Whether this very file lies there; a link never is one, so what it leads to stays where it is."""
        try:
            now = await session.lstat(path)
        except NOT_THERE:
            return False
        is_file = now.type in (asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN)
        return is_file and (now.size, now.mtime) == (self._seen.size, self._seen.mtime)
