"""Tables that people keep, seen from outside: fields by name, other tables' rows by their codes, numbers as floats.

All of it is read off the models: a column becomes a field, a foreign key on an `id` a field that holds the other row's
code, the first unique constraint the natural key.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Double,
    FromClause,
    Numeric,
    Select,
    Table,
    Text,
    UniqueConstraint,
    cast,
    false,
    func,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import Base
from db.models import (
    BomLine,
    CalendarDay,
    CapacityEvent,
    FirmOrder,
    Item,
    ItemCategory,
    OpenOrder,
    PlannedStop,
    RoutingOperation,
    Shift,
    Stock,
    Supplier,
    SupplierTerm,
    Unit,
    UnitConversion,
    Warehouse,
    WorkCentre,
)
from db.paging import Order, Rows

# Rows have these beside their fields, as far as their table does; `feed` says where rows of snapshots come from.
_FIRST_SHOWN = ("id", "revision")
KEPT_BY_US = frozenset({"id", "created_at", "updated_at", "revision", "deleted_at", "search_text", "feed"})
_MOST_PAIRS = 50
Operator = Literal["is", "from", "to", "under"]
Extra = Callable[[FromClause], ColumnElement[Any]]
LATEST = "latest"


@dataclass(frozen=True)
class Condition:
    """A filter: the field is one of `values`, or from / to the one of them, both included, or (`under`) one of them or
    of what is below them in the tree of codes it refers to."""

    field: str
    operator: Operator
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Reference:
    """A field that names a row of another table by its code; the column holds that row's `holds` (id or code)."""

    field: str
    column: Column[Any]
    table: FromClause
    holds: str


@dataclass(frozen=True, eq=False)
class RecordTable:
    """One table: its model, its columns and references by field, its natural key as fields, and what is reckoned.

    `looked_up` fields come from the row a reference names: field -> (reference, that row's column). Lists are sorted by
    `sorted_by` unless asked otherwise, else by the natural key. Where rows are runs, `newest_by` is the column by which
    the word `latest` names one.
    """

    name: str
    model: type[Base]
    columns: Mapping[str, Column[Any]]
    references: Mapping[str, Reference]
    key: tuple[str, ...]
    extras: Mapping[str, Extra] = field(default_factory=dict)
    looked_up: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    sorted_by: str = ""
    newest_by: str = ""

    @property
    def table(self) -> Table:
        """The table itself."""
        return _table_of(self.model)

    @property
    def is_retired_by_delete(self) -> bool:
        """Whether history hangs on its rows, so that deleting one only hides it."""
        return "deleted_at" in self.table.c

    @property
    def has_code(self) -> bool:
        """Whether a single code names a row."""
        return self.key == ("code",)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Its fields in the order of the model, references by their field's name."""
        return (*self.columns, *(name for name in self.references if name not in self.columns))

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """All names a row can be shown with."""
        kept = [name for name in ("feed", "created_at", "updated_at", "deleted_at") if name in self.table.c]
        return (*self.always_shown, *self.fields, *self.looked_up, *self.extras, *kept)

    @cached_property
    def always_shown(self) -> tuple[str, ...]:
        """What a row is shown with even when only some fields are asked for."""
        return tuple(name for name in _FIRST_SHOWN if name in self.table.c)

    def is_nullable(self, name: str) -> bool:
        """Whether a shown field may be null."""
        if name in self.looked_up:
            reference, column = self.looked_up[name]
            remote = self.references[reference].table.c[column]
            return self.references[reference].column.nullable is True or remote.nullable is True
        if name in self.extras:
            return False
        return bool((self.column_of(name) if name in self.fields else self.table.c[name]).nullable)

    def column_of(self, name: str) -> Column[Any]:
        """The column a field is stored in."""
        return self.columns[name] if name in self.columns else self.references[name].column

    def value_of(self, name: str) -> ColumnElement[Any]:
        """The field as the outside sees it, for filters and orders; needs the joins of `rows`."""
        if name in self.columns:
            return self.columns[name]
        if name in self.references:
            return self.references[name].table.c.code
        if name in self.looked_up:
            reference, column = self.looked_up[name]
            return self.references[reference].table.c[column]
        if name in self.extras:
            return self.extras[name](self.table)
        return self.table.c[name]

    def shown_as(self, name: str) -> ColumnElement[Any]:
        """The field as it is shown: numbers as floats."""
        value = self.value_of(name)
        return (cast(value, Double) if isinstance(value.type, Numeric) else value).label(name)

    def rows(self, names: Iterable[str] | None = None) -> Rows:
        """Select rows with these names (None: all), joined to what they refer to."""
        return _rows(self, self.shown if names is None else tuple(names))

    def json_rows(self, names: Iterable[str]) -> Rows:
        """Select each row as the JSON object of these names, put together by the database."""
        return _json_rows(self, tuple(names))

    def matching(
        self, query: Rows, conditions: Sequence[Condition], search: str | None = None, *, deleted: bool = False
    ) -> Rows:
        """Narrow rows by filters and free text; deleted ones are left out, or (`deleted`) are all that is left."""
        if self.is_retired_by_delete:
            query = query.where(self.table.c.deleted_at.is_not(None) if deleted else self.table.c.deleted_at.is_(None))
        for each in conditions:
            value = self.value_of(each.field)
            if each.operator == "from":
                query = query.where(value >= each.values[0])
            elif each.operator == "to":
                query = query.where(value <= each.values[0])
            elif each.operator == "under":
                query = query.where(value.in_(_codes_under(self.references[each.field].table, each.values)))
            else:
                query = query.where(value.in_(each.values) if len(each.values) > 1 else value == each.values[0])
        if search:
            # Lower case as the database has it: where its locale is C, that leaves what is not ASCII as it is.
            pattern = func.lower(f"%{search.replace('/', '//').replace('%', '/%').replace('_', '/_')}%")
            query = query.where(or_(*(text.like(pattern, escape="/") for text in self._searched())))
        return query

    def is_tree(self, name: str) -> bool:
        """Whether the field refers to a table whose rows have parents in the same table, all by code."""
        target = self.references[name].table if name in self.references else None
        return target is not None and "parent" in target.c and "code" in target.c

    def _searched(self) -> list[ColumnElement[Any]]:
        """The texts free search looks through: the row's own, else those of what it refers to."""
        if "search_text" in self.table.c:
            return [self.table.c.search_text]
        return [each.table.c.search_text for each in self.references.values() if each.holds == "id"]

    @property
    def is_searchable(self) -> bool:
        """Whether there is text to search."""
        return bool(self._searched())

    @cached_property
    def order(self) -> Order:
        """By any of its fields; the natural key's first one unless asked otherwise."""
        names = [
            *self.fields,
            *self.looked_up,
            *(name for name in ("created_at", "updated_at") if name in self.table.c),
        ]
        return Order({name: self.value_of(name) for name in names}, self.sorted_by or self.key[0], self._tie)

    @property
    def _tie(self) -> ColumnElement[Any]:
        """What tells rows apart: the id, or the primary key; of a run's rows what is left of it."""
        if "id" in self.table.c:
            return self.table.c.id
        rest = [column for column in self.table.primary_key if column.name != "run_id"]
        return rest[0] if len(rest) == 1 else func.concat_ws("/", *(cast(column, Text) for column in rest), type_=Text)

    def named(self, query: Rows, key: str) -> Rows:
        """Narrow rows to the one with this id or, where it has one, this code; `latest` is the newest run."""
        table = self.table
        if self.newest_by and key == LATEST:
            return query.order_by(table.c[self.newest_by].desc(), table.c.id.desc()).limit(1)
        matches = [table.c.code == key] if self.has_code else []
        if (number := as_uuid(key)) is not None:
            matches.append(table.c.id == number)
        return query.where(or_(false(), *matches))


@lru_cache(maxsize=1024)
def _rows(table: RecordTable, names: tuple[str, ...]) -> Rows:
    """Made once for each set of names: putting forty columns together costs more than asking for them."""
    source: FromClause = table.table
    for reference in table.references.values():
        if reference.holds == "id":
            matches = reference.table.c.id == reference.column
            source = source.join(reference.table, matches, isouter=bool(reference.column.nullable))
    return select(*(table.shown_as(name) for name in names)).select_from(source)


@lru_cache(maxsize=1024)
def _json_rows(table: RecordTable, names: tuple[str, ...]) -> Rows:
    # A call takes 100 arguments; the pieces of a wider table are put together.
    pieces = [names[at : at + _MOST_PAIRS] for at in range(0, len(names), _MOST_PAIRS)]
    objects = [
        cast(func.json_build_object(*(part for name in piece for part in (name, table.shown_as(name)))), Text)
        for piece in pieces
    ]
    text: ColumnElement[str] = objects[0]
    for each in objects[1:]:
        text = func.rtrim(text, "}").concat(", ").concat(func.substr(each, 2))
    return _rows(table, names).with_only_columns(text.label("json"))


def _codes_under(tree: FromClause, tops: Sequence[str]) -> Select[tuple[str]]:
    """These codes and all below them; a cycle ends where it began."""
    below = select(tree.c.code).where(tree.c.code.in_(tops)).cte("below", recursive=True)
    child = tree.alias("child")
    return select(below.union(select(child.c.code).join(below, child.c.parent == below.c.code)).c.code)


def as_uuid(text: str) -> uuid.UUID | None:
    """The text as a key, if it is one."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def record_table(
    name: str,
    model: type[Base],
    extras: Mapping[str, Extra] | None = None,
    *,
    looked_up: Mapping[str, tuple[str, str]] | None = None,
    sorted_by: str = "",
    newest_by: str = "",
) -> RecordTable:
    """Describe a model's table. Of tables without codes, such as runs, a reference is the id itself."""
    table = _table_of(model)
    columns: dict[str, Column[Any]] = {}
    references: dict[str, Reference] = {}
    for column in table.columns:
        if column.name in KEPT_BY_US:
            continue
        remote = next((key.column for key in column.foreign_keys), None)
        if remote is not None and "code" not in remote.table.c:
            columns[column.name] = column
        elif remote is not None and remote.name == "id":
            called = _field_of(column.name)
            references[called] = Reference(called, column, remote.table.alias(f"{called}_row"), "id")
        else:
            columns[column.name] = column
            if remote is not None:
                references[column.name] = Reference(column.name, column, remote.table, "code")
    key = _natural_key(model)
    return RecordTable(name, model, columns, references, key, extras or {}, looked_up or {}, sorted_by, newest_by)


def _table_of(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


def _field_of(column: str) -> str:
    """item_id -> item, parent_item_id -> parent."""
    name = column.removesuffix("_id")
    return name if name == "item" else name.removesuffix("_item")


def _natural_key(model: type[Base]) -> tuple[str, ...]:
    constraints = (each for each in _table_of(model).constraints if isinstance(each, UniqueConstraint))
    found = next(iter(sorted(constraints, key=lambda each: len(each.columns), reverse=True)), None)
    if found is None:
        return ("id",)
    return tuple(_field_of(column.name) if column.name.endswith("_id") else column.name for column in found.columns)


def _on_hand(item: FromClause) -> ColumnElement[Any]:
    stock = Stock.__table__
    total = func.coalesce(func.sum(stock.c.on_hand), 0)
    return cast(select(total).where(stock.c.item_id == item.c.id).scalar_subquery(), Double)


_MODELS: Mapping[str, tuple[type[Base], Mapping[str, Extra]]] = {
    "units": (Unit, {}),
    "item_categories": (ItemCategory, {}),
    "items": (Item, {"on_hand": _on_hand}),
    "unit_conversions": (UnitConversion, {}),
    "suppliers": (Supplier, {}),
    "supplier_terms": (SupplierTerm, {}),
    "bom_lines": (BomLine, {}),
    "warehouses": (Warehouse, {}),
    "stock": (Stock, {}),
    "work_centres": (WorkCentre, {}),
    "routings": (RoutingOperation, {}),
    "shifts": (Shift, {}),
    "planned_stops": (PlannedStop, {}),
    "capacity_events": (CapacityEvent, {}),
    "calendar_days": (CalendarDay, {}),
    "open_orders": (OpenOrder, {}),
    "firm_orders": (FirmOrder, {}),
}
TABLES: Mapping[str, RecordTable] = {
    name: record_table(name, model, extras) for name, (model, extras) in _MODELS.items()
}
"""The tables rows can be stored in, by the name of their ingestion target."""


async def find(session: AsyncSession, table: RecordTable, key: str, *, deleted: bool = False) -> Any | None:
    """The row with that id or code, with everything it is shown with; None if there is none."""
    query = table.matching(table.named(table.rows(), key), (), deleted=deleted)
    return (await session.execute(query)).one_or_none()


async def codes(session: AsyncSession, names: Iterable[str]) -> dict[str, list[str]]:
    """All codes of these tables that rows may refer to."""
    found = {}
    for name in names:
        table = TABLES[name]
        query = table.matching(select(table.table.c.code), ())
        found[name] = list((await session.execute(query)).scalars())
    return found
