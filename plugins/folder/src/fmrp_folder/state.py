"""Which files were read, by name, size, time of last change and hash of the content."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from fmrp_sdk import FatalError

VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}|")


@dataclass(frozen=True, slots=True)
class Seen:
    """How a file looked when it was read. `sha256` is empty for one whose content could not be taken."""

    size: int
    mtime_ns: int
    sha256: str


class FolderState:
    """The state {"version": 1, "files": {name: {size, mtime_ns, sha256}}}, never changed in place."""

    def __init__(self, files: Mapping[str, Seen] | None = None) -> None:
        self._files = dict(files or {})

    @classmethod
    def load(cls, state: Mapping[str, Any] | None) -> Self:
        """From what was stored; None and {} are the beginning. FatalError for a state this version cannot read."""
        if not state:
            return cls()
        version = state.get("version")
        if version != VERSION:
            raise FatalError(f"the stored state has version {version!r}, this folder connector reads version {VERSION}")
        files = state.get("files")
        if not isinstance(files, Mapping):
            raise FatalError(
                "the stored state is damaged: 'files' is missing; reset the source to read all files again"
            )
        return cls({str(name): _seen(str(name), entry) for name, entry in files.items()})

    def get(self, name: str) -> Seen | None:
        """How `name` looked when last read."""
        return self._files.get(name)

    def with_file(self, name: str, seen: Seen) -> "FolderState":
        """This state and one more file."""
        return FolderState({**self._files, name: seen})

    def only(self, names: Iterable[str]) -> "FolderState":
        """This state without files that are gone, so that it does not grow for ever."""
        kept = set(names)
        return FolderState({name: seen for name, seen in self._files.items() if name in kept})

    def dump(self) -> dict[str, Any]:
        """JSON-ready form."""
        files = {
            name: {"size": seen.size, "mtime_ns": seen.mtime_ns, "sha256": seen.sha256}
            for name, seen in sorted(self._files.items())
        }
        return {"version": VERSION, "files": files}


def _seen(name: str, entry: Any) -> Seen:
    if isinstance(entry, Mapping):
        size, mtime_ns, sha256 = entry.get("size"), entry.get("mtime_ns"), entry.get("sha256")
        if (
            isinstance(size, int)
            and isinstance(mtime_ns, int)
            and isinstance(sha256, str)
            and _SHA256.fullmatch(sha256)
        ):
            return Seen(size, mtime_ns, sha256)
    raise FatalError(f"the stored state is damaged at file {name!r}; reset the source to read all files again")
