"""One file's content: as it lay there when it was listed, whole, or not at all."""

import asyncio

import asyncssh

from fmrp_erp_sftp.link import SftpLink
from fmrp_erp_sftp.listing import RemoteFile, is_within
from fmrp_erp_sftp.session import NOT_THERE, ReadingSession, RemoteContent, told
from fmrp_sdk import SkippableError

_IN_FLIGHT = 64
"""Requests under way at once: the line is kept busy however long an answer takes."""
_WINDOW_BYTES = 8 << 20
_LEAST_BLOCK = 16 << 10


async def fetch(link: SftpLink[ReadingSession], file: RemoteFile, base: bytes) -> bytes | None:
    """The content, or None when the file changed or went away meanwhile: it is left for the next time.

    When the link is lost the reading goes on where it was, provided that size and time of the file are still the same.
    SkippableError: the server does not let us read it. RetriableError: the link is lost for good.
    """
    content = bytearray()
    try:
        is_whole = await link.call(lambda session: _read_on(session, file, base, content))
    except NOT_THERE:
        return None
    except asyncssh.SFTPError as error:
        raise SkippableError(f"{file.name}: cannot be read: {told(error)}") from None
    return bytes(content) if is_whole else None


async def _read_on(session: ReadingSession, file: RemoteFile, base: bytes, content: bytearray) -> bool:
    """Adds to `content` what is missing. False: the file is not, or no longer, the one that was listed."""
    async with session.opened(file.path) as opened:
        if not _is_same(await opened.stat(), file):
            return False
        while (missing := file.size - len(content)) > 0:
            if not await _read_window(opened, missing, content):
                return False
        # The name, not the open file: it may meanwhile stand for another one, or for a link to somewhere else.
        after, path = await asyncio.gather(session.lstat(file.path), session.real_path(file.path))
        return _is_same(after, file) and is_within(path, base)


async def _read_window(opened: RemoteContent, missing: int, content: bytearray) -> bool:
    """Some of the next bytes, block beside block; what came before a failure is kept. False: there are no more."""
    start = len(content)
    block = min(max(opened.block_bytes, _LEAST_BLOCK), _WINDOW_BYTES)
    length = min(_IN_FLIGHT * block, _WINDOW_BYTES, missing)
    sizes = [min(block, length - at) for at in range(0, length, block)]
    answers = await asyncio.gather(
        *(opened.read(size, start + at * block) for at, size in enumerate(sizes)), return_exceptions=True
    )
    for size, answer in zip(sizes, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        content += answer[:size]
        if len(answer) < size:
            break
    return len(content) > start


def _is_same(looks: asyncssh.SFTPAttrs, file: RemoteFile) -> bool:
    return looks.type in (asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN) and (
        looks.size,
        looks.mtime,
    ) == (file.size, file.mtime)
