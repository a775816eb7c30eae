"""Which rows of a list were given already, by key and content, and the highest cursor met."""

import base64
import heapq

from fmrp_erp_api.cursor_values import Mark, mark_of
from fmrp_erp_api.records import Row, digest
from fmrp_erp_api.state import MAX_RECENT, StreamState
from fmrp_erp_api.stream_config import Cursor, Stream


class RememberedRows:
    """What is known of the rows met. Only so many are remembered; those forgotten are given once more if met again."""

    def __init__(self, stream: Stream, cursor: Cursor, known: StreamState) -> None:
        self._key, self._cursor = stream.key, cursor
        self._before = known.recent
        self._met: dict[str, tuple[Mark | None, str]] = {}
        self._of_page: dict[str, str] = {}
        self._keys: set[str] = set()
        self._without_key = 0
        self._counts = stream.may_shift and stream.tells_total
        self.highest: str | None = known.unfinished.highest if known.unfinished else None
        self._highest_mark = mark_of(cursor, self.highest)

    @property
    def count(self) -> int:
        """Different records met; counted only where the list tells a total that matters."""
        return len(self._keys) + self._without_key

    def is_new(self, row: Row) -> bool:
        """Whether the row was not given as it is now. Counts what was given last, so that a change back is a change."""
        key, content = self._fingerprints(row)
        last = self._met[key][1] if key in self._met else self._before.get(key)
        return last != content

    def is_known(self, row: Row) -> bool:
        """Whether a row of the same key was met in this reading."""
        return self._fingerprints(row)[0] in self._met

    def turn_page(self) -> None:
        """What is met from here on is of another page."""
        self._of_page = {}

    def met(self, row: Row) -> None:
        """The row was given, now or before."""
        key, content = self._fingerprints(row)
        text = row.get(self._cursor.field)
        mark = mark_of(self._cursor, text)
        self._met[key] = (mark, content)
        self._of_page[key] = content
        if self._counts:
            if self._has_key(row):
                self._keys.add(key)
            else:
                self._without_key += 1
        if mark is not None and (self._highest_mark is None or mark > self._highest_mark):  # type: ignore[operator]
            self._highest_mark, self.highest = mark, text
        if len(self._met) > 4 * MAX_RECENT:
            self._met = dict(self._latest(2 * MAX_RECENT))

    def given_so_far(self) -> dict[str, str]:
        """Rows to remember within a list: those known before, the latest, and surely those of the page at hand."""
        kept = dict(self._before)
        latest = {key: content for key, (_, content) in self._latest(MAX_RECENT)}
        for key, content in (*latest.items(), *self._of_page.items()):
            kept.pop(key, None)
            kept[key] = content
        return dict(list(kept.items())[-MAX_RECENT:])

    def since(self, since: Mark | None) -> dict[str, str]:
        """Rows to remember after the list: those at or after `since`, the latest of them if they are too many."""
        return {
            key: content
            for key, (mark, content) in self._latest(MAX_RECENT)
            if since is None or mark is None or mark >= since  # type: ignore[operator]
        }

    def _latest(self, count: int) -> list[tuple[str, tuple[Mark | None, str]]]:
        """The rows met with the highest cursors, in ascending order; all of them where there are no more."""
        if len(self._met) <= count:
            return list(self._met.items())
        marked = [(mark, key, content) for key, (mark, content) in self._met.items() if mark is not None]
        return [(key, (mark, content)) for mark, key, content in heapq.nlargest(count, marked)[::-1]]

    def _has_key(self, row: Row) -> bool:
        return any(row.get(name) is not None for name in self._key)

    def _fingerprints(self, row: Row) -> tuple[str, str]:
        # Records without a key are told apart by all they hold.
        named = digest([row.get(name) for name in self._key] if self._has_key(row) else row, 9)
        return _told(named), _told(digest(row, 6))


def _told(fingerprint: bytes) -> str:
    return base64.urlsafe_b64encode(fingerprint).decode()
