"""Writing rows of the tables people keep: one by one, and many at once from a frame.

Many at once: the frame is staged by COPY, then one INSERT adds the rows that are not there, one UPDATE changes those
that differ. What a row leaves empty keeps what is stored. Writing the same rows again changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Column, ColumnElement, delete, func, insert, literal, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from db.copy import stage
from db.models.master import BY_HAND
from db.records import RecordTable, Reference

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
STAGED = "staged"
LINE = "file_line"
"""Column of a frame to merge that names its rows: no table has such a field, while order lines have one called line."""


class UnknownReference(ValueError):
    """A field names a row that is not there. `field` is its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True)
class Merged:
    """What became of the rows of a frame."""

    created: int
    updated: int
    unchanged: int
    removed: int = 0


async def resolve(session: AsyncSession, table: RecordTable, values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn fields into columns: codes of other tables into their rows' keys, in one query for all of them.

    Raises:
        UnknownReference: a code is not there, or its row is deleted.
    """
    stored = {name: value for name, value in values.items() if name not in table.references}
    named = {name: table.references[name] for name in values if name in table.references and values[name] is not None}
    if named:
        found = (await session.execute(select(*(_key_of(each, values[name]) for name, each in named.items())))).one()
        for (name, reference), key in zip(named.items(), found, strict=True):
            if key is None:
                raise UnknownReference(name, f"there is no {_called(reference.column)} {values[name]!r}")
            stored[reference.column.name] = key
    for name in values:
        if name in table.references and values[name] is None:
            stored[table.references[name].column.name] = None
    return stored


def _key_of(reference: Any, code: str) -> Any:
    target = reference.table
    query = select(target.c[reference.holds]).where(target.c.code == code)
    if "deleted_at" in target.c:
        query = query.where(target.c.deleted_at.is_(None))
    return query.scalar_subquery()


async def add(session: AsyncSession, table: RecordTable, values: Mapping[str, Any]) -> uuid.UUID:
    """Insert one row of columns; returns its id. What is not given takes the table's default."""
    key: uuid.UUID = uuid7()
    await session.execute(insert(table.model).values(id=key, **values))
    return key


async def lock(
    session: AsyncSession,
    table: RecordTable,
    key: str,
    *,
    deleted: bool = False,
    acting: Sequence[ColumnElement[Any]] = (),
) -> Any | None:
    """The id and revision of the row with that id or code, held until this transaction ends; None if there is none.

    `acting` names who changes it (see `db.audit`).
    """
    own = table.table
    query = table.named(select(own.c.id, own.c.revision, *acting), key).with_for_update(of=own)
    return (await session.execute(table.matching(query, (), deleted=deleted))).one_or_none()


async def change(session: AsyncSession, table: RecordTable, row_id: uuid.UUID, values: Mapping[str, Any]) -> None:
    """Set columns of one row; its revision counts on."""
    await session.execute(update(table.model).where(table.table.c.id == row_id).values(**values))


async def remove(session: AsyncSession, table: RecordTable, row_id: uuid.UUID) -> None:
    """Delete one row, or retire it where history hangs on such rows."""
    if table.is_retired_by_delete:
        await change(session, table, row_id, {"deleted_at": func.now()})
    else:
        await session.execute(delete(table.model).where(table.table.c.id == row_id))


async def restore(session: AsyncSession, table: RecordTable, row_id: uuid.UUID) -> None:
    """Bring a retired row back."""
    await change(session, table, row_id, {"deleted_at": None})


# -- many at once ----------------------------------------------------------------------------------------------------


class Merge:
    """The rows of one frame on their way into their table, in the caller's transaction.

    The frame has fields of the table (the key among them, each once; an empty part of it is the table's default) and
    may have LINE, which names a row. It is staged first, so that callers can ask which rows would be new and drop some
    before they are stored.

    Raises:
        ValueError: the frame lacks a part of the key that has no default.
    """

    def __init__(self, session: AsyncSession, table: RecordTable, rows: pl.DataFrame, feed: str | None = None) -> None:
        self._session = session
        self._table = table
        self._fields = [name for name in table.fields if name in rows.columns]
        lacking = [n for n in table.key if n not in rows.columns and _default(table.column_of(n)) is None]
        if lacking:
            raise ValueError(f"{table.name}: expected the key's column {', '.join(lacking)}")
        self._rows = rows
        self._feed = feed

    async def stage(self) -> None:
        """Copy the frame beside the table, and let nobody else merge into it, or add codes to the tables it adds codes
        to, until this transaction ends. Always in one order, so that no two merges wait for each other."""
        tables = sorted({self._name, *(reference.table.name for _, reference in self._adds_codes())})  # type: ignore[attr-defined]
        await self._session.execute(
            text(
                "SELECT pg_advisory_xact_lock(hashtext('fmrp-merge-' || name)) FROM unnest(CAST(:names AS text[])) name"
            ),
            {"names": tables},
        )
        ids = pl.Series("new_id", [str(uuid7()) for _ in range(self._rows.height)], dtype=pl.String)
        await stage(self._session, STAGED, self._rows.with_columns(ids))

    async def new_lines(self) -> list[int]:
        """Lines of rows whose key is not stored yet."""
        query = f"SELECT s.{LINE} FROM {STAGED} s {self._joins} WHERE NOT EXISTS ({self._stored})"
        return list((await self._session.execute(text(query))).scalars())

    async def retired_lines(self) -> list[int]:
        """Lines of rows whose stored row is deleted."""
        if not self._table.is_retired_by_delete:
            return []
        retired = f"{self._stored} AND t.deleted_at IS NOT NULL"
        query = f"SELECT s.{LINE} FROM {STAGED} s {self._joins} WHERE EXISTS ({retired})"
        return list((await self._session.execute(text(query))).scalars())

    async def out_of_order(self, early: str, late: str) -> list[int]:
        """Lines of rows that, over what is stored, would leave `late` before `early`."""
        became = {
            name: f"coalesce({self._value(name)}, t.{self._table.column_of(name).name})" for name in (early, late)
        }
        broken = f"{self._same_key} AND {became[late]} < {became[early]}"
        query = f"SELECT s.{LINE} FROM {STAGED} s {self._joins} JOIN {self._name} t ON {broken}"
        return list((await self._session.execute(text(query))).scalars())

    async def drop(self, lines: list[int]) -> None:
        """Leave these rows out."""
        if lines:
            await self._session.execute(text(f"DELETE FROM {STAGED} WHERE {LINE} = ANY(:lines)"), {"lines": lines})

    async def store(self, *, snapshot: bool = False) -> Merged:
        """Insert what is not there, update what is and differs; as a snapshot, delete what the feed no longer holds.

        Raises:
            UnknownReference: a row names one that is not there. Nothing was stored.
        """
        staged = await self._count()
        await self._add_codes()
        given = {"feed": self._feed or BY_HAND} if "feed" in self._table.table.c else {}
        # Inserts come first: a category that is there may move below one that is new.
        created = await self._run(self._insert(), given)
        updated = await self._run(self._update(), given)
        removed = await self._run(self._delete(), given) if snapshot else 0
        return Merged(created, updated, staged - created - updated, removed)

    async def _run(self, statement: str, given: dict[str, Any]) -> int:
        result: Any = await self._session.execute(text(statement), given)
        return int(result.rowcount)

    async def _count(self) -> int:
        """How many rows are staged, every one of which the joins must find."""
        named = [name for name, _ in self._joined()]
        columns = ["count(*)"]
        for name, reference in self._joined():
            may_be_empty = f" AND s.{name} IS NOT NULL" * bool(reference.column.nullable)
            columns.append(f"min(coalesce(s.{name}, '')) FILTER (WHERE r_{name}.id IS NULL{may_be_empty})")
        query = f"SELECT {', '.join(columns)} FROM {STAGED} s {self._joins_of('LEFT JOIN')}"
        count, *unknown = (await self._session.execute(text(query))).one()
        for name, code in zip(named, unknown, strict=True):
            if code is not None:
                raise UnknownReference(name, f"there is no {_called(self._table.column_of(name))} {code!r}")
        return int(count)

    def _adds_codes(self) -> Iterator[tuple[str, Reference]]:
        """Fields that name units, categories or warehouses: a new name becomes a row of its own."""
        for name, reference in self._table.references.items():
            if name in self._fields and reference.holds == "code":
                yield name, reference

    async def _add_codes(self) -> None:
        """Make rows of the codes that are named for the first time."""
        for name, reference in self._adds_codes():
            target = reference.table.name  # type: ignore[attr-defined]
            # A category that is itself in the frame is no new name: it comes with everything that is told of it.
            own = f" AND NOT EXISTS (SELECT FROM {STAGED} o WHERE o.code = c.code)" if target == self._name else ""
            await self._session.execute(
                text(
                    f"INSERT INTO {target} (id, code, name) SELECT gen_random_uuid(), c.code, c.code"
                    f" FROM (SELECT DISTINCT {name} AS code FROM {STAGED} WHERE {name} IS NOT NULL) c"
                    f" WHERE NOT EXISTS (SELECT FROM {target} t WHERE t.code = c.code){own} ON CONFLICT DO NOTHING"
                )
            )

    def _joined(self) -> Iterator[tuple[str, Reference]]:
        """Fields whose codes are turned into keys."""
        for name, reference in self._table.references.items():
            if name in self._fields and reference.holds == "id":
                yield name, reference

    @property
    def _joins(self) -> str:
        """Joins that turn codes into keys; an empty code is none."""
        return self._joins_of("")

    def _joins_of(self, kind: str) -> str:
        return " ".join(
            f"{kind or ('LEFT JOIN' if reference.column.nullable else 'JOIN')}"
            f" {reference.table.element.name} r_{name} ON r_{name}.code = s.{name}"  # type: ignore[attr-defined]
            for name, reference in self._joined()
        )

    def _value(self, name: str) -> str:
        """A field's value as its column's type; an empty part of the key is its default, or rows would never meet."""
        reference = self._table.references.get(name)
        if reference is not None and reference.holds == "id":
            return f"r_{name}.id"
        column = self._table.column_of(name)
        value = f"s.{name}::{_sql_type(column)}" if name in self._fields else "NULL"
        default = _default(column) if name in self._table.key else None
        return value if default is None else f"coalesce({value}, {default})"

    @property
    def _stored(self) -> str:
        return f"SELECT FROM {self._name} t WHERE {self._same_key}"

    @property
    def _name(self) -> str:
        return str(self._table.model.__tablename__)

    @property
    def _same_key(self) -> str:
        return " AND ".join(f"t.{self._table.column_of(name).name} = {self._value(name)}" for name in self._table.key)

    def _changes(self) -> Iterator[tuple[str, str]]:
        """(column, what it becomes) of an update."""
        for name in self._fields:
            if name not in self._table.key:
                column = self._table.column_of(name).name
                yield column, f"coalesce({self._value(name)}, t.{column})"
        # What people change by hand stays in the feed it came from, whose next file may have more to say of it.
        if self._feed is not None and "feed" in self._table.table.c:
            yield "feed", "CAST(:feed AS text)"

    def _update(self) -> str:
        changes = dict(self._changes())
        if not changes:
            return f"UPDATE {self._name} SET revision = revision WHERE false"
        became = ", ".join(f"{column} = {value}" for column, value in changes.items())
        was = ", ".join(f"t.{column}" for column in changes)
        return (
            f"UPDATE {self._name} t SET {became}, revision = t.revision + 1, updated_at = now()"
            f" FROM {STAGED} s {self._joins} WHERE {self._same_key}"
            f" AND ROW({was}) IS DISTINCT FROM ROW({', '.join(changes.values())})"
        )

    def _insert(self) -> str:
        values = {"id": "s.new_id::uuid"}
        for name in self._fields:
            column = self._table.column_of(name)
            value = self._value(name)
            if name not in self._table.key and (default := _default(column)) is not None:
                value = f"coalesce({value}, {default})"
            values[column.name] = value
        if self._table.has_code:
            values["name"] = f"coalesce({values['name']}, s.code)" if "name" in values else "s.code"
        if "feed" in self._table.table.c:
            values["feed"] = "CAST(:feed AS text)"
        return (
            f"INSERT INTO {self._name} ({', '.join(values)}) SELECT {', '.join(values.values())}"
            f" FROM {STAGED} s {self._joins} WHERE NOT EXISTS ({self._stored})"
        )

    def _delete(self) -> str:
        kept = f"SELECT FROM {STAGED} s {self._joins} WHERE {self._same_key}"
        return f"DELETE FROM {self._name} t WHERE t.feed = :feed AND NOT EXISTS ({kept})"


def _called(column: Column[Any]) -> str:
    """What a reference refers to, in words."""
    return str(column.name).removesuffix("_id").replace("_", " ")


def _sql_type(column: Column[Any]) -> str:
    return str(column.type.compile(dialect=_DIALECT))


def _default(column: Column[Any]) -> str | None:
    """The column's default as SQL."""
    given: Any = column.server_default
    if given is None:
        return None
    argument = given.arg
    if isinstance(argument, str):
        return str(literal(argument).compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
    return str(argument.text)
