"""Ends tasks for certain: in Python 3.11 an answer that arrives just then can swallow a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_S = 0.2


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the tasks, again and again until each has ended; nothing they raise is raised here."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: a task whose error nobody asks for is reported when it is collected
