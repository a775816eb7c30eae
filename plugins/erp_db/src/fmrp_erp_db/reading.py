"""Reading streams page by page, from where the last reading ended."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import pyarrow as pa

from fmrp_erp_db.columns import MYSQL_TIMESTAMP, Columns
from fmrp_erp_db.config import ErpDbConfig, StreamConfig
from fmrp_erp_db.session import Row, Session
from fmrp_erp_db.state import MAX_KNOWN, DbState, StreamState, digest_of
from fmrp_erp_db.statements import StreamStatements
from fmrp_erp_db.values import Scalar, kind_of, lies_before, moved_back, parse_start
from fmrp_sdk import Batch, ConnectorError, FatalError, RecordsBatch

log = logging.getLogger(__name__)
_TAIL_ROWS = 200
"""So many rows may tie with a position (same cursor and key) without one being given twice."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a stream that are new, perhaps none, and its state after them."""

    rows: Sequence[Row]
    state: StreamState
    is_first: bool


def read_round(session: Session, config: ErpDbConfig, state: DbState) -> Iterator[Batch]:
    """What is new in each stream, in their order. One that cannot be read does not keep the others from being read.

    FatalError, after all others were read: what is wrong with those that cannot be.
    """
    state = state.only(stream.name for stream in config.streams)
    refused: list[str] = []
    for stream in config.streams:
        is_whole = True
        try:
            for records, after in _stream_batches(session, config, stream, state.streams.get(stream.name)):
                state = state.with_stream(stream.name, after)
                is_whole = records.is_last
                yield Batch(records, state.dump())
        except FatalError as error:
            if not is_whole:  # nothing may follow half a snapshot: it would be taken for a whole one
                raise
            refused.append(str(error))
    if refused:
        raise FatalError("; ".join(refused))


def _stream_batches(
    session: Session, config: ErpDbConfig, stream: StreamConfig, before: StreamState | None
) -> Iterator[tuple[RecordsBatch, StreamState]]:
    """Batches of one stream with its state after each. One is held back until it is known whether another follows."""
    reading = StreamReading(session, config, stream, before or StreamState())
    is_snapshot = stream.mode == "snapshot"
    held: RecordsBatch | None = None
    state = reading.before
    try:
        for page in reading.pages():
            if page.rows or (is_snapshot and page.is_first):
                records = reading.records(page.rows)
                if held is not None:
                    yield replace(held, is_last=not is_snapshot), state
                held = RecordsBatch(stream.name, records, is_snapshot)
            if not is_snapshot:  # which is told from its beginning on, or not at all
                state = page.state
    except ConnectorError:
        if held is not None and not is_snapshot:  # what came before the error is sound
            yield held, state
        raise
    if held is not None:
        yield held, state


class StreamReading:
    """One reading of one stream."""

    def __init__(self, session: Session, config: ErpDbConfig, stream: StreamConfig, before: StreamState) -> None:
        """Asks for the columns. FatalError: there is no such table, column or key."""
        self._session = session
        self._stream = stream
        self._chunk_rows = config.chunk_rows
        self._doing = f"stream {stream.name}"
        probed = session.describe(StreamStatements(stream, session.dialect).probe(), self._doing)
        self._description = {str(each[0]): each for each in probed}
        if len(self._description) < len(probed):
            raise FatalError(f"{self._doing}: two columns have the same name; name them differently in the query")
        self._keys = stream.key or self._primary_key()
        self._order = ((stream.cursor,) if stream.cursor else ()) + tuple(k for k in self._keys if k != stream.cursor)
        self._names = self._selected()
        self._columns = Columns.described([self._description[name] for name in self._names], session.dialect)
        self._statements = StreamStatements(stream, session.dialect, tuple(self._description))
        identity = _identity(config, stream, self._order)
        self._before = before if before.identity == identity else StreamState(identity)
        self._places = [self._names.index(name) for name in self._order]

    @property
    def before(self) -> StreamState:
        """The state that this reading goes on from."""
        return self._before

    def verify(self) -> None:
        """Whether cursor, lag, start and key can be used, by one row, if there is one. FatalError: they cannot."""
        with self._named():
            found = self._session.first(self._statements.sample(self._order), self._doing)
            if found is None:
                return
            for name, value in zip(self._order, found, strict=True):
                kind_of(value, name)
            if (cursor := self._stream.cursor) is not None:
                moved_back(found[0], self._stream.lag, cursor)
                if self._stream.start is not None:
                    parse_start(self._stream.start, found[0], cursor)

    def pages(self) -> Iterator[Page]:
        """Pages of new rows. After the last the stream is done; a page without rows only moves the state."""
        with self._named():
            self._refuse_incomplete()
            if self._stream.cursor is None:
                yield from self._pages(StreamState(self._before.identity), None, None, None)
            else:
                yield from self._incremental(self._stream.cursor)

    def records(self, rows: Sequence[Row]) -> pa.RecordBatch:
        """Rows as Arrow. FatalError: a value does not fit its column's type."""
        with self._named():
            return self._columns.batch(rows)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors tell of which stream they are."""
        try:
            yield
        except FatalError as error:
            if str(error).startswith(self._doing):
                raise
            raise FatalError(f"{self._doing}: {error}") from None

    def _incremental(self, cursor: str) -> Iterator[Page]:
        before, lag = self._before, self._stream.lag
        upper = self._newest(cursor)
        if upper is None:
            return
        floor = moved_back(upper, lag, cursor)
        start = parse_start(self._stream.start, upper, cursor) if self._stream.start else None
        safe = self._safe(cursor, upper)
        if before.upper is None or safe is None:
            yield from self._pages(StreamState(before.identity, upper), None, start, floor)
            return
        # What lies before the lag was complete when that reading began: there, the last row is where to go on. Nearer
        # to its end rows may have been committed since, before that row: the lag is read again.
        if before.after is not None and lies_before(before.after[0], safe):
            yield from self._pages(replace(before, upper=upper), before.after, None, floor)
        else:
            low = start if start is not None and lies_before(safe, start) else safe
            yield from self._pages(replace(before, upper=upper, tail=()), None, low, floor)

    def _safe(self, cursor: str, upper: Scalar) -> Scalar | None:
        """Before this the last reading has left nothing out; None where all is to be read. FatalError: another type."""
        last = self._before.upper
        if last is None:
            return None
        if kind_of(last, cursor) != kind_of(upper, cursor) or _has_zone(last) != _has_zone(upper):
            raise FatalError(f"column {cursor!r} has another type than when it was last read; reset the source")
        safe = moved_back(last, self._stream.lag, cursor)
        if lies_before(upper, safe):
            # Rows that come now may have cursors that were read past.
            log.warning(
                "%s: the newest %s was %s and is %s now, so all is read again: was a backup restored?",
                *(self._doing, cursor, last, upper),
            )
            return None
        return safe

    def _pages(
        self, state: StreamState, after: tuple[Scalar, ...] | None, low: Scalar | None, floor: Scalar | None
    ) -> Iterator[Page]:
        """From `after`, else `low`, to `state.upper`. What was given is dropped; from `floor` on all is noted."""
        tail, known, recent = state.tail, Counter(state.known), list[bytes]()
        is_first, is_done, stuck = True, False, 0
        while not is_done:
            limit = self._chunk_rows + len(tail)
            statement = self._statements.page(self._names, self._order, limit, after=after, low=low, upper=state.upper)
            rows, is_whole = self._session.page(statement, limit, self._doing)
            read = _without(rows, tail)
            is_done, read = is_whole and len(read) <= self._chunk_rows, read[: self._chunk_rows]
            fresh = self._fresh(read, known, recent, floor)
            if is_done:
                kept = tuple(recent[-MAX_KNOWN:])
                yield Page(fresh, StreamState(state.identity, state.upper, None, (), kept), is_first)
                return
            if read:
                position = self._position(read[-1])
                stuck = stuck + len(read) if position == after else 0
                after, tail = position, (*tail, *map(digest_of, read[-_TAIL_ROWS:]))[-_TAIL_ROWS:]
            if stuck > _TAIL_ROWS or not read:
                raise FatalError(
                    f"more than {_TAIL_ROWS} rows have the same {' and '.join(self._order)}; name more key columns, "
                    "until they tell rows apart"
                )
            kept = (*known.elements(), *recent)[-MAX_KNOWN:]
            yield Page(fresh, StreamState(state.identity, state.upper, after, tail, kept), is_first)
            is_first = is_first and not fresh

    def _fresh(
        self, read: Sequence[Row], known: Counter[bytes], recent: list[bytes], floor: Scalar | None
    ) -> list[Row]:
        """Rows that the last reading did not give. Each that it gave counts once: it may be there twice now."""
        fresh = []
        cursor_at = self._places[0]
        for row in read:
            is_recent = floor is not None and not lies_before(row[cursor_at], floor)
            if not is_recent and not known:  # as most are: what needs no digest gets none
                fresh.append(row)
                continue
            digest = digest_of(row)
            if is_recent:
                recent.append(digest)
            if not _taken_from(known, digest):
                fresh.append(row)
        return fresh

    def _position(self, row: Row) -> tuple[Scalar, ...]:
        values = tuple(row[place] for place in self._places)
        for name, value in zip(self._order, values, strict=True):
            kind_of(value, name)
        return values

    def _newest(self, cursor: str) -> Scalar | None:
        """The bound of this reading: the greatest cursor there is now that is not ahead of the server's clock."""
        found = self._session.first(self._statements.newest(cursor), self._doing)
        if found is None:
            return None
        newest: Scalar = found[0]
        kind_of(newest, cursor)
        now = self._now(newest, cursor)
        is_ahead = now is not None and lies_before(now, newest)
        if is_ahead:
            log.warning("%s: rows dated later than the database's clock wait until then", self._doing)
        if is_ahead or self._session.dialect == "mssql":  # where a time is read in microseconds from here on
            bound = self._statements.newest(cursor, now if is_ahead else None, like=newest)
            bounded = self._session.first(bound, self._doing)
            return bounded[0] if bounded is not None else None
        return newest

    def _now(self, newest: Scalar, cursor: str) -> Scalar | None:
        """The server's clock as the column would tell it; None for a cursor that is no time."""
        if not isinstance(newest, date):
            return None
        zoned, local = self._session.clocks(self._doing)
        is_utc = isinstance(newest, datetime) and newest.tzinfo is not None
        if self._session.dialect == "mysql" and self._description[cursor][1] == MYSQL_TIMESTAMP:
            is_utc = True  # sessions are in UTC, and this type follows the session
        now = zoned if is_utc else local
        if now is None:
            return None
        now += timedelta(seconds=self._stream.ahead_s)
        return now if isinstance(newest, datetime) else now.date()  # type: ignore[no-any-return]

    def _refuse_incomplete(self) -> None:
        if self._stream.missing == "skip":
            return
        if self._session.first(self._statements.incomplete(self._order), self._doing) is not None:
            raise FatalError(
                f"{self._doing}: there are rows without a value in {' or '.join(self._order)}, which can never be read "
                "by it. Choose other columns, give a query with COALESCE, or set missing to 'skip' to leave them out"
            )

    def _primary_key(self) -> tuple[str, ...]:
        schema, table = self._stream.schema_and_table
        key = self._session.primary_key(table, schema, self._doing)
        if not key:
            raise FatalError(f"{self._doing}: {self._stream.table} has no primary key; name its key columns")
        return key

    def _selected(self) -> tuple[str, ...]:
        wanted = tuple(dict.fromkeys((*(self._stream.columns or self._description), *self._order)))
        if missing := [name for name in wanted if name not in self._description]:
            there = ", ".join(list(self._description)[:50])
            raise FatalError(f"{self._doing}: there is no column {', '.join(missing)}; there are {there}")
        return wanted


def _has_zone(value: Scalar) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _without(rows: Sequence[Row], tail: Sequence[bytes]) -> list[Row]:
    """Rows but for those that were met at the end of the page before, which can only be the first ones."""
    met = Counter(tail)
    first = [row for row in rows[:_TAIL_ROWS] if not _taken_from(met, digest_of(row))]
    return [*first, *rows[_TAIL_ROWS:]]


def _taken_from(digests: Counter[bytes], digest: bytes) -> bool:
    """Whether it was there; it is once less now."""
    if not digests[digest]:
        return False
    digests[digest] -= 1
    if not digests[digest]:
        del digests[digest]
    return True


def _identity(config: ErpDbConfig, stream: StreamConfig, order: Sequence[str]) -> str:
    """Changes when a stored position would mean something else: another place, table, query, cursor or key."""
    place = [config.dialect, config.host, config.port, config.database, str(config.path)]
    told = json.dumps([place, stream.table, stream.query, stream.mode, stream.start, order])
    return hashlib.sha256(told.encode()).hexdigest()[:16]
