"""What the API answers about bills of material."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import msgspec
import polars as pl

from planning.bills import Occurrence


class BillNode(msgspec.Struct, kw_only=True):
    """An item in its place in the tree. `quantity` is needed here for the quantity asked for, scrap included."""

    item: str
    name: str
    kind: str
    unit: str
    level: int
    quantity_per: float
    scrap_share: float
    quantity: float
    unit_cost: float
    cost: float
    children: list[BillNode]


class ExplodedItem(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed of an item. `unit_cost` is rolled up: what is bought at its standard cost or the first
    supplier's price, what is made at its components and operations."""

    item: str
    name: str
    kind: str
    unit: str
    level: int
    quantity: float
    is_made: bool
    unit_cost: float
    material_cost: float
    cost: float
    is_complete: bool
    standard_cost: float | None
    cost_deviates: bool
    supplier: str | None
    lead_time_days: int | None


class Unpriced(msgspec.Struct, frozen=True):
    """A part of the cost that is missing, and counts as 0."""

    item: str
    reason: str


class Explosion(msgspec.Struct, frozen=True, kw_only=True):
    """What a quantity of an item takes: each component once, after everything it goes into, with the cost of it all."""

    item: str
    quantity: float
    on: date
    total_cost: float
    unit_cost: float
    standard_cost: float | None
    cost_deviates: bool
    is_complete: bool
    unpriced: list[Unpriced]
    items: list[ExplodedItem]


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """An item that the one asked for goes into. `level`: the greatest number of steps up to it."""

    item: str
    name: str
    kind: str
    unit: str
    level: int
    quantity: float
    is_top: bool


class WhereUsed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an item goes into, nearest first."""

    item: str
    on: date
    uses: list[Use]


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """A quantity of an item in another unit."""

    item: str
    quantity: float
    from_unit: str
    to_unit: str
    converted: float


class CategoryNode(msgspec.Struct, kw_only=True):
    """A category with those it consists of; `items` counts what is directly in it."""

    id: uuid.UUID
    code: str
    name: str
    items: int
    children: list[CategoryNode]


class CategoryTree(msgspec.Struct, frozen=True):
    """The categories at the top."""

    categories: list[CategoryNode]


def tree_of(places: Iterable[Occurrence], items: pl.DataFrame) -> BillNode:
    """The top of a tree, from its places and the exploded items of its bill."""
    shown = items.select("item", "name", "kind", "unit", "unit_cost")
    facts = {row["item"]: row for row in shown.iter_rows(named=True)}
    nodes: list[BillNode] = []
    for place in places:
        node = BillNode(
            **facts[place.item],
            level=place.level,
            quantity_per=place.quantity_per,
            scrap_share=place.scrap_share,
            quantity=place.quantity,
            cost=place.quantity * facts[place.item]["unit_cost"],
            children=[],
        )
        nodes.append(node)
        if place.number:
            nodes[place.parent].children.append(node)
    return nodes[0]


def explosion_of(item: str, quantity: float, on: date, items: pl.DataFrame) -> Explosion:
    """The answer of exploded items, the top one first among them."""
    names = ExplodedItem.__struct_fields__
    rows = [ExplodedItem(**row) for row in items.select(names).iter_rows(named=True)]
    top = rows[0]
    return Explosion(
        item=item,
        quantity=quantity,
        on=on,
        total_cost=top.cost,
        unit_cost=top.unit_cost,
        standard_cost=top.standard_cost,
        cost_deviates=top.cost_deviates,
        is_complete=top.is_complete,
        unpriced=[_unpriced(row) for row in items.filter("is_unpriced").iter_rows(named=True)],
        items=rows,
    )


def _unpriced(row: Mapping[str, Any]) -> Unpriced:
    if row["is_made"]:
        return Unpriced(row["item"], f"no cost an hour of work centre {row['centres_without_cost']}")
    return Unpriced(row["item"], "no standard cost, and no price of an active supplier")


def category_tree(rows: Iterable[Any]) -> CategoryTree:
    """Categories under those they are part of. One that is on a cycle, as files can bring, stands at the top."""
    nodes: dict[str, CategoryNode] = {}
    parents: dict[str, str | None] = {}
    for row in rows:
        nodes[row.code] = CategoryNode(id=row.id, code=row.code, name=row.name, items=row.items, children=[])
        parents[row.code] = row.parent
    top = []
    for code, node in nodes.items():
        parent = parents[code]
        if parent is None or _is_on_cycle(code, parents):
            top.append(node)
        else:
            nodes[parent].children.append(node)
    return CategoryTree(top)


def _is_on_cycle(code: str, parents: Mapping[str, str | None]) -> bool:
    seen: set[str] = set()
    at: str | None = code
    while at is not None and at not in seen:
        seen.add(at)
        at = parents[at]
        if at == code:
            return True
    return False
