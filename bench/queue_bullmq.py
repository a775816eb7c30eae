"""The peer of bench.queue: BullMQ on the wheel's redis-server, every write synced, driven through small programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil
import redis

from cluster.local.redis import EmbeddedRedis
from cluster.local.secrets import write_private

PROGRAMS = Path(__file__).parent / "bullmq"
CONCURRENCY = 50


class Missing(RuntimeError):
    """The peer cannot be measured here; the message says why."""


class Peer:
    """BullMQ installed into a throw-away folder, and its server."""

    def __init__(self, folder: Path) -> None:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise Missing(f"{program} is not installed (Debian's packages nodejs and npm)")
        self._programs = folder / "bullmq"
        shutil.copytree(PROGRAMS, self._programs, ignore=shutil.ignore_patterns("node_modules"))
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        installed = subprocess.run(command, cwd=self._programs, capture_output=True, text=True, check=False)
        if installed.returncode:
            raise Missing(f"npm could not install bullmq: {installed.stderr.strip()[-300:]}")
        self.server = EmbeddedRedis(folder / "redis", "bench", folder)
        configuration = folder / "redis" / "redis.conf"
        # What is acknowledged must be on disk, as PostgreSQL's commits are.
        synced = configuration.read_text().replace("appendfsync everysec", "appendfsync always")
        write_private(configuration, synced)
        self.server.start()

    def clear(self) -> None:
        """Forget all jobs."""
        with redis.Redis.from_url(self.server.url) as client:
            client.flushall()

    def spawn(self, program: str, *arguments: object) -> subprocess.Popen[str]:
        """Start one of the programs."""
        command = ["node", f"{program}.mjs", *map(str, arguments)]
        environment = {**os.environ, "BENCH_REDIS_URL": self.server.url}
        return subprocess.Popen(command, cwd=self._programs, env=environment, stdout=subprocess.PIPE, text=True)

    def run(self, program: str, *arguments: object, timeout_s: float = 120) -> dict[str, Any]:
        """Run one of the programs to its end and return what it said."""
        started = self.spawn(program, *arguments)
        try:
            said, _ = started.communicate(timeout=timeout_s)
        finally:
            started.kill()
            started.wait()
        if started.returncode:
            raise RuntimeError(f"{program}.mjs ended with {started.returncode}")
        answer: dict[str, Any] = json.loads(said)
        return answer

    def enqueue_rate(self, count: int, batch: int) -> float:
        """Jobs a second into an emptied queue."""
        self.clear()
        return count / float(self.run("fill", count, batch)["seconds"])

    def drain_rate(self, count: int) -> float:
        """Jobs done a second, from a filled queue."""
        self.clear()
        self.run("fill", count, 500)
        return count / float(self.run("drain", count, CONCURRENCY)["seconds"])

    def waits_ms(self, count: int, rate: int) -> list[float]:
        """How long each job of a steady stream waited from enqueue to start."""
        self.clear()
        worker = self.spawn("starts", count, CONCURRENCY)
        assert worker.stdout is not None
        worker.stdout.readline()
        self.run("pace", count, rate)
        said, _ = worker.communicate(timeout=60)
        waits: list[float] = json.loads(said)["waits"]
        return waits

    def effects(self) -> int:
        """How many effects there are."""
        with redis.Redis.from_url(self.server.url) as client:
            return int(client.llen("effects"))

    def kill_store(self) -> None:
        """kill -9 of Redis, and start it again."""
        with redis.Redis.from_url(self.server.url) as client:
            kill_outright(psutil.Process(client.info("server")["process_id"]))
        self.server.restart()

    def stop(self) -> None:
        """Stop the server."""
        self.server.stop()


def kill_outright(process: psutil.Process) -> None:
    """kill -9, and wait until it is gone."""
    process.kill()
    psutil.wait_procs([process], timeout=10)
