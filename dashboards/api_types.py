"""What the API answers, as typed structs.

Unknown fields are ignored and missing ones defaulted, so that API and dashboard can be upgraded apart.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class User(msgspec.Struct, frozen=True):
    """A person as the API knows them; `role` is one of viewer < operator < manager < admin."""

    email: str
    name: str = ""
    role: str = "viewer"
    must_change_password: bool = False

    @property
    def may_operate(self) -> bool:
        """True when the API lets this role start jobs and upload files."""
        return self.role in {"operator", "manager", "admin"}


class Login(msgspec.Struct, frozen=True):
    """Answer to a successful log-in or refresh; lives in seconds. A refresh token is good once."""

    access_token: str
    user: User
    expires_in: float = 3600.0
    refresh_token: str = ""
    refresh_expires_in: float = 0.0


class Paged(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; `next_cursor` is None on the last one."""

    items: list[T]
    next_cursor: str | None = None
    total: int | None = None


class Job(msgspec.Struct, frozen=True):
    """A durable job; `progress` in 0..1, times in UTC."""

    id: str
    kind: str = ""
    state: str = "waiting"
    progress: float | None = 0.0
    step: str | None = None
    message: str | None = None
    attempts: int | None = 0
    max_attempts: int | None = None
    parent_id: str | None = None
    requested_by: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Any = None
    rate: float | None = None
    eta_s: float | None = None
    source: str | None = None
    rows_per_s: float | None = None
    changed_at: datetime | None = None

    @property
    def active(self) -> bool:
        """True while the job can still move on its own."""
        return self.state in {"waiting", "running"}

    @property
    def share(self) -> float:
        """Progress clipped to 0..1, 1 for a finished job."""
        return 1.0 if self.state == "done" else min(1.0, max(0.0, self.progress or 0.0))


class JobDetail(msgspec.Struct, frozen=True):
    """What only one who asks for a job by itself is told."""

    id: str
    traceback: str | None = None


class Metric(msgspec.Struct, frozen=True):
    """Backtest accuracy of one model over the series of one demand class."""

    model: str
    demand_class: str | None = None
    series: int | None = None
    wql: float | None = None
    rmsse: float | None = None
    mase: float | None = None
    wape: float | None = None
    bias: float | None = None
    coverage_80: float | None = None


class ForecastRun(msgspec.Struct, frozen=True):
    """One forecast run with its backtest table."""

    id: str
    created_at: datetime | None = None
    as_of: date | None = None
    horizon_weeks: int | None = None
    items: int | None = None
    metrics: list[Metric] | None = None


class Series(msgspec.Struct, frozen=True):
    """What a forecast run decided about one item."""

    item: str
    name: str | None = None
    demand_class: str | None = None
    adi: float | None = None
    cv2: float | None = None
    abc: str | None = None
    xyz: str | None = None
    model: str | None = None
    reason: str | None = None
    service_level: float | None = None
    lead_time_weeks: float | None = None
    lead_time_mean: float | None = None
    lead_time_quantile: float | None = None


class ForecastWeek(msgspec.Struct, frozen=True):
    """Forecast of one week (Monday): mean and ordered quantiles, in the item's unit."""

    week: date
    mean: float
    q10: float
    q25: float
    q50: float
    q75: float
    q90: float


class ItemForecast(msgspec.Struct, frozen=True):
    """Forecast of one item, week by week."""

    item: str
    name: str | None = None
    model: str | None = None
    demand_class: str | None = None
    reason: str | None = None
    abc: str | None = None
    xyz: str | None = None
    rows: list[ForecastWeek] = []


class DemandRow(msgspec.Struct, frozen=True):
    """Demand of one day or week."""

    date: date
    quantity: float
    revenue: float | None = None


class Demand(msgspec.Struct, frozen=True):
    """Demand history of one item."""

    item: str
    rows: list[DemandRow] = []


class PlanSummary(msgspec.Struct, frozen=True):
    """Counts and value of the orders of a plan."""

    orders: int = 0
    purchase_orders: int = 0
    production_orders: int = 0
    purchase_value: float | None = None
    critical: int = 0
    high: int = 0
    medium: int = 0
    low: int = 0
    past_due: int = 0
    warnings: int = 0


class PlanWarning(msgspec.Struct, frozen=True):
    """Something in the data that the plan had to work around."""

    item: str | None = None
    field: str | None = None
    message: str = ""


class Plan(msgspec.Struct, frozen=True):
    """One plan: what it was made from and what it came to."""

    id: str
    created_at: datetime | None = None
    as_of: date | None = None
    horizon_days: int | None = None
    summary: PlanSummary = PlanSummary()
    warnings: list[PlanWarning] = []


class Order(msgspec.Struct, frozen=True):
    """A planned purchase or production order."""

    id: str
    kind: str
    item: str
    quantity: float
    name: str | None = None
    supplier: str | None = None
    supplier_name: str | None = None
    unit: str | None = None
    release_date: date | None = None
    due_date: date | None = None
    priority: str = "low"
    past_due_days: int | None = 0
    unit_cost: float | None = None
    value: float | None = None
    cause: Any = None


class Source(msgspec.Struct, frozen=True):
    """A place data comes from."""

    code: str
    name: str | None = None
    kind: str | None = None
    active: bool | None = None


class SourceRun(msgspec.Struct, frozen=True):
    """One file put through ingestion; read = taken + merged + rejected."""

    id: str
    file: str | None = None
    mapping: str | None = None
    target: str | None = None
    state: str = ""
    read: int | None = 0
    taken: int | None = 0
    merged: int | None = 0
    rejected: int | None = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Any = None


class RejectedRow(msgspec.Struct, frozen=True):
    """A row that was refused, with its line in the file and why."""

    line: int | None = None
    field: str | None = None
    reason: str = ""
    raw: Any = None


class Mapping(msgspec.Struct, frozen=True):
    """A saved way to read a file's columns."""

    name: str
    target: str | None = None
    description: str | None = None


class JobEvent(msgspec.Struct, frozen=True):
    """`data` of the event types job.progressed and job.changed."""

    job_id: str
    kind: str | None = None
    parent_id: str | None = None
    state: str | None = None
    progress: float | None = None
    step: str | None = None
    message: str | None = None
    rate: float | None = None
    eta_s: float | None = None
    source: str | None = None
    rows_per_s: float | None = None
    error: Any = None
    attempt: int | None = None
    changed_at: datetime | None = None


class Event(msgspec.Struct, frozen=True):
    """Envelope of an event; `id` is the place to resume after. What `data` holds depends on the type."""

    type: str
    id: str | None = None
    topic: str | None = None
    seq: int | None = None
    at: datetime | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


def events_of(frame: str | bytes) -> list[Event]:
    """The events of one frame: an array of them, or a single one.

    Raises:
        msgspec.MsgspecError: it is neither.
    """
    found = msgspec.json.decode(frame, type=Event | list[Event], strict=False)
    return found if isinstance(found, list) else [found]


def job_event_of(event: Event) -> JobEvent:
    """The data of a job.changed or job.progressed event; raises msgspec.MsgspecError where it is something else."""
    return msgspec.json.decode(event.data, type=JobEvent, strict=False)


def snapshot_of(event: Event) -> list[Job]:
    """The jobs of a snapshot event; raises msgspec.MsgspecError where its data is something else."""
    rows = msgspec.json.decode(event.data, type=dict[str, list[dict[str, Any]]])["jobs"]
    named = ({**row, "id": row["job_id"], "attempts": row.get("attempt")} for row in rows)
    return [msgspec.convert(row, Job, strict=False) for row in named]
