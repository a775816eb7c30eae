"""A connector at work on a source: every wait has an end, and whatever it raises is an error of the sdk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog
from pydantic import BaseModel

from actors.retry import is_passing
from fmrp_sdk import Batch, Connector, ConnectorError, ConnectorRun, FatalError, FileBatch, RetriableError, State

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
CLOSING_S = 5.0


class SourceReading:
    """One reading of a source. Raises ConnectorError and nothing else for what the connector does."""

    def __init__(self, name: str, run: ConnectorRun, patience_s: float) -> None:
        self._name = name
        self._run = run
        self._patience_s = patience_s

    async def next_batch(self, state: State | None) -> Batch | None:
        """See `ConnectorRun.next_batch`."""
        return await self._answer(self._run.next_batch(state))

    async def content(self, file: FileBatch) -> bytes:
        """See `ConnectorRun.content`."""
        return await self._answer(self._run.content(file))

    async def settle(self, state: State) -> None:
        """See `ConnectorRun.settle`."""
        await self._answer(self._run.settle(state))

    async def _answer(self, future: Future[_T]) -> _T:
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.wrap_future(future)
        except ConnectorError:
            raise
        except TimeoutError as error:
            raise RetriableError(
                f"the connector {self._name} got no answer within {self._patience_s:g} seconds: is its source up?"
            ) from error
        except Exception as error:
            # Foreign code may raise anything. What passes by itself is tried again, the rest needs its author.
            told = f"the connector {self._name} failed: {type(error).__name__}: {error}"
            raise (RetriableError if is_passing(error) else FatalError)(told) from error


@asynccontextmanager
async def reading(connector: type[Connector], config: BaseModel, patience_s: float) -> AsyncIterator[SourceReading]:
    """A reading, closed after the block; a connector that does not let go is left behind and said so."""
    run = ConnectorRun(connector(), config)
    try:
        yield SourceReading(connector.name, run, patience_s)
    finally:
        if not await asyncio.shield(asyncio.to_thread(run.close, CLOSING_S)):
            log.warning("connector does not let go", connector=connector.name)
