"""A child process of the stack: its own session (Ctrl-C reaches only the stack), a log file, and a pid file by which a
later start finds what a killed one left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


class ChildProcess:
    """Starts, watches and stops one program."""

    def __init__(self, name: str, args: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._args = list(args)
        self._environment = dict(environment)
        self._pid_file = folder / f"{name}.pid"
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program, after ending one that an earlier stack left running."""
        end_left_over(self._pid_file)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._args,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        started = psutil.Process(self._process.pid).create_time()
        self._pid_file.write_text(f"{self._process.pid} {started}")

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll() if self._process else None

    def stop(self, patience_s: float) -> None:
        """Ask it to end, then insist; its own children are ended with it."""
        if self._process is None:
            return
        tree = _tree(self._process.pid)
        if self.is_alive:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
        end_all(tree)
        self._pid_file.unlink(missing_ok=True)
        self._process = None

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def end_left_over(pid_file: Path) -> None:
    """End the process a killed stack left running, with its children, and remove its pid file."""
    if not pid_file.exists():
        return
    pid, _, started = pid_file.read_text().partition(" ")
    try:
        process = psutil.Process(int(pid))
        # Pids are reused: only the very process that was started then is ours.
        if abs(process.create_time() - float(started or 0)) < 1:
            end_all(_tree(process.pid))
    except (psutil.NoSuchProcess, ValueError):
        pass
    pid_file.unlink(missing_ok=True)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end_all(processes: list[psutil.Process]) -> None:
    """Terminate what is left of these, then kill."""
    for action in ("terminate", "kill"):
        alive = [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        for process in alive:
            try:
                getattr(process, action)()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(alive, timeout=3)
