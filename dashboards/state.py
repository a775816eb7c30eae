"""What the dashboard knows, apart from how it is shown: a process's job board and the choices of one session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec
import param

from dashboards.api_types import Job, JobEvent

DAY_STEPS = ("ingest", "forecast", "plan")
_FINISHED = frozenset({"done", "failed", "held", "cancelled"})
_EARLIEST = datetime.min.replace(tzinfo=UTC)


class JobBoard:
    """Newest state per job, at most `capacity` of them; tells its listeners that something changed, never what."""

    def __init__(self, capacity: int = 200) -> None:
        self._jobs: dict[str, Job] = {}
        self._capacity = capacity
        self._listeners: set[Callable[[], None]] = set()
        self.connection = "connecting"

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change; the returned function unsubscribes it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    @property
    def listeners(self) -> int:
        """How many sessions listen now."""
        return len(self._listeners)

    def set_connection(self, state: str) -> None:
        """Record the state of the event stream: connecting, live or reconnecting."""
        if state != self.connection:
            self.connection = state
            self._changed()

    def replace(self, jobs: Iterable[Job]) -> None:
        """Take a snapshot as the truth, except about jobs of which an event has told something newer meanwhile."""
        self._jobs = {job.id: self._newer(job) for job in jobs}
        self._changed()

    def _newer(self, job: Job) -> Job:
        known = self._jobs.get(job.id)
        is_newer = known is not None and known.changed_at and job.changed_at and known.changed_at > job.changed_at
        return known if known is not None and is_newer else job

    def put(self, job: Job) -> None:
        """Take one job just read by REST, unless an event has already told of its end."""
        known = self._jobs.get(job.id)
        if known is None or known.state not in _FINISHED or job.state in _FINISHED:
            self._jobs[job.id] = job
            self._trim()
            self._changed()

    def apply(self, *events: tuple[JobEvent, datetime | None]) -> None:
        """Fold events into the board, telling the listeners once. Their times date a job's start and end until a
        snapshot brings the real ones."""
        for event, at in events:
            self._fold(event, at)
        self._trim()
        self._changed()

    def _fold(self, event: JobEvent, at: datetime | None) -> None:
        old = self._jobs.get(event.job_id) or Job(id=event.job_id, created_at=at)
        if _is_late(event, old):
            return
        state = event.state or old.state
        restarted = old.state in _FINISHED and state in {"waiting", "running"}
        finished = at if state in _FINISHED else None
        self._jobs[event.job_id] = msgspec.structs.replace(
            old,
            kind=event.kind or old.kind,
            parent_id=event.parent_id or old.parent_id,
            state=state,
            progress=old.progress if event.progress is None and not restarted else event.progress,
            step=event.step,
            message=event.message,
            rate=event.rate,
            eta_s=event.eta_s,
            source=event.source or old.source,
            rows_per_s=event.rows_per_s,
            error=event.error,
            started_at=(at if state == "running" else None) if restarted else old.started_at or _start(state, at),
            finished_at=finished if restarted or old.finished_at is None else old.finished_at,
            changed_at=event.changed_at or old.changed_at,
            attempts=event.attempt or old.attempts,
        )

    def jobs(self) -> list[Job]:
        """All jobs known, newest first; a child directly after its parent, in the order the steps run."""
        tops = sorted((j for j in self._jobs.values() if j.parent_id not in self._jobs), key=_created, reverse=True)
        return [job for top in tops for job in (top, *self.children(top.id))]

    def children(self, parent_id: str) -> list[Job]:
        """Steps of a parent job, in the order they run."""
        return sorted((j for j in self._jobs.values() if j.parent_id == parent_id), key=_created)

    def day(self) -> Job | None:
        """The newest day, running or not."""
        return max((j for j in self._jobs.values() if j.kind == "day"), key=_created, default=None)

    def get(self, job_id: str) -> Job | None:
        """A job by id."""
        return self._jobs.get(job_id)

    def _trim(self) -> None:
        surplus = len(self._jobs) - self._capacity
        if surplus > 0:
            settled = sorted((j for j in self._jobs.values() if not j.active), key=_created)
            for job in settled[:surplus]:
                del self._jobs[job.id]

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            listener()


def _is_late(event: JobEvent, known: Job) -> bool:
    """Whether the event is older than what is known. Progress has no time: it counts while its attempt runs."""
    if event.changed_at is not None:
        return known.changed_at is not None and event.changed_at < known.changed_at
    if event.attempt is None or known.attempts is None:
        return False
    return event.attempt < known.attempts or (event.attempt == known.attempts and known.state != "running")


def _created(job: Job) -> tuple[datetime, int]:
    at = job.created_at or _EARLIEST
    order = DAY_STEPS.index(job.kind) if job.kind in DAY_STEPS else 0
    return (at if at.tzinfo else at.replace(tzinfo=UTC), order)


def _start(state: str, at: datetime | None) -> datetime | None:
    return at if state in {"running", "done", "failed"} else None


class PageCursor(param.Parameterized):  # type: ignore[misc]
    """Where a session stands in a list read by cursors; going back needs the cursors already used."""

    size = param.Integer(default=50)
    total = param.Integer(default=0)
    shown = param.Integer(default=0)
    used = param.List(default=[])
    following = param.String(default=None, allow_None=True)

    @property
    def current(self) -> str | None:
        """Cursor of the page shown; None for the first."""
        return self.used[-1] if self.used else None

    @property
    def first(self) -> int:
        """Number of the first row shown, counted from 1."""
        return int(len(self.used) * self.size + 1)

    def reset(self) -> None:
        """Back to the first page (a filter changed)."""
        self.used, self.following = [], None

    def forward(self) -> None:
        """One page on, where there is one."""
        if self.following:
            self.used, self.following = [*self.used, self.following], None

    def back(self) -> None:
        """One page back, where there is one."""
        self.used = self.used[:-1]

    def arrived(self, shown: int, total: int | None, following: str | None) -> None:
        """Note what the page just read holds."""
        self.shown, self.following = shown, following
        self.total = total if total is not None else self.first - 1 + shown


class OrderFilter(param.Parameterized):  # type: ignore[misc]
    """Which planned orders a session wants to see. Empty means any."""

    kind = param.String(default="purchase")
    priority = param.String(default="")
    supplier = param.String(default="")
    search = param.String(default="")

    def params(self) -> dict[str, str]:
        """The filter as the API's query parameters."""
        chosen = {name: getattr(self, name) for name in ("kind", "priority", "supplier", "search")}
        return {name: value for name, value in chosen.items() if value}
