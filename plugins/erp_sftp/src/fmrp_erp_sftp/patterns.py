"""Which names to take, and which folders may hold some: paths with *, ?, [...] within a name and ** for any folders.

All positions that a path may have reached in all patterns are followed at once, so that each folder is listed once
and only where something could match. Upper and lower case are the same.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

Positions = frozenset[tuple[int, int]]
"""Pairs of pattern and the part of it that is to match next."""

ANY_FOLDERS = "**"


class Patterns:
    """Several patterns, for example `orders/*.csv` and `stock/**/*.xlsx`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._parts = tuple(tuple(pattern.lower().split("/")) for pattern in patterns)

    def start(self) -> Positions:
        """The positions in the base folder."""
        return self._with_nothing_skipped((pattern, 0) for pattern in range(len(self._parts)))

    def within(self, positions: Positions, folder: str) -> Positions:
        """The positions in a folder of that name; empty: nothing below it can match."""
        name, reached = folder.lower(), set()
        for pattern, at in positions:
            part = self._parts[pattern][at]
            if part == ANY_FOLDERS:
                reached.add((pattern, at))
            elif at + 1 < len(self._parts[pattern]) and fnmatchcase(name, part):
                reached.add((pattern, at + 1))
        return self._with_nothing_skipped(reached)

    def takes(self, positions: Positions, file: str) -> bool:
        """Whether a file of that name matches a pattern here."""
        name = file.lower()
        return any(
            at + 1 == len(self._parts[pattern]) and fnmatchcase(name, self._parts[pattern][at])
            for pattern, at in positions
        )

    def _with_nothing_skipped(self, positions: Iterable[tuple[int, int]]) -> Positions:
        """** stands for no folder, too: the part after it may match at once."""
        reached = set[tuple[int, int]]()
        for pattern, first in positions:
            at = first
            reached.add((pattern, at))
            while self._parts[pattern][at] == ANY_FOLDERS:
                at += 1
                reached.add((pattern, at))
        return frozenset(reached)
