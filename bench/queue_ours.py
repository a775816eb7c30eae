"""Our side of bench.queue: the job table on embedded PostgreSQL, worked off by a dispatcher in a process of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from actors import jobs
from actors.owner import Connections
from bench import noop_work
from bench.queue_bullmq import kill_outright
from cluster.local.postgres import EmbeddedPostgres
from cluster.local.redis import EmbeddedRedis
from db import migrate
from settings import Settings

BATCH = 500
ENDED_PATIENCE_S = 120.0


class Ours:
    """The servers of our side, and what is measured on them."""

    def __init__(self, folder: Path) -> None:
        self.postgres = EmbeddedPostgres(folder / "pg", "bench")
        self.postgres.start()
        (folder / "run").mkdir()
        self.redis = EmbeddedRedis(folder / "events", "bench", folder / "run")
        self.redis.start()
        migrate.upgrade(self.postgres.url)
        self.settings = Settings(
            data_dir=folder,
            database_url=self.postgres.url,
            redis_url=self.redis.url,
            database_pool_size=20,
            work_modules=("bench.noop_work",),
        )
        self._folder = folder

    def spawn(self, owners: str = "beside") -> subprocess.Popen[bytes]:
        """Start a dispatcher whose owners are `beside` it or in `ray`."""
        environment = {
            **os.environ,
            "FMRP_DATA_DIR": str(self._folder),
            "FMRP_DATABASE_URL": self.postgres.url,
            "FMRP_REDIS_URL": self.redis.url,
            "FMRP_WORK_MODULES": '["bench.noop_work"]',
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(24),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        return subprocess.Popen([sys.executable, "-m", "bench.queue_dispatcher", "bench", owners], env=environment)

    def enqueue_rate(self, count: int, batch: int) -> float:
        """Jobs a second into an emptied table, `batch` in a transaction."""

        async def measure(connections: Connections) -> float:
            await clear(connections)
            began = time.perf_counter()
            await fill(connections, count, batch)
            return count / (time.perf_counter() - began)

        return self.call(measure)

    def drain_rate(self, count: int, owners: str = "beside") -> float:
        """Jobs done a second, from a filled table: from the first start to the last end by the database's clock."""

        async def prepare(connections: Connections) -> None:
            await clear(connections)
            await fill(connections, count, BATCH)

        async def measure(connections: Connections) -> float:
            await until_ended(connections)
            query = "SELECT count(*) / extract(epoch FROM max(finished_at) - min(started_at)) FROM job"
            return float(await scalar(connections, f"{query} WHERE state = 'done'"))

        self.call(prepare)
        return self._while_dispatching(measure, owners)

    def waits_ms(self, count: int, rate: int) -> list[float]:
        """How long each job of a steady stream waited from enqueue to start."""

        async def measure(connections: Connections) -> list[float]:
            await fill(connections, 1, 1)
            await until_ended(connections)  # the dispatcher has started
            await pace(connections, count, rate)
            await until_ended(connections)
            query = text("SELECT (result->>'wait_ms')::float FROM job WHERE result ? 'wait_ms'")
            async with connections.sessions() as session:
                return list((await session.execute(query)).scalars())

        self.call(clear)
        return self._while_dispatching(measure)

    def kill_store(self) -> None:
        """kill -9 of PostgreSQL, and start it again."""
        process = psutil.Process(int((self._folder / "pg" / "postmaster.pid").read_text().splitlines()[0]))
        kill_outright(process)
        self.postgres.restart()

    def stop(self) -> None:
        """Stop the servers."""
        self.redis.stop()
        self.postgres.stop()

    def _while_dispatching(self, action: Callable[[Connections], Awaitable[Any]], owners: str = "beside") -> Any:
        dispatcher = self.spawn(owners)
        try:
            return self.call(action)
        finally:
            dispatcher.kill()
            dispatcher.wait()

    def call(self, action: Callable[[Connections], Awaitable[Any]]) -> Any:
        """Do something with a client's connections."""

        async def run() -> Any:
            connections = Connections(self.settings, "bench-client")
            try:
                return await action(connections)
            finally:
                await connections.close()

        return asyncio.run(run())


async def clear(connections: Connections) -> None:
    """Forget all jobs and effects."""
    async with connections.sessions.begin() as session:
        await session.execute(text(noop_work.EFFECT_TABLE))
        await session.execute(text("TRUNCATE job, job_event, bench_effect CASCADE"))


async def fill(connections: Connections, count: int, batch: int, kind: str = "noop", **parameters: Any) -> None:
    """Enqueue jobs, `batch` in a transaction."""
    for first in range(0, count, batch):
        async with connections.sessions.begin() as session:
            if batch == 1:
                await jobs.start(session, kind, parameters, requested_by="bench")
            else:
                many = [parameters] * min(batch, count - first)
                await jobs.start_many(session, kind, many, requested_by="bench")


async def pace(connections: Connections, count: int, rate: int) -> None:
    """Enqueue jobs at a steady rate, each carrying the moment it was handed over."""

    async def add() -> None:
        at = time.time()
        async with connections.sessions.begin() as session:
            await jobs.start(session, "noop", {"at": at}, requested_by="bench")

    began = time.perf_counter()
    async with asyncio.TaskGroup() as adding:
        for sent in range(count):
            await asyncio.sleep(max(0.0, began + sent / rate - time.perf_counter()))
            adding.create_task(add())


async def until_ended(connections: Connections, patience_s: float = ENDED_PATIENCE_S) -> None:
    """Wait until no job waits or runs."""
    deadline = time.monotonic() + patience_s
    while await scalar(connections, "SELECT EXISTS (SELECT 1 FROM job WHERE state IN ('waiting', 'running'))"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"jobs are left after {patience_s:.0f} s")
        await asyncio.sleep(0.05)


async def scalar(connections: Connections, query: str) -> Any:
    """One value."""
    async with connections.sessions() as session:
        return (await session.execute(text(query))).scalar()
