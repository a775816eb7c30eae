"""The stack that end-to-end tests use too, with kinds of job that misbehave (see `stacks.WORK_MODULES`)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from victims import whole_again

from actors.owner import Connections
from cluster.local.stack import Stack
from tests.faults import work


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without FMRP_FAULTS=full (`make test-faults`), only the short form is run."""
    if os.environ.get("FMRP_FAULTS") == "full":
        return
    left_out = [item for item in items if item.get_closest_marker("faults_full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
async def system(stack: Stack) -> AsyncIterator[Connections]:
    """The stack's own database and Redis. The test may do what it likes to the stack, and waits until it is whole."""
    opened = Connections(stack.settings, "test")
    async with opened.sessions.begin() as session:
        for statement in work.TABLES:
            await session.execute(text(statement))
    yield opened
    await opened.close()
    await whole_again(stack)
