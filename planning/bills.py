"""Bills of material as people look at them: exploded and costed by component, as a tree, and where an item is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from planning.arrays import IntArray
from planning.bom import Structure
from planning.explosion import CostFactors, deviates, explode, roll_up, structure_above, structure_below
from planning.items import to_floats


@dataclass(frozen=True)
class Bill:
    """The lines around one item, and the items in them.

    `lines`: parent, component, quantity_per, scrap_share. `items`: item, standard_cost, price, lot, setup_cost,
    operation_cost, centres_without_cost, and whatever else is to be shown; the item itself is among them.
    """

    lines: pl.DataFrame
    items: pl.DataFrame

    @cached_property
    def row(self) -> dict[str, int]:
        """Row of each item by its code."""
        return {code: row for row, code in enumerate(self.items["item"])}

    def structure(self, *, upwards: bool = False) -> Structure:
        """Its lines in the order of explosion, down or up; raises CycleError."""
        rate = to_floats(self.lines["quantity_per"]) / (1.0 - to_floats(self.lines["scrap_share"]))
        order = structure_above if upwards else structure_below
        return order(self._rows("parent"), self._rows("component"), rate, self.items["item"].to_list())

    def _rows(self, column: str) -> IntArray:
        return np.array([self.row[code] for code in self.lines[column]], dtype=np.int64)


def exploded(bill: Bill, top: str, quantity: float) -> pl.DataFrame:
    """The items of a bill with what a quantity of its top item takes of them, by low-level code, then item.

    Returns:
        The columns of `bill.items` with: quantity (scrap included), level, is_made, unit_cost (rolled up), cost,
        material_cost (a unit's), is_complete, is_unpriced, cost_deviates.

    Raises:
        CycleError: an item of the bill is a component of itself.
    """
    structure = bill.structure()
    found = explode(structure, bill.row[top], quantity)
    costs = roll_up(structure, found, _factors(bill.items))
    is_made = np.zeros(len(found.level), dtype=np.bool_)
    is_made[structure.parent] = True
    standard = to_floats(bill.items["standard_cost"])
    return bill.items.with_columns(
        quantity=pl.Series(found.quantity),
        level=pl.Series(found.level),
        is_made=pl.Series(is_made),
        unit_cost=pl.Series(costs.unit_cost),
        cost=pl.Series(found.quantity * costs.unit_cost),
        material_cost=pl.Series(costs.material),
        is_complete=pl.Series(costs.is_complete),
        is_unpriced=pl.Series(costs.is_unpriced),
        cost_deviates=pl.Series(is_made & deviates(costs.unit_cost, standard)),
    ).sort("level", "item")


def used_in(bill: Bill, item: str) -> pl.DataFrame:
    """The items an item goes into: the columns of `bill.items` with quantity (of it in one of them, scrap included)
    and level (the greatest number of steps up), by level, then item.

    Raises:
        CycleError: an item is a component of itself.
    """
    found = explode(bill.structure(upwards=True), bill.row[item], 1.0)
    above = bill.items.with_columns(quantity=pl.Series(found.quantity), level=pl.Series(found.level))
    return above.filter(pl.col("item") != item).sort("level", "item")


@dataclass(frozen=True)
class Occurrence:
    """One place of an item in the tree: the line it stands on, what is needed there for the quantity of the top item.

    `parent` is the number of the occurrence above it; the top item is number 0 with itself as parent.
    """

    number: int
    parent: int
    item: str
    level: int
    quantity_per: float
    scrap_share: float
    quantity: float


class TooLarge(ValueError):
    """The tree has more places than were asked for."""


def occurrences(bill: Bill, top: str, quantity: float, depth: int, most: int) -> Iterator[Occurrence]:
    """Every place in the tree down to a depth, each after the one above it.

    Raises:
        CycleError: an item is a component of itself.
        TooLarge: there are more than `most`.
    """
    bill.structure()
    below: dict[str, list[tuple[str, float, float]]] = {}
    for parent, component, per, scrap in bill.lines.select(
        "parent", "component", "quantity_per", "scrap_share"
    ).iter_rows():
        below.setdefault(parent, []).append((component, per, scrap))
    level = [Occurrence(0, 0, top, 0, 1.0, 0.0, quantity)]
    count = 1
    while level:
        yield from level
        if level[0].level == depth:
            return
        deeper: list[Occurrence] = []
        for each in level:
            for component, per, scrap in below.get(each.item, ()):
                need = each.quantity * per / (1.0 - scrap)
                deeper.append(Occurrence(count, each.number, component, each.level + 1, per, scrap, need))
                count += 1
            if count > most:
                raise TooLarge(f"the tree has more than {most:,} places")
        level = deeper


def _factors(items: pl.DataFrame) -> CostFactors:
    """Without a cost an hour of a work centre, an item's operations have no cost that is known."""
    lacking = items["centres_without_cost"].is_not_null().to_numpy()
    own, price = to_floats(items["standard_cost"]), to_floats(items["price"])
    return CostFactors(
        bought=np.where(np.isnan(own), price, own),
        setup=np.where(lacking, np.nan, to_floats(items["setup_cost"])),
        operation=np.where(lacking, np.nan, to_floats(items["operation_cost"])),
        lot=to_floats(items["lot"]),
    )
