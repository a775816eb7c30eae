"""What the demo prints at the end: rows, accuracy, the urgent orders, and where the time went."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from cluster.demo.client import Client

PRIORITY_STYLE = {"critical": "bold red", "high": "yellow", "medium": "cyan", "low": "dim"}


async def print_report(client: Client, console: Console, steps: list[dict[str, Any]]) -> None:
    """Print the day's results as the API tells them."""
    await _print_rows(client, console)
    await _print_accuracy(client, console)
    await _print_orders(client, console)
    _print_times(console, steps)


async def _print_rows(client: Client, console: Console) -> None:
    runs = (await client.get("/sources/runs", limit=100))["items"]
    table = Table("file", "read", "taken", "merged", "rejected", title="Rows: read = taken + merged + rejected")
    reasons: Counter[str] = Counter()
    for run in reversed(runs):
        table.add_row(run["file"], *(f"{run[name]:,}" for name in ("read", "taken", "merged", "rejected")))
        if run["rejected"]:
            rows = (await client.get(f"/sources/runs/{run['id']}/rejected-rows", limit=500))["items"]
            reasons.update(f"{run['file']}, {row['field']}: {row['reason']}" for row in rows)
    console.print(table)
    if reasons:
        console.print("[b]Why rows were rejected[/b] (most frequent first)")
        for reason, count in reasons.most_common(12):
            console.print(f"  {count:>4} x  {reason}", highlight=False, markup=False)


async def _print_accuracy(client: Client, console: Console) -> None:
    run = await client.get("/forecasts/latest")
    overall = {row["model"]: row for row in run["metrics"] if row["demand_class"] == "all"}
    table = Table("model", "series", "WQL", "RMSSE", "WAPE", "bias", title="Forecast accuracy in the backtest")
    baseline = overall.get("seasonal_naive")
    for model in ("chosen", "seasonal_naive", "moving_average"):
        if row := overall.get(model):
            values = ["-" if row[name] is None else f"{row[name]:.3f}" for name in ("wql", "rmsse", "wape", "bias")]
            table.add_row(model, str(row["series"]), *values)
    console.print(table)
    chosen = overall.get("chosen")
    if chosen and baseline and baseline["wql"] and baseline["rmsse"]:
        wql, rmsse = 1 - chosen["wql"] / baseline["wql"], 1 - chosen["rmsse"] / baseline["rmsse"]
        console.print(f"Against seasonal naive: WQL {wql:+.0%} better, RMSSE {rmsse:+.0%} better")


async def _print_orders(client: Client, console: Console) -> None:
    plan = await client.get("/plans/latest")
    orders = (await client.get("/plans/latest/orders", limit=10))["items"]
    summary = plan["summary"]
    table = Table(
        title=f"The ten most urgent of {summary['orders']:,} orders ({summary['purchase_orders']:,} purchase,"
        f" {summary['production_orders']:,} production; {summary['critical']} critical, {summary['high']} high)",
    )
    for heading in ("priority", "order", "release", "due", "because"):
        table.add_column(heading, no_wrap=heading in ("priority", "release", "due"))
    for order in orders:
        style = PRIORITY_STYLE.get(order["priority"], "")
        verb = f"buy from {order['supplier']}" if order["kind"] == "purchase" else "make"
        value = "" if order["value"] is None else f" for {order['value']:,.0f}"
        table.add_row(
            f"[{style}]{order['priority']}[/]",
            f"{order['item']} {order['name']}: {verb} {order['quantity']:,.0f} {order['unit']}{value}",
            order["release_date"],
            order["due_date"],
            order["cause"],
        )
    console.print(table)


def _print_times(console: Console, steps: list[dict[str, Any]]) -> None:
    table = Table("step", "seconds", "result", title="Time per step")
    for step in steps:
        took = datetime.fromisoformat(step["finished_at"]) - datetime.fromisoformat(step["started_at"])
        numbers = ", ".join(
            f"{name} {value:,}" for name, value in (step["result"] or {}).items() if isinstance(value, int)
        )
        table.add_row(step["kind"], f"{took.total_seconds():.1f}", numbers)
    console.print(table)
