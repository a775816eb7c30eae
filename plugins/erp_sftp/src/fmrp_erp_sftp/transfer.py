"""One file's content: as it lay there when it was listed, whole, or not at all."""

import asyncio

import asyncssh

from fmrp_erp_sftp.link import SftpLink
from fmrp_erp_sftp.listing import RemoteFile, is_within, real_path
from fmrp_sdk import SkippableError

_IN_FLIGHT = 64
"""Requests under way at once: the line is kept busy however long an answer takes."""
_WINDOW_BYTES = 8 << 20
_LEAST_BLOCK = 16 << 10


async def fetch(link: SftpLink, file: RemoteFile, base: bytes) -> bytes | None:
    """The content, or None when the file changed or went away meanwhile: it is left for the next time.

    When the link is lost the reading goes on where it was, provided that size and time of the file are still the same.
    SkippableError: the server does not let us read it. RetriableError: the link is lost for good.
    """
    content = bytearray()
    try:
        is_whole = await link.call(lambda sftp: _read_on(link, sftp, file, base, content))
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        return None
    except asyncssh.SFTPError as error:
        raise SkippableError(f"{file.name}: cannot be read: {error.reason}") from None
    return bytes(content) if is_whole else None


async def _read_on(
    link: SftpLink, sftp: asyncssh.SFTPClient, file: RemoteFile, base: bytes, content: bytearray
) -> bool:
    """Adds to `content` what is missing. False: the file is not, or no longer, the one that was listed."""
    handle = await link.within(sftp.open(file.path, "rb", encoding=None))
    try:
        if not _is_same(await link.within(handle.stat()), file):
            return False
        while (missing := file.size - len(content)) > 0:
            if not await _read_window(link, handle, missing, content):
                return False
        # The name, not the handle: it may meanwhile stand for another file, or for a link to somewhere else.
        after, path = await asyncio.gather(link.within(sftp.lstat(file.path)), real_path(link, sftp, file.path))
        return _is_same(after, file) and is_within(path, base)
    finally:
        await link.release(handle.close())


async def _read_window(link: SftpLink, handle: asyncssh.SFTPClientFile, missing: int, content: bytearray) -> bool:
    """Some of the next bytes, block beside block; what came before a failure is kept. False: there are no more."""
    start = len(content)
    block = min(max(handle.read_len, _LEAST_BLOCK), _WINDOW_BYTES)
    length = min(_IN_FLIGHT * block, _WINDOW_BYTES, missing)
    sizes = [min(block, length - at) for at in range(0, length, block)]
    answers = await asyncio.gather(
        *(link.within(handle.read(size, start + at * block)) for at, size in enumerate(sizes)), return_exceptions=True
    )
    for size, answer in zip(sizes, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        content += answer
        if len(answer) < size:
            break
    return len(content) > start


def _is_same(attributes: asyncssh.SFTPAttrs, file: RemoteFile) -> bool:
    return attributes.type in (asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN) and (
        attributes.size,
        attributes.mtime,
    ) == (file.size, file.mtime)
