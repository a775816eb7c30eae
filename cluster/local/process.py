"""A child process of the stack: its own session (Ctrl-C reaches only the stack), a log file, and a mark in its
environment by which its whole family is found, also after it was killed and its own children were orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "FMRP_STACK_CHILD"


class ChildProcess:
    """Starts, watches and stops one program."""

    def __init__(self, name: str, args: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._args = list(args)
        self._mark = mark_of(folder, name)
        self._environment = {**environment, MARK: self._mark}
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program, after ending what an earlier one left running: without it that is of no use to anybody."""
        end_all(family(self._mark), patience_s=0.0)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._args,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

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
        if self.is_alive:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
        end_all(family(self._mark))
        self._process = None

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def mark_of(folder: Path, name: str = "") -> str:
    """What the environment of a child in this folder says; without a name, what all of them begin with."""
    return f"{folder.resolve()}|{name}"


def family(mark: str) -> list[psutil.Process]:
    """Every process of this user whose environment carries a mark that begins so."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(mark):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # somebody else's, or gone meanwhile
    return found


def end_all(processes: list[psutil.Process], patience_s: float = 3.0) -> None:
    """Terminate what is left of these, and kill what has not ended after the patience; without any, kill at once."""
    for action, wait_s in (("terminate", patience_s), ("kill", 3.0)):
        if not wait_s:
            continue
        alive = [process for process in processes if is_alive(process)]
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                getattr(process, action)()
        # Not psutil's wait: a zombie whose new parent does not reap it would be waited for in vain.
        deadline = time.monotonic() + wait_s
        while any(map(is_alive, alive)) and time.monotonic() < deadline:
            time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
