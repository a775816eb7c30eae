"""Suppliers of the demo factory, their terms, and the usual lot of every item."""

from dataclasses import dataclass

import numpy as np

from cluster.demo.catalogue import Stem, catalogue
from cluster.demo.products import FloatArray, Products

_SECOND_SUPPLIER_SHARE = 0.45
_FEWEST_SUPPLIERS = 40
_SUPPLIERS_PER_ITEM = 0.08


@dataclass(frozen=True, slots=True)
class Supplier:
    """A supplier; lead time in working days."""

    code: str
    name: str
    email: str
    category: str
    lead_time_days: int
    active: bool


@dataclass(frozen=True, slots=True)
class Term:
    """What a supplier asks for an item (its row); priority 1 comes first."""

    item: int
    supplier: str
    price: float
    min_order_qty: float
    order_multiple: float
    lead_time_days: int
    priority: int


def make_suppliers(rng: np.random.Generator, items: int) -> list[Supplier]:
    """Suppliers, every category by two at least; branches of the known names where more are needed. One is inactive."""
    vendors = catalogue().suppliers
    count = max(_FEWEST_SUPPLIERS, round(items * _SUPPLIERS_PER_ITEM))
    suppliers = []
    for number in range(count):
        vendor, branch = vendors[number % len(vendors)], number // len(vendors) + 1
        suppliers.append(
            Supplier(
                code=f"V-{70_010 + 10 * number}",
                name=vendor.name if branch == 1 else f"{vendor.name}, branch {branch}",
                email=f"orders{'' if branch == 1 else branch}@{vendor.mail}.example",
                category=vendor.category,
                lead_time_days=int(rng.integers(8, 26)),
                active=number != len(vendors) - 1,
            )
        )
    return suppliers


def purchase_prices(rng: np.random.Generator, products: Products) -> FloatArray:
    """Price of every purchased item by its size, [items]; 0 for produced ones."""
    prices = np.zeros(len(products.codes))
    for row, stem in enumerate(products.group):
        if isinstance(stem, Stem) and not stem.uses:
            low, high = stem.cost
            prices[row] = (low + (high - low) * products.size[row]) * rng.uniform(0.95, 1.08)
    return np.asarray(np.where(products.made, 0.0, np.round(np.maximum(prices, 0.005), 4)))


def usual_lots(rng: np.random.Generator, products: Products, weekly: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(smallest order, multiple) of every item: about a week of need for produced items, one to three for others."""
    weeks = np.where(products.made, rng.uniform(0.7, 1.4, len(weekly)), rng.uniform(1.0, 3.0, len(weekly)))
    multiple = np.array([_handy(value / 8.0) for value in weekly * weeks])
    return np.maximum(np.ceil(weekly * weeks / multiple), 1.0) * multiple, multiple


def make_terms(
    rng: np.random.Generator,
    products: Products,
    suppliers: list[Supplier],
    prices: FloatArray,
    lots: FloatArray,
    multiples: FloatArray,
) -> list[Term]:
    """One or two suppliers for each purchased item; the second is dearer or slower, and asks for less at a time."""
    terms: list[Term] = []
    for row in np.flatnonzero(~products.made):
        sellers = [supplier for supplier in suppliers if supplier.category == products.categories[row]]
        active = [seller for seller in sellers if seller.active]
        first = active[int(rng.integers(len(active)))]
        lead, price, multiple = int(products.lead_time[row]), float(prices[row]), float(multiples[row])
        terms.append(Term(int(row), first.code, price, float(lots[row]), multiple, lead, 1))
        others = [seller for seller in sellers if seller is not first]
        if others and rng.random() < _SECOND_SUPPLIER_SHARE:
            second = others[int(rng.integers(len(others)))]
            dearer = round(price * float(rng.uniform(1.01, 1.14)), 4)
            slower = max(2, round(lead * float(rng.uniform(0.6, 1.4))))
            less = max(round(float(lots[row]) / multiple / 2.0), 1) * multiple
            terms.append(Term(int(row), second.code, dearer, less, multiple, slower, 2))
    return terms


def _handy(value: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 25, 50, 100 ... not above a value; at least 1."""
    scale = 1.0
    while scale * 10.0 <= value:
        scale *= 10.0
    steps = [
        scale * step for step in (1.0, 2.0, 2.5, 5.0) if scale * step <= value and scale * step == int(scale * step)
    ]
    return max(steps, default=1.0)
