"""One run of a connector, plain or asynchronous, in a thread and an event loop of its own.

Foreign code may block, hang or never end: whoever waits for it decides how long, and goes on without it.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from inspect import isawaitable
from typing import Any, TypeVar

from pydantic import BaseModel

from fmrp_sdk.connector import Connector, Settles
from fmrp_sdk.types import Batch, CheckResult, FileBatch, Offer, State

_T = TypeVar("_T")
log = logging.getLogger(__name__)


class ConnectorRun:
    """Calls of one connector with one configuration, one after the other. `close` it, whatever happened."""

    def __init__(self, connector: Connector, config: BaseModel) -> None:
        self._connector = connector
        self._config = config
        self._batches: Iterator[Batch] | AsyncIterator[Batch] | None = None
        self._loop = asyncio.new_event_loop()
        # A daemon: neither others' work nor the end of the process may wait for a source that hangs.
        self._thread = threading.Thread(target=self._serve, name=f"connector-{connector.name}", daemon=True)
        self._thread.start()

    def check(self) -> Future[CheckResult]:
        """See `Connector.check`."""
        return self._submit(lambda: self._connector.check(self._config))

    def discover(self) -> Future[Sequence[Offer]]:
        """See `Connector.discover`."""
        return self._submit(lambda: self._connector.discover(self._config))

    def next_batch(self, state: State | None) -> Future[Batch | None]:
        """The next batch; the first one after `state`, which later calls ignore. None: there is no more."""
        return self._begin(self._next(state))

    def content(self, file: FileBatch) -> Future[bytes]:
        """The content of a file of the batch that was last given."""
        return self._begin(file.read())

    def settle(self, state: State) -> Future[None]:
        """See `Settles.settle`; nothing for a connector that marks nothing."""
        connector = self._connector
        return self._submit(lambda: connector.settle(self._config, state) if isinstance(connector, Settles) else None)

    def close(self, patience_s: float = 5.0) -> bool:
        """End the reading and the thread. False: the connector did not let go in time, its thread is left behind."""
        self._loop.call_soon_threadsafe(self._cancel_all)
        ending = self._begin(self._end())
        # Also later, when a connector that hung lets go.
        ending.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _submit(self, call: Callable[[], _T | Awaitable[_T]]) -> Future[_T]:
        async def perform() -> _T:
            answer = call()
            return await answer if isawaitable(answer) else answer

        return self._begin(perform())

    def _begin(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _next(self, state: State | None) -> Batch | None:
        if self._batches is None:
            self._batches = self._connector.read(self._config, state)
        if isinstance(self._batches, AsyncIterator):
            return await anext(self._batches, None)
        return next(self._batches, None)

    def _cancel_all(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    async def _end(self) -> None:
        batches, self._batches = self._batches, None
        try:
            if (close := getattr(batches, "aclose", None)) is not None:
                await close()
            elif (close := getattr(batches, "close", None)) is not None:
                close()
        except Exception as error:  # noqa: BLE001 - foreign code; nobody waits for it any more, and it may tell secrets
            log.warning("connector %s failed while it was closed: %s", self._connector.name, type(error).__name__)
