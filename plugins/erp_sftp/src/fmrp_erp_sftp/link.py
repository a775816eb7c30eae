"""The link to the server: verified, logged in, every wait with an end, made again a bounded number of times."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, TypeVar

import asyncssh

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.login import log_in
from fmrp_erp_sftp.session import LOST, LinkLost, MarkingSession, ReadingSession, release, told
from fmrp_sdk import RetriableError

_T = TypeVar("_T")
_Session_co = TypeVar("_Session_co", bound=ReadingSession, covariant=True)
_LONGEST_PAUSE_S = 10.0


class SftpLink(Generic[_Session_co]):
    """One connection with one SFTP session on it, of the kind that it was made for."""

    def __init__(self, config: ErpSftpConfig, session_class: type[_Session_co]) -> None:
        self._config = config
        self._session_class = session_class
        self._connection: asyncssh.SSHClientConnection | None = None
        self._session: _Session_co | None = None

    async def open(self) -> _Session_co:
        """Connect and log in. FatalError: host key, user or algorithms do not fit. RetriableError: anything else."""
        self._connection = await log_in(self._config)
        try:
            async with asyncio.timeout(self._config.operation_timeout_s):
                # Names are bytes in no stated encoding, so none is applied to them.
                client = await self._connection.start_sftp_client(path_encoding=None)
        except (*LOST, asyncssh.SFTPError) as error:
            raise RetriableError(f"{self._config.server}: gives no SFTP session: {told(error)}") from None
        self._session = self._session_class(self._config, self._connection, client)
        return self._session

    async def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        connection, self._connection, self._session = self._connection, None, None
        if connection is not None:
            connection.abort()
            await release(connection.wait_closed())

    async def call(self, work: Callable[[_Session_co], Awaitable[_T]]) -> _T:
        """The result of `work`, begun again on a new link when the link is lost: so it only reads, or may be repeated.

        SFTPError as the server answers. RetriableError: the link is lost, and making it again did not help.
        """
        reason = ""
        for attempt in range(self._config.reconnects + 1):
            try:
                session = self._session or await self._open_again(attempt)
            except RetriableError as error:
                reason = str(error)
                await self.close()
                continue
            try:
                return await work(session)
            except LinkLost as lost:
                reason = str(lost)
                await self.close()
        raise RetriableError(
            f"{self._config.server}: the link was lost and not had again in {self._config.reconnects} attempt(s): "
            f"{reason}"
        )

    async def _open_again(self, attempt: int) -> _Session_co:
        await asyncio.sleep(0.0 if attempt <= 1 else min(2.0 ** (attempt - 2), _LONGEST_PAUSE_S))
        return await self.open()


def linked(config: ErpSftpConfig) -> AbstractAsyncContextManager[SftpLink[ReadingSession]]:
    """An open link that only reads, while the block lasts."""
    return _linked(config, ReadingSession)


def linked_to_mark(config: ErpSftpConfig) -> AbstractAsyncContextManager[SftpLink[MarkingSession]]:
    """An open link that moves and deletes as well, while the block lasts. FatalError: this source is only read."""
    return _linked(config, MarkingSession)


@asynccontextmanager
async def _linked(config: ErpSftpConfig, session_class: type[_Session_co]) -> AsyncIterator[SftpLink[_Session_co]]:
    link = SftpLink(config, session_class)
    try:
        await link.open()
        yield link
    finally:
        await link.close()
