"""How fast rows go through a job's work: over the last seconds while it runs, over all of it in the end."""

from __future__ import annotations

from collections import deque

# A source is read and stored by turns, some seconds each: a shorter look would see only one of the two.
WINDOW_S = 20.0


class RowRate:
    """Of one attempt. Times are monotonic seconds; `now` is when the attempt begins."""

    def __init__(self, now: float) -> None:
        self.rows: int | None = None
        self._began = now
        self._seen = deque([(now, 0)])

    def count(self, rows: int) -> None:
        """So many rows are through in all; fewer than before is a late word from a worker thread."""
        self.rows = max(rows, self.rows or 0)

    def current(self, now: float) -> float | None:
        """Rows a second over the last seconds, going to nought when none come any more; None where none are counted.

        Ask regularly: what it is told apart by are the counts at the times it was asked.
        """
        if self.rows is None:
            return None
        while len(self._seen) > 1 and self._seen[1][0] <= now - WINDOW_S:
            self._seen.popleft()
        since, before = self._seen[0]
        self._seen.append((now, self.rows))
        return (self.rows - before) / (now - since) if now > since else None

    def overall(self, now: float) -> float | None:
        """Rows a second since the attempt began; None where none are counted."""
        return self.rows / (now - self._began) if self.rows is not None and now > self._began else None
