"""`fmrp up`: the stack until Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from datetime import UTC, datetime

from rich.console import Console
from rich.panel import Panel

from cluster.demo.factory import generate
from cluster.local.stack import Stack
from settings import Settings


def up(settings: Settings, console: Console, *, demo_data: bool) -> None:
    """Start the stack, say where it is, and keep it up until interrupted."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    began = time.monotonic()
    with Stack(settings, lambda text: console.print(f"[dim]{text}[/dim]")) as stack:
        if demo_data and not any(settings.inbox_dir.iterdir()):
            generate(settings.inbox_dir, today=datetime.now(UTC).date())
            console.print("[dim]The demo factory's files are in the inbox: log in and start the day[/dim]")
        console.print(Panel(_welcome(stack), title=f"Forecasting MRP is up ({time.monotonic() - began:.0f} s)"))
        stack.watch(stopped.is_set)
        console.print("[dim]Stopping[/dim]")


def _welcome(stack: Stack) -> str:
    lines = [
        f"Dashboard   {stack.dashboard_url}",
        f"API         {stack.api_url}   docs: {stack.api_url}/docs",
        f"Inbox       {stack.settings.inbox_dir}",
        f"Log in as   {stack.settings.admin_email}",
    ]
    if stack.first_password:
        lines.append(f"Password    {stack.first_password}   (shown once; keep it)")
    return "\n".join([*lines, "", "Ctrl-C stops it; the data stays."])
