"""The stack that end-to-end tests use too, with kinds of job that misbehave (see `stacks.WORK_MODULES`)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from stacks import logged_in
from victims import whole_again

from actors.owner import Connections
from cluster.demo.client import Client
from cluster.local.stack import Stack
from tests.faults import work


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """Logged in as the administrator."""
    async with logged_in(stack) as client:
        yield client


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
