"""The tables rows can fill: fields, types, ranges and natural keys, in the columns every room shares.

Declared once: files are read by them, the API's bodies, imports, exports and templates are made from them.
"""

from collections.abc import Mapping

from ingestion.targets import items, orders, production, supply
from ingestion.targets.fields import DTYPES, FIRST_DATE, LAST_DATE, Field, Kind, Target, literal

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        items.UNITS,
        items.ITEM_CATEGORIES,
        items.ITEMS,
        items.UNIT_CONVERSIONS,
        supply.SUPPLIERS,
        supply.SUPPLIER_TERMS,
        production.BOM_LINES,
        supply.WAREHOUSES,
        supply.STOCK,
        production.WORK_CENTRES,
        production.ROUTINGS,
        production.SHIFTS,
        production.PLANNED_STOPS,
        production.CAPACITY_EVENTS,
        production.CALENDAR_DAYS,
        orders.OPEN_ORDERS,
        orders.FIRM_ORDERS,
        orders.DEMAND,
        orders.SALES_LINES,
    )
}

__all__ = ["DTYPES", "FIRST_DATE", "LAST_DATE", "TARGETS", "Field", "Kind", "Target", "literal"]
