"""Every table the API offers for keeping, in the order of its documentation."""

from __future__ import annotations

from db.records import TABLES
from ingestion.targets import TARGETS
from serve.resources.resource import AfterWrite, Resource
from serve.resources.structure_rules import no_bill_cycle, no_category_cycle
from serve.security import Role


def _of(
    target: str, one: str, many: str, *, tag: str, write: Role = "manager", after_write: AfterWrite | None = None
) -> Resource:
    found, path = TARGETS[target], target.replace("_", "-")
    return Resource(path, one, many, TABLES[target], found, found.about, tag, write=write, after_write=after_write)


RESOURCES: tuple[Resource, ...] = (
    _of("items", "item", "items", tag="Items"),
    _of("item_categories", "item category", "item categories", tag="Items", after_write=no_category_cycle),
    _of("units", "unit", "units", tag="Items"),
    _of("unit_conversions", "unit conversion", "unit conversions", tag="Items"),
    _of("suppliers", "supplier", "suppliers", tag="Purchasing"),
    _of("supplier_terms", "supplier term", "supplier terms", tag="Purchasing"),
    _of("bom_lines", "bom line", "bom lines", tag="Bills of material", after_write=no_bill_cycle),
    _of("warehouses", "warehouse", "warehouses", tag="Stock"),
    _of("stock", "stock", "stock", tag="Stock", write="operator"),
    _of("work_centres", "work centre", "work centres", tag="Production"),
    _of("routings", "routing operation", "routing operations", tag="Production"),
    _of("shifts", "shift", "shifts", tag="Production"),
    _of("planned_stops", "planned stop", "planned stops", tag="Production"),
    _of("capacity_events", "capacity event", "capacity events", tag="Production", write="operator"),
    _of("calendar_days", "calendar day", "calendar days", tag="Production"),
    _of("open_orders", "open order", "open orders", tag="Orders", write="operator"),
    _of("firm_orders", "firm order", "firm orders", tag="Orders", write="operator"),
)
