"""Purchasing: the orders of the newest plan, most urgent first, filtered and paged by the API."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui

from dashboards import format as f
from dashboards.api_client import ApiProblem
from dashboards.api_types import Order, Paged, Plan
from dashboards.fragments import PRIORITIES, card, empty, facts, failure, pager, skeleton, title
from dashboards.markup import Markup
from dashboards.pages.order_table import order_table
from dashboards.shell.context import Context
from dashboards.state import OrderFilter, PageCursor
from dashboards.theme import FIELD_SX, NATURAL_HEIGHT

_KIND_CHOICES = {"Purchase": "purchase", "Production": "production", "All": ""}


class PurchasingPage:
    """Filters above, totals of the plan, the list, and its download."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._filter = OrderFilter()
        self._cursor = PageCursor(size=50)
        self._asked = 0
        self._heading = Markup(title("Purchasing", " "), sizing_mode="stretch_width")
        self._totals = Markup(css_classes=["fmrp-totals"])
        self._list = Markup(skeleton("Orders"), on_action=self._act, css_classes=["fmrp-order-list"])
        self.view = pn.Column(
            self._heading,
            self._totals,
            self._filters(),
            self._list,
            sizing_mode="stretch_width",
            css_classes=["fmrp-page-purchasing"],
            styles=NATURAL_HEIGHT,
        )
        self._filter.param.watch(self._filtered, ["kind", "priority", "supplier", "search"])

    def _filters(self) -> Any:
        search = pmui.TextInput(
            label="Search item or name", width=230, size="small", margin=0, sx=FIELD_SX, css_classes=["fmrp-search"]
        )
        kind = pmui.Select(
            label="Kind",
            options=_KIND_CHOICES,
            value="purchase",
            width=150,
            size="small",
            margin=0,
            sx=FIELD_SX,
            css_classes=["fmrp-kind"],
        )
        choices = {"Any priority": ""} | {f.label(p): p for p in PRIORITIES}
        priority = pmui.Select(
            label="Priority",
            options=choices,
            value="",
            width=160,
            size="small",
            margin=0,
            sx=FIELD_SX,
            css_classes=["fmrp-priority"],
        )
        supplier = pmui.TextInput(
            label="Supplier code", width=160, size="small", margin=0, sx=FIELD_SX, css_classes=["fmrp-supplier"]
        )
        for widget, name in ((search, "search"), (kind, "kind"), (priority, "priority"), (supplier, "supplier")):
            widget.param.watch(lambda event, name=name: setattr(self._filter, name, (event.new or "").strip()), "value")
        return pn.FlexBox(
            search, kind, priority, supplier, sizing_mode="stretch_width", gap="12px", margin=(0, 0, 16, 0)
        )

    async def load(self) -> None:
        """Plan summary and the current page of orders; only the newest request is shown."""
        self._asked += 1
        asked = self._asked
        params = {**self._filter.params(), "limit": self._cursor.size, "cursor": self._cursor.current}
        try:
            plan, page = await asyncio.gather(self._context.api.latest_plan(), self._context.api.orders(params))
        except ApiProblem as problem:
            if asked == self._asked:
                self._list.html = card("Orders", failure(self._context.explain(problem)))
            return
        if asked == self._asked:
            self._cursor.arrived(len(page.items), page.total, page.next_cursor)
            self._show(plan, page)

    def jobs_changed(self) -> None:
        """The list changes with the plan, not with the jobs; the frame loads it anew when visited."""

    def dark_changed(self, dark: bool) -> None:
        """Nothing here depends on the theme."""

    async def _filtered(self, *_: object) -> None:
        self._cursor.reset()
        await self.load()

    async def _act(self, action: str, _: str) -> None:
        if action == "next":
            self._cursor.forward()
        elif action == "previous":
            self._cursor.back()
        await self.load()

    def _show(self, plan: Plan | None, page: Paged[Order]) -> None:
        now = self._context.now()
        made = (
            f"Plan as of {f.day(plan.as_of)}, made {f.ago(plan.created_at, now)}. Most urgent first."
            if plan
            else "No plan yet"
        )
        self._heading.html = title("Purchasing", made)
        self._totals.html = _totals(plan) if plan else ""
        if not page.items:
            hint = (
                "No order of the plan matches these filters." if plan else "Orders appear after the first day has run."
            )
            self._list.html = card("Orders", empty("No orders", hint))
            return
        csv = "/download/orders.csv?" + urlencode(self._filter.params())
        link = f'<a class="btn fmrp-download-csv" href="{f.text(csv)}" download>Download CSV</a>'
        noun = {"purchase": "purchase orders", "production": "production orders"}.get(self._filter.kind, "orders")
        self._list.html = card(f.label(noun), order_table(page.items, now.date()) + pager(self._cursor, noun), link)


def _totals(plan: Plan) -> str:
    summary = plan.summary
    late = f'<span class="late">{f.number(summary.past_due)}</span>' if summary.past_due else "0"
    values = [
        ("Purchase value", f.number(summary.purchase_value)),
        ("Purchase orders", f.number(summary.purchase_orders)),
        ("Production orders", f.number(summary.production_orders)),
        *((f.label(p), f'<span class="fmrp-total-{p}">{f.number(getattr(summary, p))}</span>') for p in PRIORITIES),
        ("Past due", late),
        ("Data warnings", f.number(summary.warnings)),
    ]
    return f'<section class="card"><div class="body">{facts(values)}</div></section>'
