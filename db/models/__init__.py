"""Every table, imported here so that migrations and `Base.metadata` see them all."""

from db.base import Base
from db.models.access import ApiKey, AuditEntry, RefreshToken, TokenFamily
from db.models.alert import Alert
from db.models.control import IngestRun, RejectedRow, SavedMapping, Source, SourceFile, UserAccount
from db.models.job import Job, JobLog, KindControl, Schedule, Worker
from db.models.master import (
    FirmOrder,
    Item,
    ItemCategory,
    OpenOrder,
    Stock,
    Supplier,
    SupplierTerm,
    Unit,
    UnitConversion,
    Warehouse,
)
from db.models.plant import DataVersion, PlantSetting
from db.models.production import (
    BomLine,
    CalendarDay,
    CapacityEvent,
    PlannedStop,
    RoutingOperation,
    Shift,
    WorkCentre,
)
from db.models.registry import ModelVersion
from db.models.results import (
    ActionMessage,
    CapacityLoad,
    ForecastMetric,
    ForecastRun,
    ForecastSeries,
    Pegging,
    PlannedOrder,
    PlanningRun,
    StockParameter,
)
from db.models.series import Capability, Demand, DemandMonth, DemandWeek, Forecast, JobEvent, RollupPending, SalesLine

__all__ = [
    "ActionMessage",
    "Alert",
    "ApiKey",
    "AuditEntry",
    "Base",
    "BomLine",
    "CalendarDay",
    "Capability",
    "CapacityEvent",
    "CapacityLoad",
    "DataVersion",
    "Demand",
    "DemandMonth",
    "DemandWeek",
    "FirmOrder",
    "Forecast",
    "ForecastMetric",
    "ForecastRun",
    "ForecastSeries",
    "IngestRun",
    "Item",
    "ItemCategory",
    "Job",
    "JobEvent",
    "JobLog",
    "KindControl",
    "ModelVersion",
    "OpenOrder",
    "Pegging",
    "PlannedOrder",
    "PlannedStop",
    "PlanningRun",
    "PlantSetting",
    "RefreshToken",
    "RejectedRow",
    "RollupPending",
    "RoutingOperation",
    "SalesLine",
    "SavedMapping",
    "Schedule",
    "Shift",
    "Source",
    "SourceFile",
    "Stock",
    "StockParameter",
    "Supplier",
    "SupplierTerm",
    "TokenFamily",
    "Unit",
    "UnitConversion",
    "UserAccount",
    "Warehouse",
    "WorkCentre",
    "Worker",
]
