"""What is new or changed in a list, by a field that grows with every change."""

import base64
import heapq
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any

import pyarrow as pa

from fmrp_erp_api.answer import Refused
from fmrp_erp_api.config import ApiConfig
from fmrp_erp_api.cursor_values import Mark, capped, mark_of, needed_mark, sent_as, set_back
from fmrp_erp_api.pages import Page, Position, read_pages
from fmrp_erp_api.records import Row, digest, merged_columns, to_rows, to_table
from fmrp_erp_api.session import Session
from fmrp_erp_api.state import MAX_RECENT, StreamState, Unfinished
from fmrp_erp_api.stream_config import Cursor, CursorPaging, Stream
from fmrp_sdk import FatalError

_GONE = {400, 404, 410, 422}
"""How an API says that it no longer knows the place in a list where a reading was cut off."""


async def read_new(
    session: Session, config: ApiConfig, stream: Stream, known: StreamState
) -> AsyncGenerator[tuple[pa.Table | None, StreamState]]:
    """Rows that are new or changed since `known`, and the state after them; None where only the state moves on."""
    if known.unfinished is not None:
        # Beginning again gives nothing twice but what goes beyond the rows remembered.
        fresh = known.model_copy(update={"unfinished": None})
        given = False
        try:
            async with aclosing(_Reading(config, stream, known).batches(session)) as batches:
                async for batch in batches:
                    given = True
                    yield batch
        except Refused as error:
            if given or error.status not in _GONE:
                raise
        else:
            return
        known = fresh
    async with aclosing(_Reading(config, stream, known).batches(session)) as batches:
        async for batch in batches:
            yield batch


class _Reading:
    """One pass over the list."""

    def __init__(self, config: ApiConfig, stream: Stream, known: StreamState) -> None:
        assert stream.cursor is not None
        self._config, self._stream, self._cursor, self._known = config, stream, stream.cursor, known
        self._columns = tuple(stream.fields) or known.columns
        self._began: datetime | None = known.unfinished.began if known.unfinished else None
        self._rows = _Rows(stream, stream.cursor, known)
        self._last: Mark | None = None

    async def batches(self, session: Session) -> AsyncGenerator[tuple[pa.Table | None, StreamState]]:
        """See `read_new`."""
        position: Position | None = self._known.unfinished.position if self._known.unfinished else None
        chunk: list[Row] = []
        pages = read_pages(session, self._config, self._stream, self._parameters(), position)
        async with aclosing(pages):
            async for page in pages:
                self._began = self._began or page.answer.at
                for row in self._read(page):
                    if not self._rows.is_new(row):
                        self._rows.met(row)
                        continue
                    if len(chunk) == self._config.batch_rows:
                        # The rows before this one are given; it is on this page, so this page is to come again.
                        yield to_table(chunk, self._columns), self._state(page.position)
                        chunk = []
                    self._rows.met(row)
                    chunk.append(row)
        final = self._final_state()
        if chunk:
            yield to_table(chunk, self._columns), final
        elif final.cursor != self._known.cursor or self._known.unfinished:
            yield None, final

    def _parameters(self) -> dict[str, Any]:
        """What asks for nothing but the new."""
        since = self._known.cursor or self._cursor.initial
        return {} if since is None else {self._cursor.param: sent_as(self._cursor, since)}

    def _read(self, page: Page) -> list[Row]:
        """The rows of a page. FatalError: they are not as configured, or out of order."""
        where = f"{page.answer.asked}, page {page.number}"
        rows = to_rows(self._stream, page.records, where)
        if self._cursor.ordered:
            self._check_order(rows, where)
        if not self._stream.fields:
            self._columns = merged_columns(self._columns, rows, where)
        return rows

    def _check_order(self, rows: list[Row], where: str) -> None:
        for row in rows:
            mark = mark_of(self._cursor, row.get(self._cursor.field))
            if mark is None:
                continue
            if self._last is not None and mark < self._last:  # type: ignore[operator]
                raise FatalError(
                    f"{where}: the records do not come in ascending order of {self._cursor.field}; ask for that in "
                    "params, or set the cursor's ordered to false"
                )
            self._last = mark

    def _state(self, position: Position | None) -> StreamState:
        """The state after the rows given so far, of a list that has not ended."""
        update: dict[str, Any] = {"recent": self._rows.recent(), "unfinished": None}
        if not self._stream.fields:
            update["columns"] = self._columns
        if self._cursor.ordered:
            # What is still to come is at or after what came.
            update["cursor"] = self._reached()
        elif isinstance(self._stream.paging, CursorPaging) and position is not None and self._began is not None:
            # A number or an offset is no place to go on from: rows may have moved across it meanwhile.
            update["unfinished"] = Unfinished(position=str(position), highest=self._rows.highest, began=self._began)
        return self._known.model_copy(update=update)

    def _final_state(self) -> StreamState:
        reached = self._reached()
        since = None if reached is None else set_back(self._cursor, needed_mark(self._cursor, reached))
        # A reading taken up again has not met what was given before it was cut off: all is remembered once more.
        recent = self._rows.recent(None if self._known.unfinished else since)
        update: dict[str, Any] = {"cursor": reached, "recent": recent, "unfinished": None}
        if not self._stream.fields:
            update["columns"] = self._columns
        return self._known.model_copy(update=update)

    def _reached(self) -> str | None:
        """The new cursor: the highest met, not beyond the beginning of the reading, never before the one known."""
        before, highest = self._known.cursor, self._rows.highest
        if highest is None or self._began is None:
            return before
        reached = capped(self._cursor, highest, self._began)
        if before is not None and needed_mark(self._cursor, before) >= needed_mark(self._cursor, reached):  # type: ignore[operator]
            return before
        return reached


class _Rows:
    """Which rows were given already, by key and content, and the highest cursor met."""

    def __init__(self, stream: Stream, cursor: Cursor, known: StreamState) -> None:
        self._key, self._cursor = stream.key, cursor
        self._before = known.recent
        self._met: dict[str, tuple[Mark | None, str]] = {}
        self.highest: str | None = known.unfinished.highest if known.unfinished else None
        self._highest_mark = mark_of(cursor, self.highest)

    def is_new(self, row: Row) -> bool:
        """Whether the row was not given as it is now. Counts what was given last, so that a change back is a change."""
        key, content = self._fingerprints(row)
        last = self._met[key][1] if key in self._met else self._before.get(key)
        return last != content

    def met(self, row: Row) -> None:
        """The row was given, now or before."""
        key, content = self._fingerprints(row)
        text = row.get(self._cursor.field)
        mark = mark_of(self._cursor, text)
        self._met[key] = (mark, content)
        if mark is not None and (self._highest_mark is None or mark > self._highest_mark):  # type: ignore[operator]
            self._highest_mark, self.highest = mark, text
        if len(self._met) > 4 * MAX_RECENT:
            self._met = dict(self._latest(2 * MAX_RECENT))

    def recent(self, since: Mark | None = None) -> dict[str, str]:
        """The rows to remember: those at or after `since`, if given, and the latest of them if they are too many."""
        kept = {} if since is not None else dict(self._before)
        for key, (mark, content) in self._latest(MAX_RECENT):
            if since is None or mark is None or mark >= since:  # type: ignore[operator]
                kept.pop(key, None)
                kept[key] = content
        return dict(list(kept.items())[-MAX_RECENT:])

    def _latest(self, count: int) -> list[tuple[str, tuple[Mark | None, str]]]:
        """The rows met with the highest cursors, in ascending order; all of them where there are no more."""
        if len(self._met) <= count:
            return list(self._met.items())
        with_mark = [each for each in self._met.items() if each[1][0] is not None]
        return heapq.nlargest(count, with_mark, key=_mark)[::-1]

    def _fingerprints(self, row: Row) -> tuple[str, str]:
        key = [row.get(name) for name in self._key]
        # Records without a key are told apart by all they hold.
        named = digest(key if any(each is not None for each in key) else row, 9)
        return _told(named), _told(digest(row, 6))


def _mark(met: tuple[str, tuple[Mark | None, str]]) -> Any:
    return met[1][0]


def _told(fingerprint: bytes) -> str:
    return base64.urlsafe_b64encode(fingerprint).decode()
