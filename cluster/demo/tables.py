"""The factory's parts as tables of texts under the column names of an export."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from cluster.demo.catalogue import catalogue
from cluster.demo.export import Export, Exports
from cluster.demo.production import Operation
from cluster.demo.products import BoolArray, FloatArray, Products
from cluster.demo.purchasing import Supplier, Term
from cluster.demo.sales import Sales
from cluster.demo.supply import FirmOrder, OpenOrder, StockLine

Cell = str | None


def item_table(
    products: Products,
    cost: FloatArray,
    price: FloatArray,
    lots: FloatArray,
    multiples: FloatArray,
    safety_stock: Mapping[int, float],
    service_level: Mapping[int, float],
    ended: BoolArray,
) -> Export:
    """items.csv; order sizes stand here for items made, in the suppliers' terms for items bought."""
    rows = range(len(products.codes))
    made = products.made
    frame = _frame(
        code=products.codes,
        name=products.names,
        kind=products.kinds,
        unit=products.units,
        category=products.categories,
        cost=[_number(cost[row], 4) for row in rows],
        price=[_number(price[row], 2) if row < products.finished else None for row in rows],
        lead_time_days=[str(days) for days in products.lead_time],
        min_order_qty=[_number(lots[row]) if made[row] else None for row in rows],
        order_multiple=[_number(multiples[row]) if made[row] else None for row in rows],
        safety_stock=[_number(safety_stock[row]) if row in safety_stock else None for row in rows],
        service_level=[_number(service_level[row], 2) if row in service_level else None for row in rows],
        active=["false" if row < products.finished and ended[row] else "true" for row in rows],
    )
    return Export("items.csv", "erp_items", frame)


def supplier_table(suppliers: Sequence[Supplier]) -> Export:
    """suppliers.csv."""
    frame = _frame(
        code=[supplier.code for supplier in suppliers],
        name=[supplier.name for supplier in suppliers],
        email=[supplier.email for supplier in suppliers],
        lead_time_days=[str(supplier.lead_time_days) for supplier in suppliers],
        active=["true" if supplier.active else "false" for supplier in suppliers],
    )
    return Export("suppliers.csv", "erp_suppliers", frame)


def supplier_term_table(products: Products, terms: Sequence[Term]) -> Export:
    """supplier_terms.csv."""
    frame = _frame(
        item=[products.codes[term.item] for term in terms],
        supplier=[term.supplier for term in terms],
        price=[_number(term.price, 4) for term in terms],
        min_order_qty=[_number(term.min_order_qty) for term in terms],
        order_multiple=[_number(term.order_multiple) for term in terms],
        lead_time_days=[str(term.lead_time_days) for term in terms],
        priority=[str(term.priority) for term in terms],
    )
    return Export("supplier_terms.csv", "erp_supplier_terms", frame)


def bom_table(products: Products) -> Export:
    """bom_lines.csv."""
    bom = products.bom
    frame = _frame(
        parent=[products.codes[row] for row in bom.parent],
        component=[products.codes[row] for row in bom.component],
        quantity_per=[_number(quantity, 4) for quantity in bom.quantity_per],
        scrap_share=[_number(share, 3) for share in bom.scrap_share],
        valid_from=[day.isoformat() if day else None for day in bom.valid_from],
        valid_to=[day.isoformat() if day else None for day in bom.valid_to],
    )
    return Export("bom_lines.csv", "erp_bom_lines", frame)


def stock_table(products: Products, lines: Sequence[StockLine]) -> Export:
    """stock.csv as a German-speaking system writes it: semicolons and decimal commas."""

    def comma(values: Iterable[float]) -> list[Cell]:
        return [_number(value, 3).replace(".", ",") for value in values]

    columns: dict[str, Sequence[Cell]] = {
        "Item No.": [products.codes[line.item] for line in lines],
        "Warehouse": [line.warehouse for line in lines],
        "Qty on Hand": comma(line.on_hand for line in lines),
        "Qty Reserved": comma(line.reserved for line in lines),
        "Qty Blocked": comma(line.blocked for line in lines),
    }
    return Export("stock.csv", "erp_stock", _frame(**columns), separator=";")


def open_order_table(products: Products, orders: Sequence[OpenOrder]) -> Export:
    """open_orders.xlsx."""
    columns: dict[str, Sequence[Cell]] = {
        "Order No": [order.number for order in orders],
        "Order Type": [order.kind for order in orders],
        "Item No.": [products.codes[order.item] for order in orders],
        "Vendor No.": [order.supplier or None for order in orders],
        "Open Qty": [_number(order.quantity) for order in orders],
        "Due Date": [str(order.due) for order in orders],
    }
    return Export("open_orders.xlsx", "erp_open_orders", _frame(**columns), numbers=("Open Qty",), dates=("Due Date",))


def firm_order_table(products: Products, orders: Sequence[FirmOrder]) -> Export:
    """firm_orders.csv."""
    frame = _frame(
        number=[order.number for order in orders],
        line=[str(order.line) for order in orders],
        item=[products.codes[order.item] for order in orders],
        customer=[order.customer for order in orders],
        quantity=[str(order.quantity) for order in orders],
        due_date=[str(order.due) for order in orders],
    )
    return Export("firm_orders.csv", "erp_firm_orders", frame)


def work_centre_table(hours: Mapping[str, float]) -> Export:
    """work_centres.csv."""
    centres = catalogue().work_centres
    frame = _frame(
        code=[centre.code for centre in centres],
        name=[centre.name for centre in centres],
        hours_per_day=[_number(hours[centre.code], 2) for centre in centres],
        efficiency=[_number(centre.efficiency, 2) for centre in centres],
    )
    return Export("work_centres.csv", "erp_work_centres", frame)


def routing_table(products: Products, operations: Sequence[Operation]) -> Export:
    """routings.csv."""
    frame = _frame(
        item=[products.codes[step.item] for step in operations],
        sequence=[str(step.sequence) for step in operations],
        work_centre=[step.work_centre for step in operations],
        setup_hours=[_number(step.setup_hours, 2) for step in operations],
        unit_hours=[_number(step.unit_hours, 4) for step in operations],
    )
    return Export("routings.csv", "erp_routings", frame)


def sales_tables(products: Products, sales: Sales) -> Exports:
    """One sales_<year>.csv for each calendar year: the days' totals of the items sold, by day and item."""
    day, row = np.nonzero(sales.quantity.T)
    frame = pl.DataFrame(
        {
            "day": pl.Series(sales.days[day]).cast(pl.Date),
            "item": pl.Series(products.codes).gather(row),
            "quantity": sales.quantity[row, day],
            "revenue": sales.revenue[row, day],
        }
    )
    texts = frame.select(
        pl.col("day").dt.to_string("%Y-%m-%d"),
        "item",
        pl.col("quantity").cast(pl.String),
        pl.col("revenue").cast(pl.String).str.strip_suffix(".0"),
    )
    years = frame["day"].dt.year()
    return [Export(f"sales_{year}.csv", "erp_demand", texts.filter(years == year)) for year in sorted(years.unique())]


def _frame(**columns: Sequence[Cell]) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series(name, list(cells), dtype=pl.String) for name, cells in columns.items()})


def _number(value: float, decimals: int = 3) -> str:
    """A number as people write it: no exponent, no trailing zeros."""
    text = f"{float(value):.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
