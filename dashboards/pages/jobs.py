"""Jobs: what runs, what ran, what failed and why; cancel and retry."""

from __future__ import annotations

import panel as pn

from dashboards import format as f
from dashboards.api_client import ApiProblem
from dashboards.api_types import Job
from dashboards.fragments import badge, bar, card, empty, failure, table, title
from dashboards.markup import PLACE_OF_PARTS, Markup
from dashboards.shell.context import Context
from dashboards.theme import NATURAL_HEIGHT

_HEADS = (
    ("Job", ""),
    ("State", ""),
    ("Progress", ""),
    ("Now", ""),
    ("Started", "nowrap"),
    ("Duration", "num"),
    ("", ""),
)
_KINDS = {"day": "The day", "ingest": "Take in data", "forecast": "Forecast", "plan": "Plan", "tidy": "Tidy up"}
# By its own fault, or because it took its worker down: both wait for somebody to mend what is wrong.
_DEAD = frozenset({"failed", "held"})


class JobsPage:
    """Table over the shared job board; rows move with the event stream."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tracebacks: dict[str, str] = {}
        self._table = Markup(on_action=self._act, css_classes=["fmrp-jobs"])
        self.view = pn.Column(
            Markup(title("Jobs", "Progress arrives live.")),
            self._table,
            sizing_mode="stretch_width",
            css_classes=["fmrp-page-jobs"],
            styles=NATURAL_HEIGHT,
        )
        self.jobs_changed()

    async def load(self) -> None:
        """Read the newest jobs; what has ended stays ended."""
        try:
            page = await self._context.api.jobs(limit=50)
        except ApiProblem as problem:
            self._table.html = card("Newest jobs", failure(self._context.explain(problem)))
            return
        self._context.board.replace(page.items)
        self.jobs_changed()

    def jobs_changed(self) -> None:
        """Draw the rows anew; the browser patches what differs."""
        jobs = self._context.board.jobs()
        if not jobs:
            self._table.html = card(
                "Newest jobs", empty("No jobs yet", "Start the day, or upload a file, and its job shows here.")
            )
            return
        running = sum(job.state == "running" for job in jobs if job.parent_id is None)
        aside = f"{running} running" if running else "Nothing is running"
        aside += self._retry_all_button(sum(job.state in _DEAD and job.parent_id is None for job in jobs))
        frame = card("Newest jobs", table(_HEADS, [PLACE_OF_PARTS], "fmrp-job-table"), aside)
        self._table.show_parts(frame, {job.id: self._row(job) for job in jobs})

    def dark_changed(self, dark: bool) -> None:
        """Nothing here depends on the theme."""

    async def _act(self, action: str, value: str) -> None:
        if action == "reload":
            await self.load()
            return
        if action == "retry-dead" and self._context.user.may_operate:
            text = "Every failed job goes back into the queue. What fails again comes back here."
            self._context.confirm("Retry all failed jobs?", text, "Retry them all", self._retry_dead)
            return
        job = self._context.board.get(value)
        if job is None or not self._context.user.may_operate:
            return
        if action == "why":
            await self._toggle_traceback(job.id)
            return
        name = _KINDS.get(job.kind, f.label(job.kind))
        if action == "cancel":
            text = "What it has finished so far is kept; the rest is not done."
            self._context.confirm(f"Cancel “{name}”?", text, "Cancel the job", lambda: self._cancel(job.id))
        elif action == "retry":
            text = "The job goes back into the queue and starts again."
            self._context.confirm(f"Retry “{name}”?", text, "Retry the job", lambda: self._retry(job.id))

    async def _cancel(self, job_id: str) -> None:
        if await self._context.attempt(self._context.api.cancel_job(job_id), "The job is being cancelled."):
            await self.load()

    async def _retry(self, job_id: str) -> None:
        if await self._context.attempt(self._context.api.retry_job(job_id), "The job is in the queue again."):
            await self.load()

    async def _retry_dead(self) -> None:
        if await self._context.attempt(self._context.api.retry_dead_jobs(), "The failed jobs are in the queue again."):
            await self.load()

    async def _toggle_traceback(self, job_id: str) -> None:
        if self._tracebacks.pop(job_id, None) is None:
            try:
                found = await self._context.api.traceback(job_id)
            except ApiProblem as problem:
                self._context.notify(self._context.explain(problem), "error")
                return
            self._tracebacks[job_id] = found or "No traceback: the job's process ended before it could say why."
        self.jobs_changed()

    def _retry_all_button(self, dead: int) -> str:
        if dead < 2 or not self._context.user.may_operate:
            return ""
        return f' <button class="btn small fmrp-retry-dead" data-action="retry-dead">Retry all {dead} failed</button>'

    def _note(self, job: Job) -> str:
        """What a job says of itself: its error, with the traceback when asked for, or where it is."""
        error = f.sentence(job.error)
        if not error:
            pace = f.pace(job.rows_per_s, job.eta_s) if job.state == "running" else ""
            return f.text(job.message or job.step or None) + (f'<span class="sub">{pace}</span>' if pace else "")
        note = f'<span class="late fmrp-job-error">{f.text(error)}</span>'
        if job.id in self._tracebacks:
            style = "white-space:pre-wrap;max-height:320px;overflow:auto;font-size:12px"
            note += f'<pre class="fmrp-traceback" style="{style}">{f.text(self._tracebacks[job.id])}</pre>'
        return note

    def _row(self, job: Job) -> str:
        now = self._context.now()
        # With its schedule's retry steps a job may be tried more often than it is by itself.
        most = f" of {job.max_attempts}" if (job.attempts or 0) <= (job.max_attempts or 0) else ""
        attempts = f'<span class="sub">attempt {job.attempts}{most}</span>' if (job.attempts or 0) > 1 else ""
        source = f" · {f.text(job.source)}" if job.source else ""
        by = f'<span class="sub">{f.text(job.requested_by)}</span>' if job.requested_by and not job.parent_id else ""
        return (
            f'<tr class="fmrp-job {"child" if job.parent_id else ""}" data-key="{f.text(job.id)}"'
            f' data-kind="{f.text(job.kind)}"'
            f' data-state="{f.text(job.state)}"><td'
            f' class="nowrap">{f.text(_KINDS.get(job.kind, f.label(job.kind)))}{source}{by}</td>'
            f"<td>{badge(job.state)}{attempts}</td>"
            f'<td><div class="progress">{bar(job)}<span class="num">{job.share * 100:.0f} %</span></div></td>'
            f'<td style="max-width:340px;overflow-wrap:anywhere">{self._note(job)}</td><td'
            f' class="nowrap">{f.moment(job.started_at or job.created_at)}</td>'
            f'<td class="num">{f.duration(f.elapsed(job.started_at, job.finished_at, now))}</td><td'
            f' class="num">{self._button(job)}</td></tr>'
        )

    def _button(self, job: Job) -> str:
        if not self._context.user.may_operate:
            return ""
        key = f.text(job.id)
        if job.active:
            return f'<button class="btn small fmrp-cancel" data-action="cancel" data-value="{key}">Cancel</button>'
        retry = f'<button class="btn small fmrp-retry" data-action="retry" data-value="{key}">Retry</button>'
        why = f'<button class="btn small fmrp-why" data-action="why" data-value="{key}">Why?</button> '
        if job.state in _DEAD:
            return why + retry
        return retry if job.state == "cancelled" else ""
