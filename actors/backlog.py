"""What could not be sent yet: the newest value of each key, oldest first, and never more than a fixed number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
LENGTH = 1000


class Backlog(Generic[T]):
    """Bounded: when full, the oldest value goes, and `dropped` counts it.

    `merge(older, newer)` is what is left to say of two values under one key; the newer one, unless told otherwise.
    """

    def __init__(self, merge: Callable[[T, T], T] = lambda _, newer: newer, length: int = LENGTH) -> None:
        self._merge = merge
        self._length = length
        self._waiting: dict[str, T] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, key: str, value: T) -> None:
        """Queue a value in place of an older one under the same key, which nobody needs any more."""
        if (older := self._waiting.pop(key, None)) is not None:
            value = self._merge(older, value)
        if len(self._waiting) >= self._length:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1
        self._waiting[key] = value

    def oldest(self, count: int) -> list[tuple[str, T]]:
        """The first ones, left in place."""
        return [pair for pair, _ in zip(self._waiting.items(), range(count), strict=False)]

    def remove(self, sent: list[tuple[str, T]]) -> None:
        """Forget what was sent, unless a newer value has taken its place meanwhile."""
        for key, value in sent:
            if self._waiting.get(key) is value:
                del self._waiting[key]
