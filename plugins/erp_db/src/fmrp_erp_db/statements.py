"""The statements that are sent, for all dialects: pages by cursor and key, the newest cursor, the columns."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mssql import DATETIME2, DATETIMEOFFSET
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.types import NullType, TypeEngine

from fmrp_erp_db.config import StreamConfig
from fmrp_erp_db.query_guard import single_select
from fmrp_erp_db.values import Scalar

_NEAR = timedelta(seconds=1)


class StreamStatements:
    """Statements for one stream on one dialect; `names` are the columns of its table or query."""

    def __init__(self, stream: StreamConfig, dialect: str, names: Sequence[str] = ()) -> None:
        columns: list[sa.ColumnClause[Any]] = [sa.column(quoted_name(name, quote=True)) for name in names]
        if stream.query is None:
            schema, table = stream.schema_and_table
            self._from: sa.FromClause = sa.table(
                quoted_name(table, quote=True), *columns, schema=quoted_name(schema, quote=True) if schema else None
            )
        else:
            # A colon would begin a parameter; the line's end keeps whatever the query ends in from our parenthesis.
            escaped = single_select(stream.query, dialect).replace(":", "\\:")
            self._from = sa.text(escaped + "\n").columns(*columns).subquery("q")
        self._is_mssql = dialect == "mssql"

    def probe(self) -> sa.Select[Any]:
        """No rows, all columns."""
        return sa.select(sa.text("*")).select_from(self._from).where(sa.text("1 = 0"))

    def sample(self, columns: Sequence[str]) -> sa.Select[Any]:
        """Values of `columns` in any one row that has them all."""
        found = [self._column(name).label(quoted_name(name, quote=True)) for name in columns]
        return sa.select(*found).where(*(self._column(name).is_not(None) for name in columns)).limit(1)

    def newest(self, cursor: str, not_after: Scalar | None = None, like: Scalar | None = None) -> sa.Select[Any]:
        """The greatest cursor, of at most `not_after`. By order, as not every type has a maximum."""
        column = self._column(cursor, like)
        statement = sa.select(column.label(cursor)).where(self._column(cursor).is_not(None))
        if not_after is not None:
            statement = statement.where(column <= self._value(not_after), *self._near(cursor, upper=not_after))
        elif like is not None:
            statement = statement.where(*self._near(cursor, low=like))
        return statement.order_by(column.desc()).limit(1)

    def incomplete(self, columns: Sequence[str]) -> sa.Select[Any]:
        """A row if there is one without a value in one of `columns`."""
        return sa.select(sa.literal_column("1")).select_from(self._from).where(self._any_empty(columns)).limit(1)

    def page(
        self,
        names: Sequence[str],
        order: Sequence[str],
        limit: int,
        *,
        after: Sequence[Scalar] | None = None,
        low: Scalar | None = None,
        upper: Scalar | None = None,
    ) -> sa.Select[Any]:
        """At most `limit` rows in `order`, from the position `after` or the value `low` on, both included.

        Included, as rows may tie with that position: by a collation for which 'a' is 'A', or by a key that is none.
        """
        likes = dict(zip(order, after, strict=True)) if after is not None else {}
        if upper is not None:
            likes[order[0]] = upper
        selected = [self._column(name, likes.get(name)).label(quoted_name(name, quote=True)) for name in names]
        ordered = [self._column(name, likes.get(name)) for name in order]
        statement = sa.select(*selected).where(*(self._column(name).is_not(None) for name in order))
        if upper is not None:
            statement = statement.where(ordered[0] <= self._value(upper))
        if low is not None:
            statement = statement.where(ordered[0] >= self._value(low))
        if after is not None:
            statement = statement.where(ordered[0] >= self._value(after[0]), self._from_position(ordered, after))
        low = after[0] if after is not None else low
        statement = statement.where(*self._near(order[0], low=low, upper=upper))
        return statement.order_by(*ordered).limit(limit)

    def _from_position(
        self, ordered: Sequence[sa.ColumnElement[Any]], after: Sequence[Scalar]
    ) -> sa.ColumnElement[Any]:
        """(a, b, c) >= (x, y, z), spelled out, as not every dialect compares rows."""
        alternatives = []
        for place, value in enumerate(after):
            equal = [ordered[before] == self._value(after[before]) for before in range(place)]
            is_last = place == len(after) - 1
            beyond = ordered[place] >= self._value(value) if is_last else ordered[place] > self._value(value)
            alternatives.append(sa.and_(*equal, beyond))
        return sa.or_(*alternatives)

    def _near(
        self, cursor: str, *, low: Scalar | None = None, upper: Scalar | None = None
    ) -> Iterator[sa.ColumnElement[bool]]:
        """The same bounds, a second wider, for the column as it is: SQL Server finds no cast column by its index."""
        if self._is_mssql and isinstance(low, datetime):
            yield self._from.c[cursor] >= self._value(low - min(_NEAR, low - datetime.min.replace(tzinfo=low.tzinfo)))
        if self._is_mssql and isinstance(upper, datetime):
            at_most = datetime.max.replace(tzinfo=upper.tzinfo) - upper
            yield self._from.c[cursor] <= self._value(upper + min(_NEAR, at_most))

    def _any_empty(self, columns: Sequence[str]) -> sa.ColumnElement[bool]:
        return sa.or_(*(self._column(name).is_(None) for name in columns))

    def _column(self, name: str, like: Scalar | None = None) -> sa.ColumnElement[Any]:
        """The column; on SQL Server a time in microseconds, as its types hold more, or less, than the driver tells."""
        column: sa.ColumnElement[Any] = self._from.c[name]
        if self._is_mssql and isinstance(like, datetime):
            return sa.cast(column, _microseconds(like))
        return column

    def _value(self, value: Scalar) -> sa.ColumnElement[Any]:
        """A bound value, of the type that the driver or the server gives it: a cast could differ from the column's."""
        if self._is_mssql and isinstance(value, datetime):
            text = sa.bindparam(None, value.isoformat(timespec="microseconds"), type_=NullType(), unique=True)
            return sa.cast(text, _microseconds(value))
        return sa.bindparam(None, value, type_=NullType(), unique=True)


def _microseconds(value: datetime) -> TypeEngine[Any]:
    """SQL Server's type for such a time."""
    return DATETIMEOFFSET(6) if value.tzinfo else DATETIME2(6)  # type: ignore[no-untyped-call]
