"""Files dropped into a watched folder."""

import errno
import hashlib
import io
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from pydantic import BaseModel

from fmrp_folder.config import FolderConfig
from fmrp_folder.state import FolderState, Seen
from fmrp_sdk import Batch, CheckResult, FileBatch, FileInfo, RetriableError, SkippableError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A name in the folder that matches. `ready` is False while its writer may still be at work."""

    name: str
    path: Path
    size: int
    mtime_ns: int
    ready: bool
    problem: str | None

    @property
    def modified_at(self) -> datetime:
        return datetime.fromtimestamp(self.mtime_ns / 1e9, UTC)


class FolderConnector:
    """Reads each file once, and again when its content changed. The folder itself is never written to."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "folder"
    version: ClassVar[str] = "0.1.0"
    config_model: ClassVar[type[BaseModel]] = FolderConfig

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since the epoch; the age of a file is measured against it."""
        self._clock = clock

    def check(self, config: FolderConfig) -> CheckResult:
        """Whether the folder is there and can be listed."""
        try:
            found = self._candidates(config)
        except RetriableError as error:
            return CheckResult(False, str(error))
        taken = sum(candidate.problem is None for candidate in found)
        return CheckResult(True, f"{config.path}: {taken} file(s) match {', '.join(config.patterns)}")

    def discover(self, config: FolderConfig) -> list[FileInfo]:
        """Every matching file, oldest first, also those that would not be taken. RetriableError: folder not there."""
        return [FileInfo(c.name, c.size, c.modified_at, _not_taken(c)) for c in self._candidates(config)]

    def read(self, config: FolderConfig, state: Any) -> Iterator[Batch]:
        """New and changed files, oldest first; a file touched without a change of content is not read again.

        RetriableError: the folder cannot be listed. FatalError: the state is of a newer version or damaged.
        """
        known = FolderState.load(state)
        candidates = self._candidates(config)
        known = known.only(candidate.name for candidate in candidates)
        for candidate in candidates:
            seen = known.get(candidate.name)
            if not candidate.ready or _unchanged(candidate, seen):
                continue
            batch_file, now_seen = self._offer(config, candidate)
            if batch_file is None or now_seen is None:
                continue
            known = known.with_file(candidate.name, now_seen)
            if seen is not None and seen.sha256 and seen.sha256 == now_seen.sha256:
                continue
            yield Batch(batch_file, known.dump())

    def _offer(self, config: FolderConfig, candidate: _Candidate) -> tuple[FileBatch | None, Seen | None]:
        """The file with its content in memory, so that what is hashed is what is taken; (None, None): come back later.

        A file that cannot be taken is offered all the same, with an opener that says why, and counts as seen.
        """
        make = partial(FileBatch, candidate.name, candidate.size, candidate.modified_at, config.max_file_bytes)
        if candidate.problem is None:
            try:
                content = _read_settled(candidate, config.max_file_bytes)
            except SkippableError as error:
                problem = str(error)
            else:
                if content is None:
                    return None, None
                seen = Seen(candidate.size, candidate.mtime_ns, hashlib.sha256(content).hexdigest())
                return make(partial(io.BytesIO, content)), seen
        else:
            problem = candidate.problem
        return make(partial(_refuse, f"{candidate.name}: {problem}")), Seen(candidate.size, candidate.mtime_ns, "")

    def _candidates(self, config: FolderConfig) -> list[_Candidate]:
        """Matching names, oldest first. RetriableError with a sentence on what to look at when it cannot be listed."""
        try:
            root = config.path.resolve(strict=True)
            names = {entry.name for entry in root.iterdir()}
        except FileNotFoundError:
            raise RetriableError(f"folder {config.path} does not exist, or its drive is not mounted") from None
        except NotADirectoryError:
            raise RetriableError(f"{config.path} is not a folder") from None
        except PermissionError:
            raise RetriableError(f"folder {config.path} may not be read by the account the worker runs as") from None
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
            raise RetriableError(f"folder {config.path} cannot be listed: {error}") from error
        found = [self._look(config, root, name, names) for name in names if _matches(name, config)]
        return sorted((c for c in found if c is not None), key=lambda c: (c.mtime_ns, c.name))

    def _look(self, config: FolderConfig, root: Path, name: str, names: set[str]) -> _Candidate | None:
        """Size, age and readiness of one name; None when it vanished meanwhile or is a folder."""
        path = root / name
        try:
            link = path.lstat()
            problem = _outside(path, root) if stat.S_ISLNK(link.st_mode) else None
            # Nothing outside the folder is looked at, not even its size.
            info = link if problem else path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return _Candidate(name, path, 0, 0, True, f"cannot be looked at: {error.strerror or error}")
        if stat.S_ISDIR(info.st_mode):
            return None
        if problem is None and not stat.S_ISREG(info.st_mode):
            problem = "is not a regular file"
        if problem is None and info.st_size > config.max_file_bytes:
            problem = f"has {info.st_size:,} bytes, the limit is {config.max_file_bytes:,}"
        old_enough = self._clock() - info.st_mtime_ns / 1e9 >= config.min_age_s
        marked = config.done_suffix is None or name + config.done_suffix in names
        return _Candidate(name, path, info.st_size, info.st_mtime_ns, old_enough and marked, problem)


def _matches(name: str, config: FolderConfig) -> bool:
    if config.done_suffix is not None and name.endswith(config.done_suffix):
        return False
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in config.patterns)


def _outside(path: Path, root: Path) -> str | None:
    """What is wrong with a symbolic link; None when it stays within the folder."""
    try:
        target = path.resolve(strict=True)
    except FileNotFoundError:
        return "is a symbolic link to nothing"
    except (OSError, RuntimeError):
        return "is a symbolic link that cannot be followed"
    return None if target.is_relative_to(root) else "is a symbolic link that leaves the folder"


def _not_taken(candidate: _Candidate) -> str | None:
    if candidate.problem is not None:
        return candidate.problem
    return None if candidate.ready else "is not ready yet: too young, or its marker is missing"


def _unchanged(candidate: _Candidate, seen: Seen | None) -> bool:
    return seen is not None and seen.size == candidate.size and seen.mtime_ns == candidate.mtime_ns


def _read_settled(candidate: _Candidate, max_bytes: int) -> bytes | None:
    """The content, or None when the file changed while it was read. SkippableError when it may not be opened."""
    target = candidate.path.resolve()
    try:
        # NOFOLLOW and NONBLOCK: the name may have become a link or a pipe since it was looked at.
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = "became a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)
        raise SkippableError(f"cannot be opened: {reason}") from error
    with os.fdopen(descriptor, "rb") as stream:
        content = _at_most(stream, max_bytes)
        after = os.fstat(stream.fileno())
    same = (after.st_size, after.st_mtime_ns) == (candidate.size, candidate.mtime_ns)
    return content if same and content is not None and len(content) == candidate.size else None


def _at_most(stream: BinaryIO, max_bytes: int) -> bytes | None:
    """Everything in `stream`, or None once it holds more than `max_bytes`."""
    content = bytearray()
    while chunk := stream.read(_CHUNK):
        content += chunk
        if len(content) > max_bytes:
            return None
    return bytes(content)


def _refuse(message: str) -> BinaryIO:
    raise SkippableError(message)
