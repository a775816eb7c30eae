"""Bills of material: low-level codes, cycles, effectivity, and the lines in the order in which they are exploded."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from planning.arrays import FloatArray, IntArray


class CycleError(ValueError):
    """An item is, over one or more levels, a component of itself; `path` names the cycle, first item repeated last."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return "cycle in the bill of material: " + " > ".join(self.path)


@dataclass(frozen=True)
class Cycle:
    """Items that are all components of each other (`members`), and one shortest way round (`path`), as item rows."""

    members: tuple[int, ...]
    path: tuple[int, ...]


@dataclass(frozen=True)
class Structure:
    """Bill lines sorted by the low-level code of the component, then by component; all arrays [lines] unless stated.

    `rate` is the gross need per unit of the parent, quantity_per / (1 - scrap_share). A line is effective for releases
    in the buckets `first_bucket`..`last_bucket`. `levels` holds the item rows of each low-level code, and the lines of
    level k are `level_lines[k]` up to `level_lines[k + 1]`.
    """

    parent: IntArray
    component: IntArray
    rate: FloatArray
    first_bucket: IntArray
    last_bucket: IntArray
    levels: tuple[IntArray, ...]
    level_lines: IntArray

    def segments(self, level: int, most_lines: int) -> Iterator[tuple[slice, IntArray]]:
        """Slices of a level's lines of about `most_lines`, never splitting a component, with each segment's starts."""
        first, end = int(self.level_lines[level]), int(self.level_lines[level + 1])
        if first == end:
            return
        component = self.component[first:end]
        starts = first + np.flatnonzero(np.r_[True, component[1:] != component[:-1]])
        at = 0
        while at < len(starts):
            upto = max(int(np.searchsorted(starts, starts[at] + most_lines)), at + 1)
            stop = int(starts[upto]) if upto < len(starts) else end
            yield slice(int(starts[at]), stop), starts[at:upto] - starts[at]
            at = upto


def build_structure(
    parent: IntArray,
    component: IntArray,
    rate: FloatArray,
    first_bucket: IntArray,
    last_bucket: IntArray,
    codes: Sequence[str],
) -> Structure:
    """Order the lines for explosion over the items `codes`; raises CycleError."""
    level = low_level_codes(parent, component, codes)
    order = np.lexsort((parent, component, level[component]))
    depth = int(level.max()) + 1 if len(level) else 0
    return Structure(
        parent=parent[order],
        component=component[order],
        rate=rate[order],
        first_bucket=first_bucket[order],
        last_bucket=last_bucket[order],
        levels=tuple(np.flatnonzero(level == k) for k in range(depth)),
        level_lines=np.searchsorted(level[component[order]], np.arange(depth + 1)).astype(np.int64),
    )


def low_level_codes(parent: IntArray, component: IntArray, codes: Sequence[str]) -> IntArray:
    """Greatest depth at which each item occurs (0: under no parent), [items]; raises CycleError naming a cycle.

    An item is planned after everything that needs it, so its low-level code is the greatest, not the least, depth
    (Orlicky, Material Requirements Planning).
    """
    found = find_cycles(parent, component)
    if found:
        raise CycleError(tuple(codes[row] for row in found[0].path))
    level = np.zeros(len(codes), dtype=np.int64)
    while True:
        deeper = level.copy()
        np.maximum.at(deeper, component, level[parent] + 1)
        if np.array_equal(deeper, level):
            return level
        level = deeper


def items_on_cycles(parent: IntArray, component: IntArray) -> IntArray:
    """Rows of the items that lie on any cycle, ascending; none in a sound bill of material."""
    rows = sorted(row for cycle in find_cycles(parent, component) for row in cycle.members)
    return np.array(rows, dtype=np.int64)


def find_cycles(parent: IntArray, component: IntArray) -> list[Cycle]:
    """Every group of items that contain each other (strongly connected components), in the order of their first row."""
    graph = _between_cycles(parent, component)
    cycles = []
    for members in _strongly_connected(graph):
        if len(members) > 1 or members[0] in graph[members[0]]:
            ordered = tuple(sorted(members))
            cycles.append(Cycle(ordered, _shortest_way_round(graph, ordered)))
    return sorted(cycles, key=lambda cycle: cycle.members[0])


def effective_buckets(valid_from: IntArray, valid_to: IntArray, buckets: int) -> tuple[IntArray, IntArray]:
    """Clip day positions of effectivity to the horizon: first and last bucket per line, first > last where never."""
    return np.maximum(valid_from, 0), np.minimum(valid_to, buckets - 1)


def _between_cycles(parent: IntArray, component: IntArray) -> dict[int, list[int]]:
    """The lines left once items without parent or without component are taken away, again and again.

    In a sound bill of material nothing is left, so the search that follows costs nothing.
    """
    while len(parent):
        kept = np.isin(parent, component) & np.isin(component, parent)
        if kept.all():
            break
        parent, component = parent[kept], component[kept]
    graph: dict[int, list[int]] = {}
    for above, below in sorted(set(zip(parent.tolist(), component.tolist(), strict=True))):
        graph.setdefault(above, []).append(below)
    return graph


def _strongly_connected(graph: dict[int, list[int]]) -> Iterator[list[int]]:
    """Strongly connected components (Tarjan 1972) without recursion: bad data may hold very long chains."""
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    open_items: list[int] = []
    is_open: set[int] = set()
    for root, components in graph.items():
        if root in order:
            continue
        work = [(root, iter(components))]
        order[root] = lowest[root] = len(order)
        open_items.append(root)
        is_open.add(root)
        while work:
            item, children = work[-1]
            child = next((c for c in children if c not in order or c in is_open), None)
            if child is None:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[item])
                if lowest[item] == order[item]:
                    at = open_items.index(item)
                    yield open_items[at:]
                    is_open.difference_update(open_items[at:])
                    del open_items[at:]
            elif child in order:
                lowest[item] = min(lowest[item], order[child])
            else:
                order[child] = lowest[child] = len(order)
                open_items.append(child)
                is_open.add(child)
                work.append((child, iter(graph.get(child, ()))))


def _shortest_way_round(graph: dict[int, list[int]], members: tuple[int, ...]) -> tuple[int, ...]:
    """A shortest cycle through the first member, that member first and last."""
    start, inside = members[0], set(members)
    came_from: dict[int, int] = {}
    waiting = deque([start])
    while start not in came_from:
        item = waiting.popleft()
        for child in graph.get(item, ()):
            if child in inside and child not in came_from:
                came_from[child] = item
                waiting.append(child)
    path = [start, came_from[start]]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return tuple(reversed(path))
