"""What was read of the files that still lie on the server, and which of them were seen but left for later.

As JSON: {"version": 1, "files": {name: [size, mtime, sha256]}, "waiting": {name: [size, mtime, seen at]},
"ahead_s": 0.0}, mtime in seconds by the server's clock, "seen at" by ours; sha256 is "" for a file that was refused.
What is gone leaves it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from fmrp_sdk import FatalError

VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}|")
_CLOCK_JOLT_S = 2.0

Entry = list[Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """How a file looked when it was read; `sha256` is empty for one that was refused, which is told once."""

    size: int
    mtime: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SftpState:
    """Never changed in place. The entries are kept as they are stored, since each batch carries all of them.

    `ahead_s`: how far the server's clock was ahead of ours when it last showed itself, in seconds.
    """

    files: dict[str, Entry]
    waiting: dict[str, Entry]
    ahead_s: float = 0.0

    @classmethod
    def load(cls, state: Mapping[str, Any] | None) -> Self:
        """From what was stored; None and {} are the beginning. FatalError for a state this version cannot read."""
        if not state:
            return cls({}, {})
        if (version := state.get("version")) != VERSION:
            raise FatalError(f"the stored state has version {version!r}, this SFTP connector reads version {VERSION}")
        if not _is_time(state.get("ahead_s")):
            raise FatalError(
                "the stored state is damaged: 'ahead_s' is no time; reset the source to read all files again"
            )
        return cls(_entries(state, "files", _is_sha256), _entries(state, "waiting", _is_time), state["ahead_s"])

    def dump(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"version": VERSION, "files": self.files, "waiting": self.waiting, "ahead_s": self.ahead_s}

    def seen(self, name: str) -> Seen | None:
        """How `name` looked when last read."""
        entry = self.files.get(name)
        return None if entry is None else Seen(*entry)

    def taken(self) -> dict[str, Seen]:
        """Files whose content is stored and which still lay on the server when last looked at."""
        return {name: Seen(*entry) for name, entry in self.files.items() if entry[2]}

    def with_file(self, name: str, seen: Seen) -> "SftpState":
        """This state and one more file."""
        return replace(self, files={**self.files, name: [seen.size, seen.mtime, seen.sha256]})

    def with_clock(self, ahead_s: float | None) -> "SftpState":
        """This state with what the server's clock showed just now; None: it showed nothing."""
        return self if ahead_s is None else replace(self, ahead_s=ahead_s)

    def tells_more_than(self, stored: "SftpState") -> bool:
        """Whether there is something in it to be stored: other files, or a clock that was set anew."""
        is_other = (self.files, self.waiting) != (stored.files, stored.waiting)
        return is_other or abs(self.ahead_s - stored.ahead_s) > _CLOCK_JOLT_S

    def only(self, is_there: Callable[[str], bool]) -> "SftpState":
        """This state without files that are gone, so that it does not grow for ever."""
        return replace(self, files={name: entry for name, entry in self.files.items() if is_there(name)})

    def is_long_unchanged(self, name: str, size: int, mtime: int, since: float) -> bool:
        """Whether a file that waits was seen with this very size and time already at `since` or before."""
        entry = self.waiting.get(name)
        return entry is not None and entry[:2] == [size, mtime] and entry[2] <= since

    def with_waiting(self, waiting: Mapping[str, tuple[int, int]], now: float) -> "SftpState":
        """This state with just these files waiting (name to size and mtime), each since it first looked like that."""
        return replace(
            self,
            waiting={
                name: entry if (entry := self.waiting.get(name)) and entry[:2] == [size, mtime] else [size, mtime, now]
                for name, (size, mtime) in waiting.items()
            },
        )


def _entries(state: Mapping[str, Any], part: str, is_third: Callable[[Any], bool]) -> dict[str, Entry]:
    entries = state.get(part)
    if not isinstance(entries, Mapping):
        raise FatalError(f"the stored state is damaged: {part!r} is missing; reset the source to read all files again")
    for name, entry in entries.items():
        is_whole = isinstance(entry, list) and len(entry) == 3 and all(map(_is_number, entry[:2]))
        if not is_whole or not is_third(entry[2]):
            raise FatalError(f"the stored state is damaged at file {name!r}; reset the source to read all files again")
    return dict(entries)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_time(value: Any) -> bool:
    return _is_number(value) or isinstance(value, float)
