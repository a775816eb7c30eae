"""No item is a component of itself, no category a part of itself: what was just written is undone if it closes a cycle.

Bills of material are looked at over all versions and dates together: a line of a version that is not in use yet must
not close a cycle either, as it would on the day the version is switched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories import bills
from planning.cycles import Line, closing_lines
from serve.problems import FieldError

# Of a large import with much wrong in it, enough to go on with.
MOST_NAMED = 20


async def no_bill_cycle(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> Sequence[FieldError]:
    """What is wrong with bill lines just written: each that lies on a cycle, with the way round."""
    # Two writers each of one half of a cycle would not see each other's line; the later one waits, then sees it.
    await bills.lock_structure(session, "bom_line")
    written = [(row["parent"], row["component"]) for row in rows]
    lines = await bills.lines_reached(session, sorted({component for _, component in written}))
    return await _errors("component", lines, written)


async def no_category_cycle(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> Sequence[FieldError]:
    """The same for categories and their parents."""
    written = [(row["code"], row["parent"]) for row in rows if row["parent"] is not None]
    if not written:
        return []
    await bills.lock_structure(session, "item_category")
    lines = await bills.category_lines_reached(session, sorted({code for code, _ in written}))
    return await _errors("parent", lines, written)


async def _errors(field: str, lines: Sequence[Line], written: Sequence[Line]) -> list[FieldError]:
    found = await asyncio.to_thread(closing_lines, lines, written)
    return [FieldError(field, f"closes the cycle {' -> '.join(path)}") for _, path in found[:MOST_NAMED]]
