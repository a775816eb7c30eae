"""Processes whose wall clock can be moved while they run, by libfaketime; their monotonic clock is left alone."""

from __future__ import annotations

from pathlib import Path

# As Debian's package lays it out, for whichever architecture.
_LIBRARIES = "*/faketime/libfaketimeMT.so.1"


class MovableClock:
    """A clock that starts right. Give its `environment` to a process, then `move` it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"{name}.clock"
        self.move(0)

    def move(self, seconds: int) -> None:
        """Set it that far from the true time, at once and for all its processes."""
        partial = self._file.with_suffix(".partial")
        partial.write_text(f"{seconds:+d}\n")
        partial.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """What its processes are started with."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }


def library() -> Path | None:
    """Where libfaketime is; None where it is not installed."""
    return next(iter(sorted(Path("/usr/lib").glob(_LIBRARIES))), None)
