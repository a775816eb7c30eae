"""Events: time from an actor's publish to 100 WebSocket clients, through the running stack, against a bare socket."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench.event_bare import NAME
from bench.events import Machine, percentile, processes, running_jobs, token
from cluster.local.redis import free_port
from cluster.local.stack import Stack
from settings import Settings

LIMIT_MS = 20.0
SETTLE_S = 2.0
BARE = "/bare"


def _start(module: str, stack: Stack, *arguments: str, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **stack._environment(), **more}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(process.stdout.readline())
    return told


def _ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a client process tells once its standard input ends."""
    assert process.stdin is not None
    process.stdin.close()
    told = _line(process)
    process.wait(30)
    return told


def _report(name: str, told: dict[str, Any], clients: int, expected: int) -> float:
    values = told["latencies"]
    if not values:
        print(f"  {name}: nothing arrived; closed {told['closed'] or 'none'}")
        return float("inf")
    marks = [(mark, percentile(values, share)) for mark, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))]
    line = ", ".join(f"{mark} {value:.1f} ms" for mark, value in marks)
    p95 = marks[1][1]
    print(
        f"  {name}: {line}, worst {max(values):.0f} ms; p95 = {p95 / LIMIT_MS:.2f} x limit of {LIMIT_MS:.0f} ms;"
        f" {len(values):,} of {expected * clients:,} arrived in {told['frames']:,} frames;"
        f" closed {told['closed'] or 'none'}"
    )
    return p95


class Cost:
    """Time of a core that each frame takes in the processes it goes through: what neighbours on the machine do not
    change much, other than how long it takes."""

    def __init__(self, found: dict[str, psutil.Process]) -> None:
        self._found = {name: process for name, process in found.items() if name in ("API replica", "Serve proxy")}
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        return {name: sum(process.cpu_times()[:2]) for name, process in self._found.items()}

    def report(self, frames: int) -> None:
        """Since it was made."""
        spent = ((name, (now - self._before[name]) * 1e6 / max(1, frames)) for name, now in self._now().items())
        print("  a frame costs " + ", ".join(f"the {name} {cost:.0f} us" for name, cost in spent))


def measure(stack: Stack, ids: list[str], clients: int, rate: float, seconds: float, query: str) -> float:
    """One round of our events; returns the p95 in ms."""
    url = stack.api_url.replace("http", "ws", 1) + f"/events?topic=jobs{query}"
    listeners = _start("bench.event_clients", stack, str(clients), url, FMRP_TOKEN=token(stack))
    _line(listeners)
    time.sleep(SETTLE_S)
    machine, cost = Machine(), Cost(processes(stack))
    publisher = _start("bench.events_load", stack, "publish", str(rate), str(seconds), *ids)
    published = _line(publisher)
    publisher.wait(30)
    time.sleep(0.5)
    told = _ended(listeners)
    p95 = _report("events", told, clients, published["sent"])
    cost.report(told["frames"])
    machine.report()
    return p95


def measure_bare(stack: Stack, clients: int, rate: float, seconds: float) -> float:
    """The same number of sockets of a bare Litestar handler that sends the time, through the same proxy."""
    url = stack.api_url.replace("http", "ws", 1).removesuffix("/api/v1") + f"{BARE}?rate={rate}"
    listeners = _start("bench.event_clients", stack, str(clients), url, FMRP_TOKEN="")
    _line(listeners)
    cost = Cost(processes(stack, f"ServeReplica:{NAME}:"))
    time.sleep(seconds)
    told = _ended(listeners)
    p95 = _report("bare socket", told, clients, int(rate * seconds))
    cost.report(told["frames"])
    return p95


def run(clients: int, rates: list[float], seconds: float, rounds: int, query: str = "") -> None:
    """Start a stack and measure each rate several times, our events and bare sockets in turn."""
    with tempfile.TemporaryDirectory(prefix="fmrp-bench-") as folder:
        settings = Settings(data_dir=Path(folder), api_port=free_port(), dashboard_port=free_port())
        with Stack(settings, say=lambda _: None) as stack:
            ids = asyncio.run(running_jobs(stack.settings))
            bare = _start("bench.event_bare", stack, (stack._run / "ray.address").read_text())
            _line(bare)
            for rate in rates:
                print(f"{clients} sockets, {rate:.0f} events/s, {seconds:.0f} s a round")
                pairs = []
                for _ in range(rounds):
                    ours = measure(stack, ids, clients, rate, seconds, query)
                    pairs.append((ours, measure_bare(stack, clients, rate, min(seconds, 10.0))))
                ours_p95, bare_p95 = (sorted(values) for values in zip(*pairs, strict=True))
                print(
                    f"  p95 over {rounds} rounds: events {ours_p95[0]:.1f} to {ours_p95[-1]:.1f} ms, bare socket"
                    f" {bare_p95[0]:.1f} to {bare_p95[-1]:.1f} ms"
                )
            assert bare.stdin is not None
            bare.stdin.close()
            bare.wait(60)


def main(arguments: list[str] | None = None) -> None:
    """Without arguments the short form, as one of all benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m bench.event_latency", description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rates", type=float, nargs="+", default=[10.0], help="events published a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--query", default="", help="added to the clients' address, such as &frames=batch")
    given = parser.parse_args(arguments or [])
    run(given.clients, given.rates, given.seconds, given.rounds, given.query)


if __name__ == "__main__":
    main(sys.argv[1:])
