"""Rows of planned orders, for the purchase list and for the day's overview."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from dashboards import format as f
from dashboards.api_types import Order
from dashboards.fragments import badge, table

HEADS = (
    ("Priority", ""),
    ("Item", ""),
    ("Supplier", ""),
    ("Quantity", "num"),
    ("Release", "nowrap"),
    ("Due", "nowrap"),
    ("Value", "num"),
)


def order_table(orders: Iterable[Order], today: date) -> str:
    """Table of orders in the order given."""
    return table(HEADS, (_row(order, today) for order in orders), "fmrp-orders")


def release_mark(order: Order) -> str:
    """Lateness of an order's release as HTML; empty when it is on time."""
    days = order.past_due_days or 0
    return (
        f'<span class="sub late fmrp-past-due">{days} day{"" if days == 1 else "s"} past due</span>' if days > 0 else ""
    )


def _row(order: Order, today: date) -> str:
    supplier = f.text(order.supplier_name or order.supplier) if order.kind == "purchase" else "In-house production"
    return (
        f'<tr class="fmrp-order" data-key="{f.text(order.id)}" data-priority="{f.text(order.priority)}">'
        f"<td>{badge(order.priority)}</td>"
        f'<td><span class="mono">{f.text(order.item)}</span><span class="sub">{f.text(order.name)}</span></td>'
        f'<td class="cut">{supplier}</td>'
        f'<td class="num">{f.quantity(order.quantity)} <span'
        f' class="soft">{f.text(order.unit) if order.unit else ""}</span></td>'
        f'<td class="nowrap">{f.short_day(order.release_date, today)}{release_mark(order)}</td>'
        f'<td class="nowrap">{f.short_day(order.due_date, today)}</td>'
        f'<td class="num">{f.number(order.value)}</td></tr>'
    )
