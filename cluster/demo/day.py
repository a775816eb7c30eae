"""`fmrp demo`: a made-up factory, a throw-away stack, one whole day, and the report."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cluster.demo.client import Client
from cluster.demo.factory import generate
from cluster.demo.report import print_report
from cluster.local.redis import free_port
from cluster.local.stack import Stack
from settings import Settings

STEPS = ("ingest", "forecast", "plan")


def run_demo(settings: Settings, console: Console, *, items: int, seed: int) -> int:
    """Run the demo; the exit code is 0 when the day came to its end."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fmrp-demo-") as folder:
        own = settings.model_copy(
            update={"data_dir": Path(folder), "api_port": free_port(), "dashboard_port": free_port()}
        )
        own.inbox_dir.mkdir()
        console.print(f"[dim]Making a factory of {items} items with two years of sales (seed {seed})[/dim]")
        factory = generate(own.inbox_dir, today=datetime.now(UTC).date(), seed=seed, items=items)
        console.print(factory.describe(), highlight=False)
        with Stack(own, lambda text: console.print(f"[dim]{text}[/dim]")) as stack:
            ready = time.monotonic()
            console.print(f"Ready after {ready - began:.0f} s; dashboard meanwhile at {stack.dashboard_url}")
            is_done = _day_under_watch(stack, console)
            console.print(f"The day took {time.monotonic() - ready:.1f} s")
            console.print("[dim]Stopping[/dim]")
    console.print(f"Done in {time.monotonic() - began:.0f} s, nothing left running")
    return 0 if is_done else 1


def _day_under_watch(stack: Stack, console: Console) -> bool:
    over = threading.Event()
    watcher = threading.Thread(target=stack.watch, args=(over.is_set,), daemon=True)
    watcher.start()
    try:
        return asyncio.run(_day(stack, console))
    finally:
        over.set()
        watcher.join()


async def _day(stack: Stack, console: Console) -> bool:
    assert stack.first_password is not None, "a throw-away stack makes its first user"
    async with Client(stack.api_url) as client:
        await client.log_in(stack.settings.admin_email, stack.first_password)
        day = await client.start("day", key=str(uuid.uuid4()))
        with _bars(console) as progress:
            tasks = {name: progress.add_task(name, total=1.0, note="") for name in STEPS}

            def show(event: dict[str, Any]) -> None:
                data = event["data"]
                if (task := tasks.get(data.get("kind", ""))) is not None:
                    note = data.get("message") or data.get("step") or ""
                    progress.update(task, completed=data.get("progress") or 0.0, note=note)

            ended = await client.follow(day["id"], show)
            for task in tasks.values():
                progress.update(task, completed=1.0 if ended["state"] == "done" else None, note="")
        steps = sorted(
            (await client.get("/jobs", parent_id=day["id"]))["items"], key=lambda job: str(job["created_at"])
        )
        if ended["state"] != "done":
            console.print(f"[red]The day ended {ended['state']}[/red]: {ended['error']}", highlight=False)
            return False
        await print_report(client, console, steps)
        return True


def _bars(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    return Progress(*columns, TimeElapsedColumn(), TextColumn("[dim]{task.fields[note]}"), console=console)
