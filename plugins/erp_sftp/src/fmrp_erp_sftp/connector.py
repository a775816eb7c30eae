"""Files from an SFTP server."""

import hashlib
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, BinaryIO, ClassVar

from pydantic import BaseModel

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.link import SftpLink, linked, linked_to_mark
from fmrp_erp_sftp.listing import Listing, RemoteFile, list_files
from fmrp_erp_sftp.login import shown_host_keys
from fmrp_erp_sftp.names import to_text
from fmrp_erp_sftp.readiness import why_it_waits
from fmrp_erp_sftp.session import ReadingSession
from fmrp_erp_sftp.settling import settle_files, those_there
from fmrp_erp_sftp.state import Seen, SftpState
from fmrp_erp_sftp.transfer import fetch
from fmrp_sdk import Batch, CheckResult, ConnectorError, FileBatch, FileInfo, SkippableError

_UNSETTLED = 256
"""So many files may have been given before it is looked up which of them were moved away meanwhile."""


class ErpSftpConnector:
    """Reads each file once, and again when its content changed; marks at the server only what it is asked to."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "erp_sftp"
    version: ClassVar[str] = "0.1.0"
    config_model: ClassVar[type[BaseModel]] = ErpSftpConfig

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since the epoch; it stands in where the server's own clock cannot be learnt."""
        self._clock = clock

    async def check(self, config: ErpSftpConfig) -> CheckResult:
        """Whether the server is the right one, lets us in and lists the folder. Without a host key: what it shows."""
        try:
            if not config.host_key:
                shown = await shown_host_keys(config)
                return CheckResult(
                    False,
                    f"{config.server}: no host key is configured yet. The server shows {shown}. "
                    "Compare this with its administrator, then enter one of them as host_key",
                )
            async with linked(config) as link:
                listing, waits, _ = await self._look(link, config, SftpState.load(None))
        except ConnectorError as error:
            return CheckResult(False, str(error))
        return CheckResult(True, f"{config.server}: {_summary(config, listing, waits)}")

    async def discover(self, config: ErpSftpConfig) -> list[FileInfo]:
        """Every matching file, oldest first, also those not taken (yet), and folders that cannot be looked into."""
        async with linked(config) as link:
            listing, waits, _ = await self._look(link, config, SftpState.load(None))
        return [FileInfo(f.name, f.size, f.modified_at, f.problem or waits.get(f.name)) for f in listing.files]

    async def read(self, config: ErpSftpConfig, state: Mapping[str, Any] | None) -> AsyncIterator[Batch]:
        """New and changed files, oldest first; a file touched without a change of content is not given again.

        RetriableError: the server or its folder cannot be reached. FatalError: the server is not the one whose key is
        known, refuses the log-in, or the state is of a newer version or damaged.
        """
        stored = SftpState.load(state)
        async with linked(config) as link:
            listing, waits, known = await self._look(link, config, stored)
            unsettled = _UNSETTLED
            for file in listing.files:
                seen = known.seen(file.name)
                if file.name in waits or _is_known(file, seen):
                    continue
                offered, now = await _offer(link, config, listing.base, file)
                if now is None or _is_refused_again(file, seen, now):
                    continue
                known = stored = known.with_file(file.name, now)
                # Of one that was only touched the new looks are stored: it is not read again, or moved as it looks now.
                is_only_touched = seen is not None and seen.sha256 == now.sha256 != ""
                yield Batch(None if is_only_touched else offered, known.dump())
                del offered  # its content need not be held while the next one is read
                if config.after_reading != "leave" and len(known.files) > unsettled:
                    known = await _without_settled(link, listing.base, known)
                    unsettled = max(_UNSETTLED, 2 * len(known.files))
        if known.tells_more_than(stored):
            yield Batch(None, known.dump())

    async def settle(self, config: ErpSftpConfig, state: Mapping[str, Any]) -> None:
        """Moves or deletes what was taken, if that is asked for. RetriableError: not all of it could be."""
        known = SftpState.load(state)
        if config.after_reading != "leave" and known.taken():
            async with linked_to_mark(config) as link:
                await settle_files(link, config, known)

    async def _look(
        self, link: SftpLink[ReadingSession], config: ErpSftpConfig, known: SftpState
    ) -> tuple[Listing, dict[str, str], SftpState]:
        """What is there, which of it is left for later and why, and the state without what is gone."""
        listing = await list_files(link, config)
        now = self._clock()
        known = known.only(listing.still_there()).with_clock(None if listing.clock is None else listing.clock - now)
        waits = {
            file.name: reason
            for file in listing.files
            if file.problem is None and (reason := why_it_waits(file, config, known, now)) is not None
        }
        looks = {file.name: (file.size, file.mtime) for file in listing.files if file.name in waits}
        return listing, waits, known.with_waiting(looks, now)


def _summary(config: ErpSftpConfig, listing: Listing, waits: Mapping[str, str]) -> str:
    problems = [f"{file.name} {file.problem}" for file in listing.files if file.problem is not None]
    said = [f"{len(listing.files) - len(problems)} file(s) match {', '.join(config.patterns)} in {config.folder}"]
    said += [f"{len(waits)} of them not ready yet, for example: {next(iter(waits.values()))}"] if waits else []
    said += [f"{len(problems)} cannot be taken, for example: {problems[0]}"] if problems else []
    return "; ".join(said)


async def _without_settled(link: SftpLink[ReadingSession], base: bytes, known: SftpState) -> SftpState:
    """The state without what was moved or deleted since it was given, so that settling looks at little each time."""
    taken = known.taken()
    gone = taken.keys() - set(await those_there(link, base, taken))
    return known.only(lambda name: name not in gone)


async def _offer(
    link: SftpLink[ReadingSession], config: ErpSftpConfig, base: bytes, file: RemoteFile
) -> tuple[FileBatch, Seen | None]:
    """The file with its content in memory, so that what is hashed is what is taken; Seen is None: come back later.

    A file that cannot be taken is offered all the same, with an opener that says why, and counts as seen.
    """
    make = partial(
        FileBatch,
        file.name,
        file.size,
        file.modified_at,
        config.max_file_bytes,
        origin={"server": config.server, "folder": to_text(base)},
    )
    problem = file.problem
    if problem is None:
        try:
            content = await fetch(link, file, base)
        except SkippableError as error:
            problem = str(error)
        else:
            if content is None:
                return make(partial(_refuse, "changed while it was read")), None
            digest = hashlib.sha256(content).hexdigest()
            return make(partial(io.BytesIO, content)), Seen(file.size, file.mtime, digest)
    return make(partial(_refuse, f"{file.name}: {problem}")), Seen(file.size, file.mtime, "")


def _is_known(file: RemoteFile, seen: Seen | None) -> bool:
    """Whether there is nothing new about it. One that the server refused may be readable now, so it is tried again."""
    return _looks_same(file, seen) and (bool(seen and seen.sha256) or file.problem is not None)


def _is_refused_again(file: RemoteFile, seen: Seen | None, now: Seen) -> bool:
    return _looks_same(file, seen) and now.sha256 == ""


def _looks_same(file: RemoteFile, seen: Seen | None) -> bool:
    return seen is not None and (seen.size, seen.mtime) == (file.size, file.mtime)


def _refuse(message: str) -> BinaryIO:
    raise SkippableError(message)
