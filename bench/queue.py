"""The job queue beside BullMQ in one run: rates, latency, and what each leaves behind when worker and store are killed.

Run: python -m bench.queue
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import queue_kills
from bench.queue_bullmq import Missing, Peer
from bench.queue_ours import BATCH, Ours

ROUNDS = 3
DRAINED, SINGLY, PACED, RATE = 10_000, 1_000, 2_000, 200
LIMIT_DONE, LIMIT_SHARE, LIMIT_P95_MS = 1_500, 0.25, 20.0

Measure = Callable[[Ours | Peer], float]


def rounds(sides: dict[str, Ours | Peer], measure: Measure) -> dict[str, list[float]]:
    """Measure all sides in turn, several times, so that a busy moment of the machine meets both."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            found[name].append(measure(side))
    return found


def shown(values: list[float], form: str = ",.0f") -> str:
    """Median and spread."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def report(title: str, found: dict[str, list[float]], unit: str, form: str = ",.0f") -> dict[str, float]:
    """Print one figure of all sides and the ratio; returns the medians."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    told = "; ".join(f"{name} {shown(values, form)}" for name, values in found.items())
    ratio = f"; ours / BullMQ = {medians['ours'] / medians['BullMQ']:.2f}" if "BullMQ" in medians else ""
    print(f"{title}, {unit}: {told}{ratio}")
    return medians


def quantile(values: list[float], share: float) -> float:
    """The value below which that share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure_all(sides: dict[str, Ours | Peer]) -> None:
    """Print all figures and how they stand to their limits."""
    report(f"enqueue {BATCH} at a time", rounds(sides, lambda side: side.enqueue_rate(DRAINED, BATCH)), "jobs/s")
    report("enqueue singly, one after the other", rounds(sides, lambda side: side.enqueue_rate(SINGLY, 1)), "jobs/s")
    done = report(f"drain {DRAINED:,} no-op jobs", rounds(sides, lambda side: side.drain_rate(DRAINED)), "done/s")
    print(f"  limit {LIMIT_DONE:,} done/s: x{done['ours'] / LIMIT_DONE:.2f}", end="")
    if "BullMQ" in done:
        print(f"; limit a quarter of BullMQ: x{done['ours'] / done['BullMQ'] / LIMIT_SHARE:.2f}", end="")
    print()
    ours = sides["ours"]
    assert isinstance(ours, Ours)
    through_ray = [ours.drain_rate(DRAINED, "ray") for _ in range(ROUNDS)]
    share = statistics.median(through_ray) / done["ours"]
    print(f"the same through a Ray actor, done/s: {shown(through_ray)}; {share:.2f} of the rate without")
    waits: dict[str, list[list[float]]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            waits[name].append(side.waits_ms(PACED, RATE))
    for share in (0.5, 0.95):
        found = {name: [quantile(values, share) for values in each] for name, each in waits.items()}
        medians = report(f"enqueue to start at {RATE}/s, p{share * 100:.0f}", found, "ms", ".1f")
    print(f"  limit p95 {LIMIT_P95_MS:.0f} ms: x{medians['ours'] / LIMIT_P95_MS:.2f} (below 1 is within)")


def main() -> None:
    """Measure both sides on servers of their own, started in this run."""
    print(f"{os.cpu_count()} cores, load before the run {os.getloadavg()[0]:.1f} (what runs beside is felt)")
    with tempfile.TemporaryDirectory(prefix="fmrp-bench-") as name:
        folder = Path(name)
        ours = Ours(folder)
        sides: dict[str, Ours | Peer] = {"ours": ours}
        peer: Peer | None = None
        try:
            peer = Peer(folder)
            sides["BullMQ"] = peer
        except Missing as reason:
            print(f"BullMQ is left out: {reason}")
        try:
            measure_all(sides)
            queue_kills.compare(ours, peer)
        finally:
            ours.stop()
            if peer is not None:
                peer.stop()


if __name__ == "__main__":
    main()
