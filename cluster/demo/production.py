"""Work centres and routings of the demo factory, and what producing a piece costs."""

from dataclasses import dataclass

import numpy as np

from cluster.demo.catalogue import Family, Stem, catalogue
from cluster.demo.products import FloatArray, Products

_HOUR_COST = 46.0
_OVERHEAD = 1.15
_SETUP_HOURS = {
    "WC-CUT": 0.3,
    "WC-FORM": 0.5,
    "WC-MACH": 0.6,
    "WC-MOULD": 1.0,
    "WC-WELD": 0.3,
    "WC-COAT": 0.4,
    "WC-ASSY": 0.15,
    "WC-FINAL": 0.2,
}
_USUAL_LOAD = (0.75, 0.98)
_BOTTLENECK, _BOTTLENECK_LOAD = "WC-WELD", 1.35
_WORKING_DAYS = 5


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of an item's routing; hours."""

    item: int
    sequence: int
    work_centre: str
    setup_hours: float
    unit_hours: float


def make_routings(rng: np.random.Generator, products: Products) -> list[Operation]:
    """Operations of every produced item; a larger size takes longer."""
    operations: list[Operation] = []
    for row, group in enumerate(products.group):
        for step, (centre, minutes) in enumerate(_route(group), start=1):
            scale = (0.7 + 0.6 * float(products.size[row])) * float(rng.uniform(0.9, 1.1))
            unit_hours = max(round(minutes * scale / 60.0, 4), 0.0001)
            operations.append(Operation(row, 10 * step, centre, _SETUP_HOURS[centre], unit_hours))
    return operations


def _route(group: Family | Stem) -> tuple[tuple[str, float], ...]:
    return group.route if isinstance(group, Stem) else (("WC-FINAL", 9.0),)


def conversion_costs(products: Products, operations: list[Operation]) -> FloatArray:
    """Cost of work on one piece, [items]."""
    cost = np.zeros(len(products.codes))
    for operation in operations:
        cost[operation.item] += operation.unit_hours * _HOUR_COST * _OVERHEAD
    return cost


def daily_hours(
    rng: np.random.Generator, operations: list[Operation], weekly: FloatArray, lot: FloatArray
) -> dict[str, float]:
    """Hours a working day of every work centre, such that usual demand fills most of them and one is overloaded.

    `weekly` is each item's total need a week, `lot` its usual order, [items].
    """
    hours: dict[str, float] = {}
    for centre in catalogue().work_centres:
        own = [operation for operation in operations if operation.work_centre == centre.code]
        load = sum(
            weekly[step.item] * (step.unit_hours / centre.efficiency + step.setup_hours / lot[step.item])
            for step in own
        )
        share = _BOTTLENECK_LOAD if centre.code == _BOTTLENECK else float(rng.uniform(*_USUAL_LOAD))
        hours[centre.code] = max(round(2.0 * float(load) / _WORKING_DAYS / share) / 2.0, 7.5)
    return hours
