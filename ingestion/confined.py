"""Readers of binary formats, each in a process of its own that may be ended.

Their libraries are C and Rust: they cannot be told to stop, and a file made for it has them ask for gigabytes or abort.
So they run in a child that has a limit on memory and CPU time (`confined_reader`), is killed at the deadline or when
nobody waits for it any more, and answers with Arrow and JSON only. Whatever becomes of it, the caller gets a table or
an IngestionError. JSON is read there too: a document of it becomes many times its size in memory.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ingestion import errors
from ingestion.errors import IngestionError, UnreadableFile
from ingestion.limits import GIB, Deadline, Limits, too_slow
from ingestion.table import Parsed, ParseOptions

Format = Literal["xlsx", "xlsb", "xls", "ods", "pdf", "parquet", "json"]
StillWanted = Callable[[], None]
"""Asked while a child reads; what it raises ends the child and goes on to the caller."""
START_S = 60.0  # importing the libraries takes a second; on a machine that is busy, longer
_GRACE_S = 0.3  # past the deadline, for the child to say itself how far it came
_MOST_IDLE = 2
_ASK_EVERY_S = 0.2
_ENVIRONMENT = {
    "POLARS_MAX_THREADS": "2",
    "OMP_NUM_THREADS": "1",
    "RUST_BACKTRACE": "0",
    # Allocators that put a gigabyte by at once would leave nothing of what a file may take.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
}
# Nothing else of ours goes to the child: whoever takes it over by a file finds no password.
_HANDED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "HOME")


def read_confined(
    file_format: Format,
    content: bytes,
    limits: Limits,
    options: ParseOptions,
    deadline: Deadline,
    still_wanted: StillWanted | None = None,
) -> Parsed:
    """Reads a file in a child process. See `parse`."""
    left_s = deadline.left_s
    request = {
        "format": file_format,
        "limits": asdict(limits),
        "options": options_to_json(options),
        "seconds": deadline.seconds,
        "left_s": left_s,
    }
    reader = _started(request)
    # How long a child takes to start is no fault of the file's.
    reading = Deadline(deadline.seconds, left_s + _GRACE_S)
    sound = False
    try:
        with contextlib.suppress(OSError):  # of a child that has ended, which `_received` tells
            reader.connection.send_bytes(content)
        _await(reader, reading, still_wanted)
        answer, frames = _received(reader, limits)
        sound = not answer.pop("spent")
    finally:
        reader.keep() if sound else reader.end()
    if "error" in answer:
        raise _error(answer["error"])
    return Parsed(frames[0], tuple(answer.pop("columns")), frames[1], **answer)


def _received(reader: "_Reader", limits: Limits) -> tuple[dict[str, Any], list[pl.DataFrame]]:
    """What a child answers, and the frames that come with it (`frame` and `malformed`, or none beside an error)."""
    try:
        answer: dict[str, Any] = json.loads(reader.connection.recv_bytes())
        count = 0 if "error" in answer else 2
        return answer, [pl.read_ipc_stream(io.BytesIO(reader.connection.recv_bytes())) for _ in range(count)]
    except (EOFError, OSError) as error:
        raise _ended(reader.process, limits) from error


def _await(reader: "_Reader", deadline: Deadline, still_wanted: StillWanted | None) -> None:
    """Waits for an answer, asking now and then whether it is still wanted. Raises TooSlow."""
    while not reader.connection.poll(min(_ASK_EVERY_S, deadline.left_s)):
        if deadline.left_s <= 0:
            raise too_slow(deadline.seconds)
        if still_wanted is not None:
            still_wanted()


def options_to_json(options: ParseOptions) -> dict[str, Any]:
    """Options as they travel to the child."""
    return {
        "encoding": options.encoding,
        "delimiter": options.delimiter,
        "sheet": options.sheet,
        "fields": [sorted(names) for names in options.fields],
    }


def _error(told: dict[str, Any]) -> IngestionError:
    kind: type[IngestionError] = getattr(errors, told.pop("kind"))
    return kind(told.pop("message"), **told)


def _ended(process: subprocess.Popen[bytes], limits: Limits) -> UnreadableFile:
    """The error for a child that is gone without an answer."""
    process.kill()
    code = process.wait()
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return UnreadableFile(
        f"reading it broke off ({how}): the file is damaged, or needs more than {limits.max_memory / GIB:.3g} GiB",
        expected="a sound file: open it in the program that made it and save it anew, or split it",
    )


# -- processes -------------------------------------------------------------------------------------------------------


class _Reader:
    """A child process and our end of the connection to it."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        with theirs:
            # Where the room lies, first of all: the child must run the same code, however it is installed here.
            path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
            self.process = subprocess.Popen(  # noqa: S603  # our own module, by our own interpreter
                [sys.executable, "-P", "-m", "ingestion.confined_reader", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # What libraries print there is no log of ours, and may quote the file.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _HANDED_ON if name in os.environ}
                | _ENVIRONMENT
                | {"PYTHONPATH": path},
            )

    def takes(self, request: dict[str, Any]) -> bool:
        """Hands over a request; whether it was acknowledged (not so by a child that has left)."""
        try:
            self.connection.send_bytes(json.dumps(request).encode())
            return self.connection.poll(START_S) and self.connection.recv_bytes() == b""
        except (EOFError, OSError):
            return False

    def keep(self) -> None:
        """Leaves it for the next file, unless there are enough."""
        with _lock:
            if len(_idle) < _MOST_IDLE:
                _idle.append(self)
                return
        self.end()

    def end(self) -> None:
        """Kills it. It holds nothing that could be lost."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


_idle: list[_Reader] = []
_lock = threading.Lock()


def _started(request: dict[str, Any]) -> _Reader:
    """A child that has taken the request: one that waits for work, else a new one."""
    while True:
        with _lock:
            reader, fresh = (_idle.pop(), False) if _idle else (None, True)
        reader = reader or _Reader()
        if reader.takes(request):
            return reader
        reader.end()
        if fresh:
            raise RuntimeError("the process that reads files does not start: see whether `ingestion` can be imported")


def _forget_in_fork() -> None:
    """After a fork the children are the parent's; both talking to one would mix up files."""
    global _lock  # noqa: PLW0603  # it may have been held by a thread that does not exist here
    _idle.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_in_fork)
