"""What could not be sent yet: the newest value of each key, oldest first, and never more than a fixed number."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
LENGTH = 1000


class Backlog(Generic[T]):
    """Bounded: when full, the oldest value goes, and `dropped` counts it."""

    def __init__(self, length: int = LENGTH) -> None:
        self._length = length
        self._waiting: dict[str, T] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, key: str, value: T) -> None:
        """Queue a value; an older one under the same key is dropped, since nobody needs it any more."""
        self._waiting.pop(key, None)
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
