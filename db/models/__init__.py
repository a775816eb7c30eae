"""Every table, imported here so that migrations and `Base.metadata` see them all."""

from db.base import Base
from db.models.control import IngestRun, RejectedRow, Source, SourceFile, UserAccount
from db.models.job import Job, JobLog, KindControl, Schedule, Worker
from db.models.master import (
    BomLine,
    FirmOrder,
    Item,
    OpenOrder,
    RoutingOperation,
    Stock,
    Supplier,
    SupplierTerm,
    WorkCentre,
)
from db.models.results import CapacityLoad, ForecastMetric, ForecastRun, ForecastSeries, PlannedOrder, PlanningRun
from db.models.series import Capability, Demand, DemandMonth, DemandWeek, Forecast, JobEvent, RollupPending, SalesLine

__all__ = [
    "Base",
    "BomLine",
    "Capability",
    "CapacityLoad",
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
    "Job",
    "JobEvent",
    "JobLog",
    "KindControl",
    "OpenOrder",
    "PlannedOrder",
    "PlanningRun",
    "RejectedRow",
    "RollupPending",
    "RoutingOperation",
    "SalesLine",
    "Schedule",
    "Source",
    "SourceFile",
    "Stock",
    "Supplier",
    "SupplierTerm",
    "UserAccount",
    "WorkCentre",
    "Worker",
]
