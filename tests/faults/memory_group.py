"""A group of processes whose memory the kernel limits, so that only they are ended when it runs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The first is the older hierarchy, the second the one of its own for everything.
_ROOTS = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"))


class Unavailable(RuntimeError):
    """No such group can be made here; the message says what is missing."""


class MemoryGroup:
    """One group; `take` moves a process into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = folder.name

    def take(self, pid: int) -> None:
        """Limit this process from now on."""
        (self._folder / "cgroup.procs").write_text(str(pid))


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """Make a group, and remove it once its last process is gone.

    Raises:
        Unavailable: this user may not, or the kernel has no memory controller here.
    """
    root, file = next(
        ((Path(root), file) for root, file in _ROOTS if (Path(root) / "cgroup.procs").exists()), (None, "")
    )
    if root is None:
        raise Unavailable("no memory groups: mount the kernel's cgroups at /sys/fs/cgroup")
    folder = root / f"fmrp-faults-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / file).write_text(str(limit_bytes))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        raise Unavailable(f"no memory groups: this needs the right to write below {root} (root): {error}") from error
    try:
        yield MemoryGroup(folder)
    finally:
        for pid in (folder / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (root / "cgroup.procs").write_text(pid)
        folder.rmdir()
