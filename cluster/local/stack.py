"""The embedded stack: PostgreSQL, Redis, Ray with Serve, and the dashboard on one machine, started, watched, stopped.

One stack a data folder, held by a lock. Children that die are started again; the data outlives every one of them.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO

import httpx
from pydantic import SecretStr

from cluster.local.bootstrap import migrate_database, prepare_database
from cluster.local.postgres import EmbeddedPostgres
from cluster.local.process import ChildProcess, end_all, family, mark_of
from cluster.local.redis import EmbeddedRedis
from cluster.local.secrets import StackSecrets, load_or_create, load_or_create_keys, write_private
from settings import Settings

RUN_FILE = "stack.json"
# Written by the Ray head beside its ready file: where other processes of this machine reach the cluster.
ADDRESS_FILE = "ray.address"
READY_PATIENCE_S = 120.0
LOOK_S = 0.2
PAUSE_S = 1.0
# What Ray's end takes beyond the dispatchers' patience with running jobs.
RAY_END_S = 20.0

Say = Callable[[str], None]


class StackError(RuntimeError):
    """The stack cannot start; the message says why and what to do."""


class Stack:
    """A running stack. Use as a context manager: what was started is stopped, whatever happens."""

    def __init__(self, settings: Settings, say: Say = print) -> None:
        self._say = say
        self._data = settings.data_dir
        self._data.mkdir(parents=True, exist_ok=True)
        self._run = self._data / "run"
        self._run.mkdir(exist_ok=True)
        self._lock: IO[str] | None = None
        self._secrets: StackSecrets = load_or_create(self._data)
        self._postgres: EmbeddedPostgres | None = None
        self._redis: EmbeddedRedis | None = None
        self._ray: ChildProcess | None = None
        self._dashboard: ChildProcess | None = None
        self.settings = settings
        self.first_password: str | None = None

    def __enter__(self) -> Stack:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def api_url(self) -> str:
        """Base address of the API."""
        return f"http://{_reachable(self.settings.host)}:{self.settings.api_port}/api/v1"

    @property
    def dashboard_url(self) -> str:
        """Address of the dashboard."""
        return f"http://{_reachable(self.settings.host)}:{self.settings.dashboard_port}"

    def _start(self) -> None:
        self._take_lock()
        # The lock is ours, so whatever an earlier stack left running on this folder belongs to nobody any more.
        left = family(mark_of(self._run))
        end_all(left)
        for name, port in (("API", self.settings.api_port), ("dashboard", self.settings.dashboard_port)):
            # The kernel takes a moment to take back what a killed process held.
            _require_free(self.settings.host, port, name, patience_s=5.0 if left else 0.0)
        self.settings.inbox_dir.mkdir(exist_ok=True)
        self._start_stores()
        self._say("Bringing the database schema up to date")
        migrate_database(self.settings)
        self.first_password = asyncio.run(prepare_database(self.settings))
        self._announce()
        self._say("Starting Ray, the actors, the API and the forecaster (about 20 s)")
        self._start_ray()
        self._start_dashboard()
        self._await_ray()
        self._await_dashboard()

    def _start_stores(self) -> None:
        known: dict[str, SecretStr] = {}
        if self.settings.token_secret is None:
            known["token_secret"] = SecretStr(self._secrets.token_secret)
        if self.settings.secret_keys is None:
            known["secret_keys"] = SecretStr(load_or_create_keys(self._data))
        if self.settings.database_url is None:
            self._say("Starting PostgreSQL")
            self._postgres = EmbeddedPostgres(self._data / "postgres", self._secrets.database_password)
            self._postgres.start()
            known["database_url"] = SecretStr(self._postgres.url)
        if self.settings.redis_url is None:
            self._say("Starting Redis")
            self._redis = EmbeddedRedis(self._data / "redis", self._secrets.redis_password, self._run)
            self._redis.start()
            known["redis_url"] = SecretStr(self._redis.url)
        self.settings = self.settings.model_copy(update=known)

    def _environment(self) -> dict[str, str]:
        """What child processes need to load the same settings. Secrets travel by environment only."""
        settings = self.settings
        return {
            "FMRP_DATA_DIR": str(settings.data_dir),
            "FMRP_DATABASE_URL": settings.require_database_url(),
            "FMRP_REDIS_URL": settings.require_redis_url(),
            "FMRP_TOKEN_SECRET": settings.require_token_secret(),
            "FMRP_SECRET_KEYS": ",".join(key.get_secret_value() for key in settings.fernet_keys()),
            "FMRP_COOKIE_SECRET": self._secrets.cookie_secret,
            "FMRP_HOST": settings.host,
            "FMRP_API_PORT": str(settings.api_port),
            "FMRP_DASHBOARD_PORT": str(settings.dashboard_port),
            # Before a new Ray head starts, all of the old one's family is ended: its dispatchers are gone for certain.
            "FMRP_CLUSTER": settings.cluster or f"{socket.gethostname()}:{self._data}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._secrets.ray_token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_ENABLE_HA_PROXY": "0",
            # A frame of a socket costs the proxy half of what it costs it as an object of Ray's.
            "RAY_SERVE_PROXY_USE_GRPC": "1",
            # Ray gives its workers the lowest priority; the API and its proxy answer people. Who computes steps back
            # by itself (`actors.priority`).
            "RAY_worker_niceness": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def _start_ray(self) -> None:
        ready = self._run / "ray.ready"
        ready.unlink(missing_ok=True)
        args = [sys.executable, "-m", "cluster.local.ray_head", str(ready)]
        self._ray = self._ray or ChildProcess("ray", args, folder=self._run, environment=self._environment())
        self._ray.start()

    def _await_ray(self) -> None:
        ray = self._ray
        assert ray is not None
        ready = self._run / "ray.ready"
        deadline = time.monotonic() + READY_PATIENCE_S
        while time.monotonic() < deadline:
            if not ray.is_alive:
                raise StackError(f"Ray ended while starting (exit {ray.exit_code}):\n{ray.tail()}")
            if ready.exists() and _answers(f"{self.api_url}/health"):
                return
            time.sleep(0.1)
        raise StackError(f"the API did not answer within {READY_PATIENCE_S:.0f} s; see {ray.log}:\n{ray.tail()}")

    def _start_dashboard(self) -> None:
        args = [sys.executable, "-m", "dashboards", "--host", self.settings.host]
        args += ["--port", str(self.settings.dashboard_port), "--api", self.api_url]
        environment = self._environment()
        self._dashboard = self._dashboard or ChildProcess("dashboard", args, folder=self._run, environment=environment)
        self._dashboard.start()

    def _await_dashboard(self) -> None:
        dashboard = self._dashboard
        assert dashboard is not None
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not dashboard.is_alive:
                raise StackError(f"the dashboard ended while starting:\n{dashboard.tail()}")
            if _answers(f"{self.dashboard_url}/liveness"):
                return
            time.sleep(0.1)
        raise StackError(f"the dashboard did not answer; see {dashboard.log}")

    def watch_once(self) -> None:
        """Start again whichever child has died."""
        if self._postgres is not None and not self._postgres.is_alive:
            self._say("PostgreSQL has died; starting it again")
            self._postgres.restart()
        if self._redis is not None and not self._redis.is_alive:
            self._say("Redis has died; starting it again")
            self._redis.restart()
        if self._ray is not None and not self._ray.is_alive:
            self._say("Ray has died; starting it again")
            self._start_ray()
        if self._dashboard is not None and not self._dashboard.is_alive:
            self._say("The dashboard has died; starting it again")
            self._start_dashboard()

    def watch(self, is_over: Callable[[], bool]) -> None:
        """Keep the stack up until `is_over`. What cannot be started again just now (a full disk) is tried again."""
        while not is_over():
            try:
                self.watch_once()
            except Exception as error:  # noqa: BLE001 - whatever it was, without this watch nothing would come back
                self._say(f"It could not be started: {error}. Trying again")
                time.sleep(PAUSE_S)
            time.sleep(LOOK_S)

    def stop(self) -> None:
        """Stop everything, the data stores last."""
        for child, patience_s in ((self._dashboard, 5.0), (self._ray, self.settings.drain_patience_s + RAY_END_S)):
            if child is not None:
                child.stop(patience_s)
        if self._redis is not None:
            self._redis.stop()
        if self._postgres is not None:
            self._postgres.stop()
        if self._lock is not None:
            # Without the lock the file is another stack's, which goes on.
            (self._run / RUN_FILE).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        lock = (self._data / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise StackError(
                f"a stack already runs on {self._data} (process {holder}). Use it, stop it with Ctrl-C, or choose"
                " another folder with FMRP_DATA_DIR"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _announce(self) -> None:
        """Let the command line find this stack."""
        environment = self._environment()
        wanted = ["FMRP_DATABASE_URL", "FMRP_REDIS_URL", "FMRP_TOKEN_SECRET", "FMRP_SECRET_KEYS"]
        wanted += ["FMRP_API_PORT", "FMRP_DASHBOARD_PORT"]
        write_private(self._run / RUN_FILE, json.dumps({name: environment[name] for name in wanted}))


def find_running(settings: Settings) -> Settings:
    """The settings of the stack that runs on this data folder, or `settings` as they are when they name real servers.

    Raises:
        StackError: no stack runs there and no servers are set.
    """
    if settings.database_url is not None and settings.redis_url is not None:
        return settings
    path = settings.data_dir / "run" / RUN_FILE
    if not path.exists():
        raise StackError(f"no stack runs on {settings.data_dir}: start one with `make up`, or set FMRP_DATABASE_URL")
    found = json.loads(path.read_text())
    return Settings(
        **{
            **settings.model_dump(exclude_unset=True),
            "data_dir": settings.data_dir,
            **{name.removeprefix("FMRP_").lower(): value for name, value in found.items()},
        }
    )


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound


def _require_free(host: str, port: int, name: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            try:
                probe.bind((host, port))
                return
            except OSError as error:
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                variable = f"FMRP_{name.upper()}_PORT"
                raise StackError(
                    f"port {port} for the {name} is taken ({error.strerror}). Stop what uses it, or set {variable} to"
                    " another port"
                ) from None


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2).status_code == 200
    return False
