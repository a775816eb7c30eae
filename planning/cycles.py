"""Whether lines just written close a cycle: in bills of material, or in any tree kept as parent and child."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from planning.bom import find_cycles

Line = tuple[str, str]
"""Parent and component, by code."""


def closing_lines(lines: Sequence[Line], written: Iterable[Line]) -> list[tuple[Line, tuple[str, ...]]]:
    """Those of the written lines that lie on a cycle, with a shortest way round from their parent back to it.

    `lines` are all that can be reached from the written ones' components, these included; cycles that were there
    before and that no written line is part of are left alone.
    """
    rows: dict[str, int] = {}
    for line in lines:
        for code in line:
            rows.setdefault(code, len(rows))
    pairs = np.array([(rows[parent], rows[component]) for parent, component in lines], dtype=np.int64).reshape(-1, 2)
    cycle_of = {row: number for number, cycle in enumerate(find_cycles(*pairs.T)) for row in cycle.members}
    if not cycle_of:
        return []
    below: dict[str, list[str]] = {}
    for parent, component in lines:
        if cycle_of.get(rows[parent], -1) == cycle_of.get(rows[component], -2):
            below.setdefault(parent, []).append(component)
    found = []
    for parent, component in dict.fromkeys(written):
        if component in below.get(parent, ()):
            found.append(((parent, component), (parent, *_shortest_way(below, component, parent))))
    return found


def _shortest_way(below: dict[str, list[str]], start: str, end: str) -> tuple[str, ...]:
    """From `start` down to `end`, both included; there is a way."""
    came_from: dict[str, str] = {}
    waiting = deque([start])
    while waiting and end not in came_from and start != end:
        code = waiting.popleft()
        for child in below.get(code, ()):
            if child not in came_from:
                came_from[child] = code
                waiting.append(child)
    path = [end]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return tuple(reversed(path))
