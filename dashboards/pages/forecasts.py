"""Forecasts: find an item, see its history, forecast and why that model; and how good the models are."""

from __future__ import annotations

import asyncio

import panel as pn
import panel_material_ui as pmui

from dashboards import format as f
from dashboards.api_client import ApiProblem
from dashboards.api_types import Demand, ForecastRun, ItemForecast, Paged, Series
from dashboards.fragments import badge, card, empty, facts, failure, pager, skeleton, table, title
from dashboards.markup import Markup
from dashboards.pages.accuracy import accuracy_table
from dashboards.pages.chart import forecast_figure
from dashboards.shell.context import Context
from dashboards.state import PageCursor
from dashboards.theme import FIELD_SX, NATURAL_HEIGHT, PLATE


class ForecastsPage:
    """Item list on the left, the chosen item's chart and facts on the right, accuracy below."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._cursor = PageCursor(size=12)
        self._asked = self._asked_item = 0
        self._series: dict[str, Series] = {}
        self._chosen: str | None = None
        self._drawn: tuple[Demand, ItemForecast] | None = None
        self._heading = Markup(title("Forecasts", " "))
        self._search = pmui.TextInput(
            label="Search item or name",
            size="small",
            css_classes=["fmrp-item-search"],
            sizing_mode="stretch_width",
            margin=(0, 0, 12, 0),
            sx=FIELD_SX,
        )
        self._search.param.watch(self._searched, "value_input")
        self._list = Markup(skeleton("Items"), on_action=self._act, css_classes=["fmrp-item-list"])
        self._facts = Markup(skeleton("Forecast"), css_classes=["fmrp-item-facts"])
        self._chart = pn.pane.Bokeh(
            None,
            sizing_mode="stretch_width",
            height=400,
            visible=False,
            css_classes=["fmrp-forecast-chart"],
            margin=0,
            # Padding and margins count within the pane's height and would push the time axis out of sight.
            styles={**PLATE, "padding": "0", "margin-bottom": "0", "overflow": "hidden"},
        )
        self._accuracy = Markup(skeleton("Accuracy"), on_action=self._act)
        left = pn.Column(self._search, self._list, width=360, margin=(0, 16, 0, 0), styles=NATURAL_HEIGHT)
        right = pn.Column(self._facts, self._chart, sizing_mode="stretch_width", min_width=380, styles=NATURAL_HEIGHT)
        self.view = pn.Column(
            self._heading,
            pn.Row(left, right, sizing_mode="stretch_width", styles=NATURAL_HEIGHT),
            self._accuracy,
            sizing_mode="stretch_width",
            css_classes=["fmrp-page-forecasts"],
            styles=NATURAL_HEIGHT,
        )

    async def load(self) -> None:
        """The run's accuracy and the first page of items; the first item is opened."""
        try:
            run = await self._context.api.latest_forecast()
        except ApiProblem as problem:
            self._accuracy.html = card("Accuracy", failure(self._context.explain(problem)))
            run = None
        else:
            self._show_run(run)
        await self._load_series()

    def jobs_changed(self) -> None:
        """Forecasts change with a run, not with the jobs; the frame loads them anew when visited."""

    def dark_changed(self, dark: bool) -> None:
        """Draw the chart in the other theme's colours."""
        self._draw(dark)

    async def _searched(self, _: object) -> None:
        self._cursor.reset()
        await self._load_series()

    async def _act(self, action: str, value: str) -> None:
        if action == "item":
            await self._open(value)
        elif action == "reload":
            await self.load()
        else:
            self._cursor.forward() if action == "next" else self._cursor.back()
            await self._load_series()

    async def _load_series(self) -> None:
        self._asked += 1
        asked = self._asked
        search = (self._search.value_input or "").strip()
        try:
            page = await self._context.api.series(search, self._cursor.size, self._cursor.current)
        except ApiProblem as problem:
            if asked == self._asked:
                self._list.html = card("Items", failure(self._context.explain(problem)))
            return
        if asked != self._asked:
            return
        self._cursor.arrived(len(page.items), page.total, page.next_cursor)
        self._series.update({s.item: s for s in page.items})
        listed = [s.item for s in page.items]
        self._show_list(page)
        if listed and self._chosen not in listed:
            await self._open(listed[0])
        elif not listed and self._chosen is None:
            self._facts.html = card(
                "Forecast", empty("No forecast to show", "Forecasts appear after the first day has run.")
            )

    async def _open(self, item: str) -> None:
        self._chosen = item
        self._asked_item += 1
        asked = self._asked_item
        self._list.html = self._list.html.replace('class="fmrp-item chosen"', 'class="fmrp-item"').replace(
            f'class="fmrp-item" data-key="{f.text(item)}"', f'class="fmrp-item chosen" data-key="{f.text(item)}"'
        )
        try:
            demand, forecast = await asyncio.gather(
                self._context.api.weekly_demand(item), self._context.api.item_forecast(item)
            )
        except ApiProblem as problem:
            if asked == self._asked_item:
                self._facts.html = card(item, failure(self._context.explain(problem)))
                self._chart.visible = False
            return
        if asked == self._asked_item:
            self._drawn = (demand, forecast or ItemForecast(item=item))
            self._draw(self._context.dark)

    def _draw(self, dark: bool) -> None:
        if self._drawn is None:
            return
        demand, forecast = self._drawn
        self._facts.html = _item_facts(forecast, self._series.get(forecast.item))
        self._chart.visible = bool(demand.rows or forecast.rows)
        if self._chart.visible:
            self._chart.object = forecast_figure(demand.rows, forecast.rows, "", dark)

    def _show_run(self, run: ForecastRun | None) -> None:
        if run is None:
            self._heading.html = title("Forecasts", "No forecast yet")
            self._accuracy.html = ""
            return
        made = f.ago(run.created_at, self._context.now())
        sub = (
            f"{f.number(run.items)} items, {f.number(run.horizon_weeks)} weeks ahead, as of"
            f" {f.day(run.as_of)}, made {made}"
        )
        self._heading.html = title("Forecasts", sub)
        aside = "Backtest over several cutoffs; lower is better for WQL, RMSSE, MASE and WAPE"
        self._accuracy.html = card("Accuracy against the baselines", accuracy_table(run.metrics or []), aside)

    def _show_list(self, page: Paged[Series]) -> None:
        if not page.items:
            self._list.html = card("Items", empty("No item found", "Try another code or a part of the name."))
            return
        rows = (_series_row(s, s.item == self._chosen) for s in page.items)
        heads = (("Item", ""), ("Class", ""), ("", "num"))
        self._list.html = card("Items", table(heads, rows) + pager(self._cursor, "items"))


def _series_row(series: Series, chosen: bool) -> str:
    return (
        f'<tr class="fmrp-item{" chosen" if chosen else ""}" data-key="{f.text(series.item)}"'
        f' data-action="item" tabindex="0"'
        f' data-value="{f.text(series.item)}"><td><span class="mono">{f.text(series.item)}</span>'
        f'<span class="sub cut" style="max-width:170px">{f.text(series.name)}</span></td>'
        f'<td class="small soft">{f.text(f.label(series.demand_class))}</td>'
        f'<td class="num">{badge(_abc_xyz(series.abc, series.xyz), plain=True)}</td></tr>'
    )


def _abc_xyz(abc: str | None, xyz: str | None) -> str | None:
    return f"{abc or ''}{xyz or ''}".upper() or None


def _item_facts(forecast: ItemForecast, series: Series | None) -> str:
    known = series or Series(item=forecast.item)
    abc = _abc_xyz(forecast.abc or known.abc, forecast.xyz or known.xyz)
    pairs = [
        ("Model", f'<span class="fmrp-model">{f.text(f.model_name(forecast.model or known.model))}</span>'),
        ("Demand class", f.text(f.label(forecast.demand_class or known.demand_class))),
        ("ABC/XYZ", f.text(abc)),
        ("Service level", f.percent(known.service_level)),
        ("Lead time", f"{f.quantity(known.lead_time_weeks)} weeks" if known.lead_time_weeks is not None else f.NONE),
        ("Demand over lead time", f.quantity(known.lead_time_mean)),
        ("Demand at service level", f.quantity(known.lead_time_quantile)),
    ]
    reason = forecast.reason or known.reason
    why = f'<p class="soft fmrp-reason" style="margin-top:12px">Why this model: {f.text(reason)}</p>' if reason else ""
    name = forecast.name or known.name
    aside = f'<span class="mono fmrp-item-code">{f.text(forecast.item)}</span>'
    if not forecast.rows:
        why += '<p class="soft" style="margin-top:12px">This item has no forecast in the newest run.</p>'
    return card(name or forecast.item, f'<div class="body">{facts(pairs)}{why}</div>', aside)
