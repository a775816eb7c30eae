"""What the API says and takes about jobs, their kinds, their dispatchers and their schedules."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, cast

import msgspec

from actors.kinds import Kind
from db.models.job import Job, JobLog, KindControl, Schedule, Worker
from db.models.series import JobEvent
from serve.parameters import Name, Options, choice, in_utc
from settings import RETRY_STEP

JobState = Literal["waiting", "running", "done", "failed", "held", "cancelled"]
MissedRuns = Literal["skip", "run_once", "run_all"]
LogLevel = Literal["info", "warning", "error"]
WorkerState = Literal["serving", "draining"]
KindName = Annotated[str, msgspec.Meta(max_length=100, extra_json_schema=choice("JobKind"))]
TimeZone = Annotated[str, msgspec.Meta(max_length=60, extra_json_schema=choice("TimeZone"))]
Priority = Annotated[int, msgspec.Meta(ge=-100, le=100, description="Higher goes first.")]


def _cron_field(values: str, more: str = "") -> str:
    term = rf"(\*|({values})(-({values}))?)(/[1-9][0-9]?)?{more}"
    return f"({term})(,({term}))*"


_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_FIELDS = (
    _cron_field("[0-5]?[0-9]"),
    _cron_field("[01]?[0-9]|2[0-3]"),
    _cron_field("0?[1-9]|[12][0-9]|3[01]", "|LW?"),
    _cron_field(f"0?[1-9]|1[0-2]|{_MONTHS}"),
    _cron_field("[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT", "|[0-7](L|#[1-5])"),
)
# What five fields can look like; that a range goes upwards and the day ever comes is checked afterwards.
CRON = f"^{' '.join(_FIELDS)}\\Z"
RetrySteps = Annotated[
    list[Annotated[str, msgspec.Meta(pattern=RETRY_STEP, max_length=5)]],
    msgspec.Meta(
        max_length=20,
        description="When a job it started is tried again while its source is away: times of the day in the schedule's"
        " zone (`06:30`), or delays (`30m`). Null: as the settings say for sources; empty: only within seconds.",
    ),
]
Attempts = Annotated[int, msgspec.Meta(ge=1, le=20)]


class JobIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to run. `day` takes parameters by step: {"plan": {"today": "2026-11-23"}}.

    `delay_s` or `run_at` defer it; without either it is due at once.
    """

    kind: KindName
    parameters: Options = {}
    priority: Priority = 0
    delay_s: Annotated[float, msgspec.Meta(ge=0, le=31_536_000)] = 0.0
    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    max_attempts: Attempts | None = None

    def due_at(self) -> datetime | None:
        """`run_at` in UTC; at the ends of the calendar, where an offset leads out of it, the end."""
        return None if self.run_at is None else in_utc(self.run_at)


class JobOut(msgspec.Struct, frozen=True):
    """A job as it stands. `failures` are attempts that failed, `losses` attempts whose worker died. Of one that reads a
    source, `source` is its code and `rows_per_s` how fast it reads, or has read in its last attempt."""

    id: uuid.UUID
    kind: str
    state: JobState
    priority: int
    progress: Annotated[float, msgspec.Meta(ge=0, le=1)]
    step: str
    message: str
    attempts: int
    failures: int
    losses: int
    max_attempts: int
    source: str | None
    rows_per_s: float | None
    parameters: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    cancel_requested: bool
    parent_id: uuid.UUID | None
    schedule_id: uuid.UUID | None
    requested_by: str
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    changed_at: datetime


class JobDetail(JobOut, frozen=True, kw_only=True):
    """A job with the traceback of its last failure, for those who mend it."""

    traceback: str | None
    worker: uuid.UUID | None


def job_out(job: Job) -> JobOut:
    """A stored job, without its traceback."""
    return JobOut(**{name: getattr(job, name) for name in JobOut.__struct_fields__})


def job_detail(job: Job, *, may_mend: bool) -> JobDetail:
    """A stored job; its traceback only for those who may do something about it."""
    fields = {name: getattr(job, name) for name in JobDetail.__struct_fields__}
    return JobDetail(**{**fields, "traceback": job.traceback if may_mend else None})


class LogLine(msgspec.Struct, frozen=True):
    """A line an attempt wrote."""

    id: int
    attempt: int
    at: datetime
    level: LogLevel
    message: str


def log_line(line: JobLog) -> LogLine:
    """A stored line."""
    return LogLine(line.id, line.attempt, line.at, cast("LogLevel", line.level), line.message)


class JobEventOut(msgspec.Struct, frozen=True):
    """A state a job came into. `attempt` counts its starts until then."""

    id: int
    at: datetime
    kind: str
    state: str
    attempt: int
    progress: float
    step: str
    message: str


def job_event_out(event: JobEvent) -> JobEventOut:
    """A stored change of state."""
    return JobEventOut(**{name: getattr(event, name) for name in JobEventOut.__struct_fields__})


class Retried(msgspec.Struct, frozen=True):
    """How many dead letters were put back into the queue."""

    retried: int


class KindOut(msgspec.Struct, frozen=True):
    """A kind of job. `concurrency` is the limit in force (0: none); `default_concurrency` the code's own."""

    name: str
    owner: str | None
    stages: list[str]
    paused: bool
    concurrency: int
    default_concurrency: int
    timeout_s: float
    changed_by: str | None
    changed_at: datetime | None


def kind_out(kind: Kind, control: KindControl | None) -> KindOut:
    """A kind with what an operator has set."""
    limit = control.concurrency if control is not None and control.concurrency is not None else kind.concurrency
    return KindOut(
        name=kind.name,
        owner=kind.owner,
        stages=[stage.kind for stage in kind.stages],
        paused=control.paused if control else False,
        concurrency=limit,
        default_concurrency=kind.concurrency,
        timeout_s=kind.timeout_s,
        changed_by=control.changed_by if control else None,
        changed_at=control.changed_at if control else None,
    )


class KindIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many jobs of a kind run at once: 0 any number, null what the code says."""

    concurrency: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None


class WorkerOut(msgspec.Struct, frozen=True):
    """A dispatcher that serves the queue."""

    id: uuid.UUID
    name: str
    host: str
    pid: int
    state: WorkerState
    started_at: datetime
    heartbeat_at: datetime


def worker_out(worker: Worker) -> WorkerOut:
    """A stored dispatcher."""
    return WorkerOut(**{name: getattr(worker, name) for name in WorkerOut.__struct_fields__})


class Drained(msgspec.Struct, frozen=True):
    """How many dispatchers were asked to hand over and end."""

    asked: int


class ScheduleIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When to start what. `cron` has five fields; `missed_runs` says what to do about times nothing ran."""

    name: Name
    kind: KindName
    cron: Annotated[str, msgspec.Meta(max_length=100, pattern=CRON)]
    time_zone: TimeZone | None = None
    parameters: Options = {}
    priority: Priority = 0
    missed_runs: MissedRuns = "run_once"
    retry_steps: RetrySteps | None = None
    enabled: bool = True


class ScheduleOut(msgspec.Struct, frozen=True):
    """A schedule, and when it runs next."""

    id: uuid.UUID
    name: str
    kind: str
    cron: str
    time_zone: str
    parameters: dict[str, Any]
    priority: int
    missed_runs: MissedRuns
    retry_steps: list[str] | None
    enabled: bool
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_job_id: uuid.UUID | None
    last_error: str | None
    revision: int
    created_at: datetime
    updated_at: datetime


def schedule_out(schedule: Schedule) -> ScheduleOut:
    """A stored schedule."""
    return ScheduleOut(**{name: getattr(schedule, name) for name in ScheduleOut.__struct_fields__})
