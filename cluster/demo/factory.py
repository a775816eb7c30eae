"""The demo factory: a seeded, realistic manufacturer of garden and workshop equipment as its ERP would export it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from cluster.demo.closures import bank_holidays
from cluster.demo.defects import spoil
from cluster.demo.export import Exports, write
from cluster.demo.production import conversion_costs, daily_hours, make_routings
from cluster.demo.products import FloatArray, Products, make_products
from cluster.demo.purchasing import make_suppliers, make_terms, purchase_prices, usual_lots
from cluster.demo.sales import make_sales
from cluster.demo.supply import make_firm_orders, make_open_orders, make_position, make_stock
from cluster.demo.tables import (
    bom_table,
    firm_order_table,
    item_table,
    open_order_table,
    routing_table,
    sales_tables,
    stock_table,
    supplier_table,
    supplier_term_table,
    work_centre_table,
)

COMPANY = "Ashdown Garden & Workshop"


@dataclass(frozen=True)
class FactoryFiles:
    """What was written: (file name, mapping name) in the order of ingestion, data rows and spoilt rows of each file.

    `rows` counts spoilt rows too. `defects` says, per file, how many rows were spoilt in which way: ingestion rejects
    them all but the exact duplicates, which it merges.
    """

    directory: Path
    files: tuple[tuple[str, str], ...]
    rows: Mapping[str, int]
    defects: Mapping[str, Mapping[str, int]]

    def defect_rows(self, file_name: str) -> int:
        """How many rows of a file are spoilt."""
        return sum(self.defects[file_name].values())

    def describe(self) -> str:
        """A table to print: files, rows, spoilt rows and how."""
        head = f"{COMPANY}: {len(self.files)} files, {sum(self.rows.values()):,} rows, " + (
            f"{sum(map(self.defect_rows, self.rows)):,} of them spoilt"
        )
        width = max(len(name) for name, _ in self.files)
        lines = [
            f"  {name:<{width}}  {self.rows[name]:>7,} rows"
            + "".join(f", {count} x {cause}" for cause, count in self.defects[name].items())
            for name, _ in self.files
        ]
        return "\n".join([head, *lines])


def generate(directory: Path, *, today: date, seed: int = 7, items: int = 500, days: int = 730) -> FactoryFiles:
    """Write the factory's files into `directory`, made if need be; the same arguments give the same bytes.

    Sales cover the `days` days before `today`. ValueError: fewer than 80 items or 28 days.
    """
    tables = _make_tables(today, seed, items, days)
    exports = spoil(np.random.default_rng([seed, 1]), tables)
    write(directory, exports, today)
    return FactoryFiles(
        directory=directory,
        files=tuple((export.file_name, export.mapping) for export in exports),
        rows={export.file_name: export.frame.height for export in exports},
        defects={export.file_name: dict(export.defects) for export in exports},
    )


def _make_tables(today: date, seed: int, items: int, days: int) -> Exports:
    """The sound tables in the order of ingestion.

    Each part draws from a generator of its own, so that a change to one leaves the others as they are.
    """
    of_products, of_work, of_terms, of_sales, of_supply, of_master = np.random.default_rng([seed, 0]).spawn(6)
    products = make_products(of_products, items, today)
    operations = make_routings(of_work, products)
    bought = purchase_prices(of_terms, products)
    cost = products.rolled_up(bought, conversion_costs(products, operations))
    price = _list_prices(of_master, cost[: products.finished])
    sales = make_sales(of_sales, products, price, today, days)
    own = np.zeros(items)
    own[: products.finished] = sales.ahead
    weekly = products.exploded(own)
    lots, multiples = usual_lots(of_terms, products, weekly)
    suppliers = make_suppliers(of_terms, items)
    terms = make_terms(of_terms, products, suppliers, bought, lots, multiples)
    position = make_position(of_supply, products, sales, weekly, lots)
    closed = bank_holidays(today - timedelta(days=60), today + timedelta(days=400))
    manual, levels = _planner_choices(of_master, products, weekly)
    hours = daily_hours(of_work, operations, weekly, lots)
    return [
        item_table(products, cost, price, lots, multiples, manual, levels, sales.ended),
        supplier_table(suppliers),
        supplier_term_table(products, terms),
        bom_table(products),
        stock_table(products, make_stock(of_supply, products, position)),
        open_order_table(products, make_open_orders(products, position, terms, multiples, today, closed)),
        firm_order_table(products, make_firm_orders(of_supply, sales, today, closed)),
        work_centre_table(hours),
        routing_table(products, operations),
        *sales_tables(products, sales),
    ]


def _list_prices(rng: np.random.Generator, cost: FloatArray) -> FloatArray:
    """List price of finished items: cost with a margin, at .90 as the trade likes it."""
    return np.asarray(np.ceil(cost * rng.uniform(1.7, 2.4, len(cost))) - 0.1)


def _planner_choices(
    rng: np.random.Generator, products: Products, weekly: FloatArray
) -> tuple[dict[int, float], dict[int, float]]:
    """(manual safety stocks, service levels) by item row; planners set few of them."""
    count = len(products.codes)
    stocked = rng.permutation(count)[: max(3, count // 33)]
    manual = {int(row): float(np.ceil(weekly[row] * rng.uniform(0.5, 1.5))) for row in stocked}
    levelled = rng.permutation(products.finished)[: max(2, products.finished // 15)]
    return manual, {int(row): float(rng.choice([0.90, 0.95, 0.98, 0.99])) for row in levelled}
