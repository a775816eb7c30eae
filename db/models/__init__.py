"""Every table, imported here so that migrations and `Base.metadata` see them all."""

from db.base import Base
from db.models.access import ApiKey, AuditEntry, RefreshToken, TokenFamily
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
from db.models.series import Capability, Demand, Forecast, SalesLine

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Base",
    "BomLine",
    "Capability",
    "CapacityLoad",
    "Demand",
    "FirmOrder",
    "Forecast",
    "ForecastMetric",
    "ForecastRun",
    "ForecastSeries",
    "IngestRun",
    "Item",
    "Job",
    "JobLog",
    "KindControl",
    "OpenOrder",
    "PlannedOrder",
    "PlanningRun",
    "RefreshToken",
    "RejectedRow",
    "RoutingOperation",
    "SalesLine",
    "Schedule",
    "Source",
    "SourceFile",
    "Stock",
    "Supplier",
    "SupplierTerm",
    "TokenFamily",
    "UserAccount",
    "WorkCentre",
    "Worker",
]
