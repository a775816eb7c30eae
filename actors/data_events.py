"""Tells of changed rows: at once after quiet, and in a burst at most one event a resource and interval.

The stream's window belongs to the jobs, whose history clients replay; a bulk import that told of every transaction
would push them out of it. What is lost with a process is not made up for: who shows rows reads them anew after a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from actors.data_changes import DataChange
from actors.ending import end
from actors.events import DataChanged, EventStream

INTERVAL_S = 1.0


class DataChanges:
    """One a process. `tell` after the commit; `close` sends what waits."""

    def __init__(self, stream: EventStream, interval_s: float = INTERVAL_S) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._waiting: dict[str, DataChange] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}

    def tell(self, resource: str, keys: Iterable[str], *, actor: str = "", count: int | None = None) -> None:
        """A committed transaction has changed these rows; what comes in a burst is told together."""
        change = DataChange.of(resource, keys, actor, count)
        older = self._waiting.get(resource)
        self._waiting[resource] = change if older is None else change.after(older)
        if resource not in self._sending:
            self._sending[resource] = asyncio.create_task(self._send(resource))

    async def close(self) -> None:
        """End the intervals and send what waits."""
        await end(*self._sending.values())
        waiting, self._waiting = list(self._waiting.values()), {}
        await self._stream.publish_all(DataChanged(data=change) for change in waiting)

    async def _send(self, resource: str) -> None:
        try:
            while (change := self._waiting.pop(resource, None)) is not None:
                await self._stream.publish(DataChanged(data=change))
                await asyncio.sleep(self._interval_s)
        finally:
            del self._sending[resource]
