"""A task that is to end does end, whatever becomes of one cancellation."""

import asyncio
from contextlib import suppress

import pytest

from actors.ending import end


async def swallows(times: int) -> str:
    """Overhears so many cancellations, as a driver does to which an answer comes at that moment."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()
    return "never"


async def fails() -> None:
    raise ValueError("broken")


@pytest.mark.timeout(20)
async def test_lost_cancellations_are_sent_again() -> None:
    tasks = [asyncio.create_task(swallows(times)) for times in (0, 1, 3)]
    await asyncio.sleep(0)
    await end(*tasks)
    assert all(task.cancelled() for task in tasks)


async def test_tasks_that_have_ended_by_themselves_keep_how_they_did() -> None:
    failed, done = asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(0, "result"))
    await asyncio.wait({failed, done})
    await end(failed, done)
    assert done.result() == "result"
    with pytest.raises(ValueError, match="broken"):
        failed.result()
