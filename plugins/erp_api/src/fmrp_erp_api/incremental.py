"""What is new or changed in a list, by a field that grows with every change."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any

import pyarrow as pa

from fmrp_erp_api.answer import Refused
from fmrp_erp_api.config import ApiConfig
from fmrp_erp_api.cursor_values import Mark, asked_from, capped, mark_of, needed_mark, sent_as
from fmrp_erp_api.pages import GONE, Page, Position, read_pages, too_many_pages
from fmrp_erp_api.records import Row, merged_columns, to_rows, to_table
from fmrp_erp_api.remembered import RememberedRows
from fmrp_erp_api.session import Session
from fmrp_erp_api.state import StreamState, Unfinished
from fmrp_erp_api.stream_config import CursorPaging, Stream
from fmrp_sdk import FatalError, RetriableError


async def read_new(
    session: Session, config: ApiConfig, stream: Stream, known: StreamState
) -> AsyncGenerator[tuple[pa.Table | None, StreamState]]:
    """Rows that are new or changed since `known`, and the state after them; None where only the state moves on.

    A state of another list, as the stream was configured anew, is no state.
    """
    if known.request != stream.fingerprint:
        known = StreamState(request=stream.fingerprint)
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
            if given or error.status not in GONE:
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
        self._rows = RememberedRows(stream, stream.cursor, known)
        self._last: Mark | None = None
        self._totals: list[int] = []

    async def batches(self, session: Session) -> AsyncGenerator[tuple[pa.Table | None, StreamState]]:
        """See `read_new`."""
        chunk: list[Row] = []
        async with aclosing(self._pages(session)) as pages:
            async for page, is_onward in pages:
                self._began = self._began or page.answer.at
                for row in self._read(page, is_onward):
                    if not self._rows.is_new(row):
                        self._rows.met(row)
                        continue
                    if len(chunk) == self._config.batch_rows:
                        # The rows before this one are given; it is on this page, so this page is to come again.
                        yield to_table(chunk, self._columns), self._state(page.position)
                        chunk = []
                    self._rows.met(row)
                    chunk.append(row)
        problem = self._shifted()
        final = self._final_state() if problem is None else self._state(None)
        if chunk:
            yield to_table(chunk, self._columns), final
        elif final.cursor != self._known.cursor or self._known.unfinished:
            yield None, final
        if problem is not None:
            raise RetriableError(problem)

    async def _pages(self, session: Session) -> AsyncGenerator[tuple[Page, bool]]:
        """The pages, and whether each was asked for by the value that the one before came to.

        So it is where the list is sorted and pages are counted: counted on, a record would be missed for each one that
        was changed meanwhile, and so moved to the end.
        """
        since = self._known.cursor
        position: Position | None = self._known.unfinished.position if self._known.unfinished else None
        sent = self._parameters(self._cursor.initial if since is None else since, less_overlap=since is not None)
        by_value = self._cursor.ordered and self._stream.is_counted
        count = 0
        while True:
            is_onward = count > 0
            async with aclosing(read_pages(session, self._config, self._stream, sent, position)) as pages:
                async for page in pages:
                    count += 1
                    if count > self._config.max_pages:
                        raise too_many_pages(page.answer.asked, self._config)
                    yield page, is_onward and page.position is None
                    onward = self._parameters(self._rows.highest, less_overlap=False)
                    if by_value and page.following is not None and onward not in ({}, sent):
                        break
                else:
                    return
            sent = onward

    def _parameters(self, since: str | None, *, less_overlap: bool) -> dict[str, Any]:
        """What asks for nothing but the new."""
        return {} if since is None else {self._cursor.param: sent_as(self._cursor, since, less_overlap=less_overlap)}

    def _read(self, page: Page, is_onward: bool) -> list[Row]:
        """The rows of a page. FatalError: they are not as configured, or out of order."""
        where = f"{page.answer.asked}, page {page.number}"
        rows = to_rows(self._stream, page.records, where)
        if is_onward:
            self._check_onward(rows, where)
            self._last = None  # it may begin earlier, where the value is sent as a day, say
        if self._cursor.ordered:
            self._check_order(rows, where)
        if not self._stream.fields:
            self._columns = merged_columns(self._columns, rows, where)
        if page.total is not None:
            self._totals.append(page.total)
        self._rows.turn_page()
        return rows

    def _check_onward(self, rows: list[Row], where: str) -> None:
        """Whether a page that was asked for by the last value begins there: at or before it, and comes to it."""
        marks = [mark for row in rows if (mark := mark_of(self._cursor, row.get(self._cursor.field))) is not None]
        if marks and self._last is not None and marks[-1] < self._last:  # type: ignore[operator]
            raise FatalError(
                f"{where}: asked for records at or after a value, the API gives those before it; is "
                f"{self._cursor.param} the right parameter?"
            )
        if not any(self._rows.is_known(row) for row in rows):
            raise RetriableError(
                f"{where}: asked for records at or after the last one's {self._cursor.field}, the API leaves that one "
                f"out. Either it was changed just now, or {self._cursor.param} means 'after': then set ordered to "
                "false, and an overlap"
            )

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
        update: dict[str, Any] = {"recent": self._rows.given_so_far(), "unfinished": None}
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
        since = None if reached is None else asked_from(self._cursor, reached)
        # A reading taken up again has not met what was given before it was cut off: all is remembered once more.
        recent = self._rows.given_so_far() if self._known.unfinished else self._rows.since(since)
        update: dict[str, Any] = {"cursor": reached, "recent": recent, "unfinished": None}
        if not self._stream.fields:
            update["columns"] = self._columns
        return self._known.model_copy(update=update)

    def _shifted(self) -> str | None:
        """What tells that records moved from page to page during the reading, so that some may have been missed.

        More than the total is right: while pages were read the list grew.
        """
        if self._cursor.ordered or not self._stream.may_shift or not self._totals:
            return None
        if self._rows.count >= self._totals[-1] and self._totals == sorted(self._totals):
            return None
        return (
            f"{self._stream.name}: {self._rows.count:,} records came of {self._totals[-1]:,}: the list changed while "
            "it was read, or key does not tell its records apart; it will be read again"
        )

    def _reached(self) -> str | None:
        """The new cursor: the highest met, not beyond the beginning of the reading, never before the one known."""
        before, highest = self._known.cursor, self._rows.highest
        if highest is None or self._began is None:
            return before
        reached = capped(self._cursor, highest, self._began)
        if before is not None and needed_mark(self._cursor, before) >= needed_mark(self._cursor, reached):  # type: ignore[operator]
            return before
        return reached
