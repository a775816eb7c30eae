"""Events: time from an actor's publish to a browser's DOM on the real stack, with many sockets open, and its memory."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from actors.owner import Connections
from bench.events_load import JOBS
from cluster.local.redis import free_port
from cluster.local.stack import Stack
from db.models import Job
from settings import Settings

LIMIT_MS = 100.0
WARM_UP_S = 5.0
SAMPLE_S = 5.0
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
# Runs in the page: every text that changes below the table's root, with the time it changed.
OBSERVE = """table => {
  window.seen = []
  const look = (node) => {
    for (const [, at] of (node.data ?? node.textContent).matchAll(/@([0-9.]+)/g)) {
      window.seen.push(performance.timeOrigin + performance.now() - Number(at))
    }
  }
  new MutationObserver((records) => {
    for (const record of records) {
      if (record.type === "characterData") { look(record.target) }
      for (const node of record.addedNodes) { look(node) }
    }
  }).observe(table.getRootNode(), {subtree: true, childList: true, characterData: true})
}"""
TAKE = "() => { const taken = window.seen; window.seen = []; return taken }"


async def running_jobs(settings: Settings) -> list[str]:
    """Rows of jobs that run, as the snapshot must know them. Parents: no dispatcher looks for their worker."""
    connections = Connections(settings, "bench")
    try:
        async with connections.sessions.begin() as session:
            jobs = [Job(kind="day", state="running", started_at=datetime.now(UTC), attempts=1) for _ in range(JOBS)]
            session.add_all(jobs)
            await session.flush()
            return [str(job.id) for job in jobs]
    finally:
        await connections.close()


def processes(stack: Stack, replica: str = "ServeReplica:api:") -> dict[str, psutil.Process]:
    """The processes events go through, by name."""
    found: dict[str, psutil.Process] = {}
    for name, child in (("redis", stack._redis and stack._redis._process), ("dashboard", stack._dashboard)):
        if child and child._process:
            found[name] = psutil.Process(child._process.pid)
    assert stack._ray is not None
    assert stack._ray._process is not None
    for child in psutil.Process(stack._ray._process.pid).children(recursive=True):
        with suppress(psutil.Error):
            title = " ".join(child.cmdline())
            for name, needle in (("API replica", replica), ("Serve proxy", "ProxyActor")):
                if needle in title:
                    found[name] = child
    return found


class Memory:
    """Resident memory of the processes over time, in MB."""

    def __init__(self, processes: dict[str, psutil.Process]) -> None:
        self._processes = processes
        self._samples: dict[str, list[tuple[float, float]]] = {name: [] for name in processes}
        self._cpu = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
        self._began = time.monotonic()

    def sample(self) -> None:
        """Look once."""
        for name, process in self._processes.items():
            self._samples[name].append((time.monotonic() - self._began, process.memory_info().rss / 2**20))

    def report(self) -> None:
        """How it went, and how fast it grows over the second half, when caches are full."""
        took_s = time.monotonic() - self._began
        for name, samples in self._samples.items():
            half = samples[len(samples) // 2 :]
            slope = statistics.linear_regression(*zip(*half, strict=True)).slope * 60 if len(half) > 2 else 0.0
            cpu = sum(self._processes[name].cpu_times()[:2]) - self._cpu[name]
            way = " ".join(f"{samples[round(part * (len(samples) - 1) / 10)][1]:.0f}" for part in range(11))
            print(
                f"  {name:<12} {cpu / took_s:4.0%} of a core; MB at each tenth: {way};"
                f" {slope:+.2f} MB/min over the second half"
            )


class Machine:
    """How busy all cores were, and by how much of it the processes of this benchmark."""

    def __init__(self) -> None:
        self._cores = psutil.cpu_count() or 1
        self._began = self._now()

    def _now(self) -> tuple[float, float, float]:
        times, ours = psutil.cpu_times(), 0.0
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            with suppress(psutil.Error):
                ours += sum(process.cpu_times()[:2])
        return time.monotonic(), sum(times) - times.idle - times.iowait, ours

    def report(self) -> None:
        """Since it was made."""
        took_s, busy, ours = (now - then for now, then in zip(self._now(), self._began, strict=True))
        whole = took_s * self._cores
        print(f"  {self._cores} cores: {busy / whole:.0%} busy, {ours / whole:.0%} with this benchmark")


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _open_dashboard(browser: Any, stack: Stack) -> Any:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(30_000)
    page.goto(f"{stack.dashboard_url}/jobs")
    page.fill("#email", stack.settings.admin_email)
    page.fill("#password", stack.first_password)
    page.click(".fmrp-login-submit")
    page.locator(".fmrp-job").first.wait_for()
    page.locator(".fmrp-job-table").evaluate(OBSERVE)
    return page


def token(stack: Stack) -> str:
    body = {"email": stack.settings.admin_email, "password": stack.first_password}
    return str(httpx.post(f"{stack.api_url}/auth/login", json=body, timeout=10).json()["access_token"])


def _load(stack: Stack, *arguments: str) -> subprocess.Popen[str]:
    secrets = {"FMRP_REDIS_URL": stack.settings.require_redis_url(), "FMRP_TOKEN": token(stack)}
    command = [sys.executable, "-m", "bench.events_load", *arguments]
    return subprocess.Popen(
        command, env={**os.environ, **secrets}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _counts(clients: subprocess.Popen[str], ask: bool = True) -> dict[str, float]:
    assert clients.stdin is not None
    assert clients.stdout is not None
    if ask:
        clients.stdin.write("\n")
        clients.stdin.flush()
    counts: dict[str, float] = json.loads(clients.stdout.readline())
    return counts


def _watch(page: Any, memory: Memory, publisher: subprocess.Popen[str]) -> list[float]:
    """Latencies in ms the page saw until the publisher has ended, without those of the warm-up."""
    page.wait_for_timeout(WARM_UP_S * 1000)
    page.evaluate(TAKE)
    latencies: list[float] = []
    while publisher.poll() is None:
        memory.sample()
        page.wait_for_timeout(SAMPLE_S * 1000)
        latencies += page.evaluate(TAKE)
    memory.sample()
    return latencies


def measure(stack: Stack, page: Any, ids: list[str], clients: int, rate: float, seconds: float, query: str) -> None:
    """Open the clients, publish, watch the page, report."""
    url = stack.api_url.replace("http", "ws", 1) + f"/events?topic=jobs&frames=batch{query}"
    listeners = _load(stack, "listen", str(clients), url)
    try:
        _counts(listeners, ask=False)  # all are open now
        publisher = _load(stack, "publish", str(rate), str(seconds), *ids)
        before, memory, machine = _counts(listeners), Memory(processes(stack)), Machine()
        latencies = _watch(page, memory, publisher)
        after = _counts(listeners)
        machine.report()
        assert publisher.stdout is not None
        published = json.loads(publisher.stdout.read())
    finally:
        assert listeners.stdin is not None
        listeners.stdin.close()
        listeners.wait(30)
    took_s = after["at"] - before["at"]
    each = {name: (after[name] - before.get(name, 0)) / took_s / clients for name in ("frames", "events", "bytes")}
    print(f"{clients} sockets, {published['rate']:.0f} events/s for {seconds:.0f} s ({published['sent']:,} published)")
    marks = [(name, percentile(latencies, share)) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))]
    told = ", ".join(f"{name} {value:.0f} ms = {value / LIMIT_MS:.2f} x limit" for name, value in marks)
    print(f"  publish to DOM: {told} of {LIMIT_MS:.0f} ms; {len(latencies):,} texts, worst {max(latencies):.0f} ms")
    closed = {name: count for name, count in after.items() if name.startswith("closed")}
    print(
        f"  each client: {each['frames']:.1f} frames/s, {each['events']:.0f} events/s, {each['bytes'] / 1024:.0f} KB/s"
        f"; closed by the server: {closed or 'none'}"
    )
    memory.report()


def _chromium() -> str | None:
    return os.environ.get("FMRP_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def run(clients: int, rate: float, seconds: float, query: str = "") -> None:
    """Start a stack and a browser, and measure once."""
    from playwright.sync_api import sync_playwright

    chromium = _chromium()
    if chromium is None:
        print("no Chromium: install Debian's package chromium, or set FMRP_CHROMIUM to its path")
        return
    with tempfile.TemporaryDirectory(prefix="fmrp-bench-") as folder:
        settings = Settings(data_dir=Path(folder), api_port=free_port(), dashboard_port=free_port())
        with Stack(settings, say=lambda _: None) as stack:
            ids = asyncio.run(running_jobs(stack.settings))
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
                measure(stack, _open_dashboard(browser, stack), ids, clients, rate, seconds, query)
                browser.close()


def main(arguments: list[str] | None = None) -> None:
    """Without arguments the short form, as one of all benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=500.0, help="events published a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--query", default="", help="added to the clients' address, such as &pace_ms=100")
    given = parser.parse_args(arguments or [])
    run(given.clients, given.rate, given.seconds, given.query)


if __name__ == "__main__":
    main(sys.argv[1:])
