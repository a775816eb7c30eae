"""One item's bill of material laid open: what it takes in all, what it costs, and where an item goes into."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from planning.arrays import BoolArray, FloatArray, IntArray
from planning.bom import Structure, build_structure

# A rolled-up cost this near to the standard cost agrees with it: standards are kept in rounded money.
TOLERANCE = 0.005


@dataclass(frozen=True)
class Explosion:
    """What a quantity of the top item takes, arrays [items]. Levels are low-level codes; 0 is the top item."""

    quantity: FloatArray
    level: IntArray


@dataclass(frozen=True)
class CostFactors:
    """What costs are rolled up from, all [items]. Money a unit of the item, NaN where not known.

    `bought` is the standard cost or the supplier's price; `setup` the cost of one set-up and `operation` that of one
    unit's operations (both 0 without a routing); `lot` the least quantity a set-up is spread over.
    """

    bought: FloatArray
    setup: FloatArray
    operation: FloatArray
    lot: FloatArray


@dataclass(frozen=True)
class Costs:
    """Rolled-up cost of a unit, [items]: components' and operations', the first of them what is bought.

    `is_complete` says that nothing below the item lacks a price; what does counts as 0. `is_unpriced` names those.
    """

    unit_cost: FloatArray
    material: FloatArray
    is_complete: BoolArray
    is_unpriced: BoolArray


def structure_below(parent: IntArray, component: IntArray, rate: FloatArray, codes: list[str]) -> Structure:
    """Bill lines effective on one day, ordered for explosion. `rate` as in `Structure`.

    Raises:
        CycleError: an item is a component of itself.
    """
    whole = np.zeros(len(parent), dtype=np.int64)
    return build_structure(parent, component, rate, whole, whole, codes)


def structure_above(parent: IntArray, component: IntArray, rate: FloatArray, codes: list[str]) -> Structure:
    """The same lines turned round: exploding an item then tells how much of it goes into one of each above.

    Raises:
        CycleError: an item is a component of itself.
    """
    return structure_below(component, parent, rate, codes)


def explode(structure: Structure, top: int, quantity: float) -> Explosion:
    """Total need of every item for a quantity of the item in row `top`, scrap included: need x rate, level by level."""
    items = sum(len(rows) for rows in structure.levels)
    total = np.zeros(items, dtype=np.float64)
    level = np.zeros(items, dtype=np.int64)
    total[top] = quantity
    for depth, rows in enumerate(structure.levels):
        level[rows] = depth
        lines = slice(int(structure.level_lines[depth]), int(structure.level_lines[depth + 1]))
        need = total[structure.parent[lines]] * structure.rate[lines]
        np.add.at(total, structure.component[lines], need)
    return Explosion(total, level)


def roll_up(structure: Structure, exploded: Explosion, factors: CostFactors) -> Costs:
    """Cost of a unit of each item: bought items at `bought`, made ones at components x rate + operations.

    A made item is one with lines below it. Its set-up is spread over what is needed of it, at least over its lot.
    """
    items = len(exploded.level)
    is_made = np.zeros(items, dtype=np.bool_)
    is_made[structure.parent] = True
    lot = np.maximum(np.nan_to_num(factors.lot), exploded.quantity)
    own = factors.operation + np.divide(factors.setup, lot, out=np.zeros(items), where=lot > 0)
    is_unpriced = np.where(is_made, np.isnan(own), np.isnan(factors.bought))
    material = np.where(is_made, 0.0, np.nan_to_num(factors.bought))
    unit_cost = np.where(is_made, np.nan_to_num(own), material)
    lacking = is_unpriced.astype(np.int64)
    order = np.argsort(-exploded.level[structure.parent], kind="stable")
    parent, component, rate = structure.parent[order], structure.component[order], structure.rate[order]
    starts = np.flatnonzero(np.diff(exploded.level[parent], prepend=-1))
    for start, stop in pairwise([*starts.tolist(), len(parent)]):
        at = slice(start, stop)
        cost = rate[at] * unit_cost[component[at]]
        np.add.at(material, parent[at], cost)
        np.add.at(unit_cost, parent[at], cost)
        np.maximum.at(lacking, parent[at], lacking[component[at]])
    return Costs(unit_cost, material, lacking == 0, is_unpriced)


def deviates(rolled_up: FloatArray, standard: FloatArray) -> BoolArray:
    """Where a standard cost is known (not NaN) and the rolled-up cost is another one."""
    return np.asarray(np.abs(rolled_up - standard) > TOLERANCE * np.maximum(np.abs(standard), TOLERANCE))
