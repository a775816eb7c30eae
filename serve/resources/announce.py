"""Telling the world that rows of a table were changed."""

from __future__ import annotations

from actors.owner import Connections


async def announce(connections: Connections, resource_path: str, count: int, actor: str) -> None:
    """Call after the commit: `count` rows of the resource at this path were created, changed or deleted by `actor`.

    Nobody listens yet.
    """
