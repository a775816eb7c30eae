"""What each queue leaves behind when its worker and its store are killed while 1,000 jobs with a side effect run."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from actors.owner import Connections
from bench.queue_bullmq import Peer
from bench.queue_ours import BATCH, Ours, clear, fill, scalar, until_ended

JOBS, CONCURRENCY, PAUSE_MS = 1_000, 20, 200
# A worker is taken for dead after the same time on both sides, and neither gives a job up because of its worker.
SILENCE_MS, TRIES = 6_000, 10
KILLS = ("worker", "worker", "store", "worker", "store", "worker")
# Each victim is killed once the jobs are under way again, so that both sides lose work and not only a start.
EFFECTS_BETWEEN = 100
PATIENCE_S = 180.0


def compare(ours: Ours, peer: Peer | None) -> None:
    """Print both."""
    print(f"{JOBS:,} jobs with one side effect each; kill -9 of {', '.join(KILLS)} in turn:")
    _tell("ours (a row, written in the transaction that ends the job)", *_ours(ours))
    if peer is not None:
        _tell("BullMQ (an entry of a list in its own Redis)", *_peer(peer))
        print(
            "  BullMQ promises at least once: a job whose worker dies after the effect and before the end is run again."
        )


def _tell(name: str, effects: list[Any], states: dict[str, int], seconds: float) -> None:
    times = Counter(effects)
    double = sum(count - 1 for count in times.values())
    print(f"  {name}: {JOBS - len(times)} missing, {double} double, in {seconds:.0f} s; jobs {states}")


def _ours(ours: Ours) -> tuple[list[Any], dict[str, int], float]:
    async def prepare(connections: Connections) -> None:
        await clear(connections)
        await fill(connections, JOBS, BATCH, "bench_effect", pause_ms=PAUSE_MS)

    async def collect(connections: Connections) -> tuple[list[Any], dict[str, int]]:
        await until_ended(connections, PATIENCE_S)
        async with connections.sessions() as session:
            effects = list((await session.execute(text("SELECT job_id FROM bench_effect"))).scalars())
            rows = await session.execute(text("SELECT state, count(*) FROM job GROUP BY state"))
            return effects, dict(rows.tuples().all())

    ours.call(prepare)
    began = time.monotonic()
    worker = _kill_about(
        ours.spawn,
        lambda: int(ours.call(lambda connections: scalar(connections, "SELECT count(*) FROM bench_effect"))),
        ours.kill_store,
    )
    try:
        effects, states = ours.call(collect)
    finally:
        _kill(worker)
    return effects, states, time.monotonic() - began


def _peer(peer: Peer) -> tuple[list[Any], dict[str, int], float]:
    peer.clear()
    peer.run("fill", JOBS, BATCH)
    began = time.monotonic()
    arguments = ("effects", CONCURRENCY, PAUSE_MS, SILENCE_MS, TRIES)
    worker = _kill_about(lambda: peer.spawn(*arguments), peer.effects, peer.kill_store)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            seen = peer.run("counts")
            counts = seen["counts"]
            if counts["completed"] + counts["failed"] == JOBS or time.monotonic() > deadline:
                return seen["effects"], counts, time.monotonic() - began
            time.sleep(0.5)
    finally:
        _kill(worker)


def _kill_about(
    spawn: Callable[[], subprocess.Popen[Any]], effects: Callable[[], int], kill_store: Callable[[], None]
) -> subprocess.Popen[Any]:
    """Start a worker, and kill it and its store in turn; returns the last worker."""
    worker = spawn()
    for victim in KILLS:
        _until_at_work(effects)
        if victim == "worker":
            _kill(worker)
            worker = spawn()
        else:
            kill_store()
    return worker


def _until_at_work(effects: Callable[[], int]) -> None:
    """Wait until some more jobs have had their effect."""
    before, deadline = effects(), time.monotonic() + PATIENCE_S
    while effects() < before + EFFECTS_BETWEEN:
        if time.monotonic() > deadline:
            raise TimeoutError("the jobs do not go on")
        time.sleep(0.05)


def _kill(worker: subprocess.Popen[Any]) -> None:
    worker.kill()
    worker.wait()
