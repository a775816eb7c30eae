"""Items and bills of material of the demo factory: four levels, with parts shared between parents."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from cluster.demo.catalogue import Family, Stem, catalogue

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

KINDS = ("finished", "semi_finished", "component", "raw_material", "packaging")
FEWEST_ITEMS = 80

_PREFIXES = {"finished": "FG", "semi_finished": "SA", "component": "CP", "raw_material": "RM", "packaging": "PK"}
_SHARES = {"semi_finished": 0.18, "component": 0.16, "raw_material": 0.30, "packaging": 0.06}
_SCRAP_SHARES = (0.0, 0.01, 0.02, 0.03, 0.05)
_CHANGES = 4  # cartons that are about to be replaced by another


@dataclass(frozen=True)
class Bom:
    """Lines of all bills of material, by parent; `parent` and `component` are item rows, all [lines]."""

    parent: IntArray
    component: IntArray
    quantity_per: FloatArray
    scrap_share: FloatArray
    valid_from: list[date | None]
    valid_to: list[date | None]

    @property
    def need(self) -> FloatArray:
        """Quantity of the component issued for one piece of the parent, scrap included, [lines]."""
        return np.asarray(self.quantity_per / (1.0 - self.scrap_share))


@dataclass(frozen=True)
class Products:
    """Items in the order of KINDS, so that every line of a bill leads from a lower row to a higher one; all [items].

    `size` is the place within the sizes of the item's stem, 0 to 1. `group` is the family of a finished item, the
    stem of any other.
    """

    codes: list[str]
    names: list[str]
    kinds: list[str]
    units: list[str]
    categories: list[str]
    group: list[Family | Stem]
    size: FloatArray
    lead_time: IntArray
    bom: Bom

    @property
    def finished(self) -> int:
        """How many finished items there are; they are the first rows."""
        return self.kinds.count("finished")

    @property
    def made(self) -> BoolArray:
        """Whether an item is produced here, [items]."""
        return np.array([bool(group.uses) for group in self.group])

    def exploded(self, independent: FloatArray) -> FloatArray:
        """Total need of every item from its own, [items]; independent demand of dependent items is added to."""
        total = independent.astype(np.float64).copy()
        for rows in self._levels():
            lines = np.isin(self.bom.parent, rows)
            issued = total[self.bom.parent[lines]] * self.bom.need[lines]
            np.add.at(total, self.bom.component[lines], issued)
        return total

    def rolled_up(self, bought: FloatArray, conversion: FloatArray) -> FloatArray:
        """Cost of every item: the price of a purchased one, else its parts of today plus conversion, to the cent."""
        cost = bought.copy()
        today = np.array([start is None for start in self.bom.valid_from])
        for rows in reversed(self._levels()):
            lines = np.isin(self.bom.parent, rows) & today
            parts = np.zeros(len(cost))
            np.add.at(parts, self.bom.parent[lines], cost[self.bom.component[lines]] * self.bom.need[lines])
            made = rows[self.made[rows]]
            cost[made] = np.ceil((parts[made] + conversion[made]) * 100.0) / 100.0
        return cost

    def _levels(self) -> list[IntArray]:
        """Rows of the kinds that have parts, parents before components."""
        kinds = np.array(self.kinds)
        return [np.flatnonzero(kinds == kind) for kind in KINDS[:3]]


def make_products(rng: np.random.Generator, items: int, today: date) -> Products:
    """Products of `items` items. ValueError: too few for one item of each kind of part."""
    if items < FEWEST_ITEMS:
        raise ValueError(f"a demo factory needs at least {FEWEST_ITEMS} items, not {items}")
    counts = _counts(items)
    names: list[str] = []
    kinds: list[str] = []
    group: list[Family | Stem] = []
    sizes: list[float] = []
    for kind, stems in _stems_by_kind().items():
        for stem, count in zip(stems, _spread(counts[kind], len(stems)), strict=True):
            for name, size in _variants(stem, count):
                names.append(name)
                kinds.append(kind)
                group.append(stem)
                sizes.append(size)
    places = {kind: kinds.index(kind) for kind in KINDS}
    return Products(
        codes=[f"{_PREFIXES[kind]}-{10_000 + 5 * (row - places[kind] + 1)}" for row, kind in enumerate(kinds)],
        names=names,
        kinds=kinds,
        units=[stem.unit if isinstance(stem, Stem) else "pcs" for stem in group],
        categories=[stem.category for stem in group],
        group=group,
        size=np.array(sizes),
        lead_time=np.array([_lead_time(rng, stem) for stem in group], dtype=np.int64),
        bom=_make_bom(rng, group, np.array(sizes), today),
    )


def _stems_by_kind() -> dict[str, tuple[Family | Stem, ...]]:
    shop = catalogue()
    groups = (shop.families, shop.semi_finished, shop.components, shop.raw_materials, shop.packaging)
    return dict(zip(KINDS, groups, strict=True))


def _counts(items: int) -> dict[str, int]:
    """How many items of each kind, one of each stem at least; what the shares leave is finished."""
    stems = _stems_by_kind()
    counts = {kind: max(round(items * share), len(stems[kind])) for kind, share in _SHARES.items()}
    return {"finished": items - sum(counts.values()), **counts}


def _spread(count: int, over: int) -> list[int]:
    return [count // over + (place < count % over) for place in range(over)]


def _variants(stem: Family | Stem, count: int) -> list[tuple[str, float]]:
    """Names of `count` items with their place among the sizes; numbered versions once series and sizes are used up."""
    heads = [f"{stem.noun} {series}" for series in stem.series] if isinstance(stem, Family) else [stem.noun]
    last = max(len(stem.sizes) - 1, 1)
    once = [(f"{head} {size}", place / last) for head in heads for place, size in enumerate(stem.sizes)]
    chosen = [once[number % len(once)] for number in range(count)]
    return [
        (name if number < len(once) else f"{name} V{number // len(once) + 1}", size)
        for number, (name, size) in enumerate(chosen)
    ]


def _lead_time(rng: np.random.Generator, stem: Family | Stem) -> int:
    low, high = stem.lead if isinstance(stem, Stem) else (2, 4)
    return int(rng.integers(low, high + 1))


def _make_bom(rng: np.random.Generator, group: list[Family | Stem], size: FloatArray, today: date) -> Bom:
    """One line for each stem an item uses, to the variant nearest in size or a neighbour of it."""
    rows_of: dict[str, list[int]] = {}
    for row, stem in enumerate(group):
        if isinstance(stem, Stem):
            rows_of.setdefault(stem.key, []).append(row)
    parents: list[int] = []
    components: list[int] = []
    for row, stem in enumerate(group):
        for key in stem.uses:
            variants = rows_of[key]
            near = round(float(size[row]) * (len(variants) - 1)) + int(rng.integers(-1, 2))
            parents.append(row)
            components.append(variants[min(max(near, 0), len(variants) - 1)])
    _use_all(parents, components, rows_of)
    quantities = [
        _quantity(rng, group[component], float(size[parent]))
        for parent, component in zip(parents, components, strict=True)
    ]
    bought = np.array([not group[component].uses for component in components])
    scrap = np.where(bought, rng.choice(_SCRAP_SHARES, len(parents), p=(0.5, 0.15, 0.15, 0.12, 0.08)), 0.0)
    bom = Bom(
        parent=np.array(parents, dtype=np.int64),
        component=np.array(components, dtype=np.int64),
        quantity_per=np.array(quantities),
        scrap_share=scrap,
        valid_from=[None] * len(parents),
        valid_to=[None] * len(parents),
    )
    return _with_changes(rng, bom, rows_of["carton"], today)


def _with_changes(rng: np.random.Generator, bom: Bom, cartons: list[int], today: date) -> Bom:
    """Engineering changes: a few products get another carton from a day some weeks ahead. Lines sorted by parent."""
    changed = np.sort(rng.permutation(np.flatnonzero(np.isin(bom.component, cartons)))[:_CHANGES])
    if len(cartons) < 2:
        changed = changed[:0]
    old = bom.component[changed].tolist()
    new = [cartons[(cartons.index(row) + 1) % len(cartons)] for row in old]
    starts, ends = list(bom.valid_from), list(bom.valid_to)
    for weeks, line in enumerate(changed.tolist(), start=2):
        ends[line] = today + timedelta(weeks=weeks)
        starts.append(today + timedelta(weeks=weeks, days=1))
        ends.append(None)
    parent = np.concatenate([bom.parent, bom.parent[changed]])
    order = np.argsort(parent, kind="stable")
    return Bom(
        parent=parent[order],
        component=np.concatenate([bom.component, np.array(new, dtype=np.int64)])[order],
        quantity_per=np.concatenate([bom.quantity_per, bom.quantity_per[changed]])[order],
        scrap_share=np.concatenate([bom.scrap_share, bom.scrap_share[changed]])[order],
        valid_from=[starts[line] for line in order],
        valid_to=[ends[line] for line in order],
    )


def _use_all(parents: list[int], components: list[int], rows_of: dict[str, list[int]]) -> None:
    """Give every variant a parent: it takes over a line of the variant of its stem that is used most."""
    uses: dict[int, list[int]] = {}
    for line, component in enumerate(components):
        uses.setdefault(component, []).append(line)
    for variants in rows_of.values():
        for row in variants:
            if uses.get(row):
                continue
            most_used = max(variants, key=lambda other: len(uses.get(other, ())))
            if len(uses.get(most_used, ())) > 1:
                line = uses[most_used].pop()
                components[line] = row
                uses[row] = [line]
            elif uses.get(most_used):  # more variants than parents: one parent takes two
                parents.append(parents[uses[most_used][0]])
                components.append(row)
                uses[row] = [len(components) - 1]


def _quantity(rng: np.random.Generator, stem: Family | Stem, size: float) -> float:
    """How much of a stem goes into a parent, more into a greater one; whole where the range is whole pieces."""
    low, high = stem.per if isinstance(stem, Stem) else (1.0, 1.0)
    amount = low + (high - low) * (0.7 * size + 0.3 * float(rng.random()))
    whole = isinstance(stem, Stem) and stem.unit == "pcs" and low == int(low)
    return float(round(amount)) if whole else round(amount, 4)
