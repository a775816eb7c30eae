"""The link to the server: verified, logged in, every wait with an end, made again a bounded number of times."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import asyncssh

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.login import log_in
from fmrp_sdk import RetriableError

_T = TypeVar("_T")
_LONGEST_PAUSE_S = 10.0
_PATIENCE_AT_CLOSE_S = 2.0
_LOST = (
    OSError,  # also TimeoutError
    asyncssh.DisconnectError,
    asyncssh.ChannelOpenError,
    asyncssh.SFTPNoConnection,
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPBadMessage,
)


class LinkLost(Exception):
    """The link broke, or the server fell silent, while something was under way."""


class SftpLink:
    """One connection with one SFTP session on it. Use `call` for what is to survive a lost link."""

    def __init__(self, config: ErpSftpConfig) -> None:
        self._config = config
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None

    async def open(self) -> None:
        """Connect and log in. FatalError: host key, user or algorithms do not fit. RetriableError: anything else."""
        self._connection = await log_in(self._config)
        try:
            # Names are bytes in no stated encoding, so none is applied to them.
            self._sftp = await self.within(self._connection.start_sftp_client(path_encoding=None))
        except (LinkLost, asyncssh.SFTPError) as error:
            raise RetriableError(f"{self._config.server}: gives no SFTP session: {_told(error)}") from None

    async def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.abort()
            await self.release(connection.wait_closed())

    @asynccontextmanager
    async def patience(self) -> AsyncIterator[asyncio.Timeout]:
        """While the block lasts the server may be silent for the time of one operation; LinkLost after that."""
        try:
            async with asyncio.timeout(self._config.operation_timeout_s) as deadline:
                yield deadline
        except _LOST as error:
            raise LinkLost(_told(error)) from error

    async def within(self, answer: Awaitable[_T]) -> _T:
        """The answer to one request, which is an SFTPError where the server refuses; LinkLost: there is none."""
        async with self.patience():
            return await answer

    async def release(self, closing: Awaitable[object]) -> None:
        """Closes something as far as the link still allows it; what it held goes with the link in any case."""
        with suppress(asyncssh.SFTPError, *_LOST):
            async with asyncio.timeout(_PATIENCE_AT_CLOSE_S):
                await closing

    async def call(self, work: Callable[[asyncssh.SFTPClient], Awaitable[_T]]) -> _T:
        """The result of `work`, begun again on a new link when the link is lost: so it only reads, or may be repeated.

        SFTPError as the server answers. RetriableError: the link is lost, and making it again did not help.
        """
        reason = ""
        for attempt in range(self._config.reconnects + 1):
            if self._sftp is None:
                await asyncio.sleep(_pause_s(attempt))
                try:
                    await self.open()
                except RetriableError as error:
                    reason = str(error)
                    continue
            try:
                return await work(self._sftp)
            except LinkLost as lost:
                reason = str(lost)
                await self.close()
        raise RetriableError(
            f"{self._config.server}: the link was lost and not had again in {self._config.reconnects} attempt(s): "
            f"{reason}"
        )


@asynccontextmanager
async def linked(config: ErpSftpConfig) -> AsyncIterator[SftpLink]:
    """An open link while the block lasts."""
    link = SftpLink(config)
    try:
        await link.open()
        yield link
    finally:
        await link.close()


def _told(error: Exception) -> str:
    """What happened, in a few words; the errors' own texts are often empty."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error) or type(error).__name__


def _pause_s(attempt: int) -> float:
    """Before a new link: none at first, then longer and longer."""
    return 0.0 if attempt <= 1 else min(2.0 ** (attempt - 2), _LONGEST_PAUSE_S)
