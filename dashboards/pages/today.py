"""Today: what is urgent, what it costs, how good the forecasts are, and the run that produced it all."""

from __future__ import annotations

import asyncio
import uuid

import panel as pn
import panel_material_ui as pmui

from dashboards import format as f
from dashboards.api_client import ApiProblem
from dashboards.api_types import ForecastRun, Job, Order, Paged, Plan
from dashboards.fragments import PRIORITIES, badge, bar, card, empty, failure, skeleton, title
from dashboards.markup import Markup
from dashboards.pages.accuracy import gain_over_naive
from dashboards.pages.order_table import order_table
from dashboards.shell.context import Context
from dashboards.state import DAY_STEPS
from dashboards.theme import NATURAL_HEIGHT

_STEP_NAMES = {"ingest": "Take in data", "forecast": "Forecast", "plan": "Plan"}


class TodayPage:
    """Overview with the button that starts the day; only roles that may start jobs see the button."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._plan: Plan | None = None
        self._forecast: ForecastRun | None = None
        self._loaded = False
        self._seen_day: tuple[str, str] | None = None
        self._heading = Markup(title("Today", " "))
        self._start = pmui.Button(
            label="Start the day",
            color="primary",
            variant="contained",
            icon="play_arrow",
            css_classes=["fmrp-start-day"],
            visible=context.user.may_operate,
            width=160,
            margin=0,
            align="center",
        )
        self._start.on_click(self._start_day)
        self._kpis = Markup(_kpi_skeleton(), on_action=self._act, css_classes=["fmrp-kpis"])
        self._day = Markup(css_classes=["fmrp-day"], on_action=self._act)
        self._orders = Markup(skeleton("Most urgent orders"), on_action=self._act)
        self.view = pn.Column(
            pn.Row(self._heading, self._start, sizing_mode="stretch_width", styles=NATURAL_HEIGHT),
            self._kpis,
            self._day,
            self._orders,
            sizing_mode="stretch_width",
            css_classes=["fmrp-page-today"],
            styles=NATURAL_HEIGHT,
        )
        self.jobs_changed()

    async def load(self) -> None:
        """Plan, forecast run and the ten most urgent orders, read at the same time."""
        api = self._context.api
        try:
            self._plan, self._forecast, urgent = await asyncio.gather(
                api.latest_plan(), api.latest_forecast(), api.orders({"kind": "purchase", "limit": 10})
            )
        except ApiProblem as problem:
            self._orders.html = card("Most urgent orders", failure(self._context.explain(problem)))
            self._kpis.html = ""
            return
        self._loaded = True
        self._show(urgent)

    def jobs_changed(self) -> None:
        """Move the day's bars; read the figures anew when a day has just ended."""
        day = self._context.board.day()
        self._start.disabled = day is not None and day.active
        self._day.html = self._day_card(day)
        if self._loaded:
            self._kpis.html = self._kpi_cards()
        seen = (day.id, day.state) if day else None
        if self._seen_day and seen and seen != self._seen_day and day is not None and not day.active:
            pn.state.execute(self.load)
        self._seen_day = seen

    def dark_changed(self, dark: bool) -> None:
        """Nothing here depends on the theme."""

    async def _start_day(self, _: object) -> None:
        self._start.disabled = True
        try:
            job = await self._context.api.start_job("day", str(uuid.uuid4()))
        except ApiProblem as problem:
            self._start.disabled = False
            self._context.notify(self._context.explain(problem), "error")
            return
        self._context.board.put(job)

    async def _act(self, action: str, value: str) -> None:
        if action == "reload":
            await self.load()
        elif action == "go":
            self._context.go(value)

    def _show(self, urgent: Paged[Order]) -> None:
        now = self._context.now()
        plan = self._plan
        sub = f"Plan as of {f.day(plan.as_of)}, made {f.ago(plan.created_at, now)}" if plan else "No plan yet"
        self._heading.html = title("Today", sub)
        self._kpis.html = self._kpi_cards()
        if urgent.items:
            body = order_table(urgent.items, now.date())
            link = '<a href="/purchasing" data-action="go" data-value="/purchasing">All purchase orders</a>'
        else:
            body, link = empty("Nothing to order", "Purchase orders appear here after the first day has run."), ""
        self._orders.html = card("Most urgent orders", body, link)

    def _kpi_cards(self) -> str:
        summary = self._plan.summary if self._plan else None
        urgent = None if summary is None else summary.critical + summary.high
        counts = (
            "".join(f'<span class="badge {p}">{f.number(getattr(summary, p))} {p}</span>' for p in PRIORITIES[:3])
            if summary
            else "No plan yet"
        )
        value = f.short_money(summary.purchase_value) if summary else f.NONE
        bought = f"{f.number(summary.purchase_orders)} purchase orders" if summary else "No plan yet"
        return (
            '<div class="kpis">'
            + _kpi("urgent", "Urgent orders", f.number(urgent), counts, "/purchasing")
            + _kpi("value", "Purchase value", value, bought, "/purchasing")
            + self._run_kpi()
            + self._accuracy_kpi()
            + "</div>"
        )

    def _run_kpi(self) -> str:
        day, now = self._context.board.day(), self._context.now()
        if day is None:
            return _kpi("run", "Last run", f.NONE, "The day has not run yet", "/jobs")
        when = day.finished_at or day.started_at or day.created_at
        took = f.elapsed(day.started_at, day.finished_at, now)
        foot = f"{badge(day.state)} {f.ago(when, now)}"
        return _kpi("run", "Last run", f.duration(took) if took is not None else "Waiting", foot, "/jobs")

    def _accuracy_kpi(self) -> str:
        gain = gain_over_naive(self._forecast.metrics or []) if self._forecast else None
        if gain is None:
            return _kpi("accuracy", "Forecast accuracy", f.NONE, "No backtest yet", "/forecasts")
        word = "better" if gain >= 0 else "worse"
        foot = f"{word} than seasonal naive (WQL)"
        return _kpi("accuracy", "Forecast accuracy", f.percent(abs(gain)), foot, "/forecasts")

    def _day_card(self, day: Job | None) -> str:
        if day is None:
            hint = (
                "Start the day to take in new data, forecast and plan."
                if self._context.user.may_operate
                else ("An operator starts it, or the schedule does.")
            )
            return card("The day", empty("No day has run yet", hint))
        steps = {job.kind: job for job in self._context.board.children(day.id)}
        columns = "".join(_step(kind, steps.get(kind)) for kind in DAY_STEPS)
        percent = f'<span class="fmrp-day-percent">{day.share * 100:.0f} %</span>'
        error = f'<p class="late" style="margin-top:14px">{f.text(f.sentence(day.error))}</p>' if day.error else ""
        body = (
            f'<div class="body"><div class="overall">{bar(day, "fmrp-day-progress")}</div><div'
            f' class="steps">{columns}</div>{error}</div>'
        )
        aside = f'{percent}<span class="fmrp-day-state" data-state="{f.text(day.state)}">{badge(day.state)}</span>'
        return card("The day", body, aside)


def _step(kind: str, job: Job | None) -> str:
    shown = job or Job(id="", kind=kind)
    note = f.sentence(shown.error) or shown.message or shown.step or ""
    if shown.state == "running" and (pace := f.pace(shown.rows_per_s, shown.eta_s)):
        note = f"{note} · {pace}".strip(" ·")
    return (
        f'<div class="step fmrp-step-{kind}" data-state="{f.text(shown.state)}"><div class="head">'
        f"<span>{_STEP_NAMES[kind]}</span>"
        f'{badge(shown.state)}</div>{bar(shown)}<div class="note">{f.text(note) if note else ""}</div></div>'
    )


def _kpi(key: str, name: str, value: str, foot: str, path: str) -> str:
    return (
        f'<a class="kpi fmrp-kpi-{key}" href="{path}" data-action="go" data-value="{path}"><span'
        f' class="name">{name}</span>'
        f'<span class="value">{value}</span><span class="foot">{foot}</span></a>'
    )


def _kpi_skeleton() -> str:
    return '<div class="kpis">' + '<div class="kpi"><div class="skeleton"></div></div>' * 4 + "</div>"
