"""What drives the running stack from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from delivery import deliver
from stacks import logged_in

from actors.owner import Connections
from cluster.demo.client import Client
from cluster.demo.factory import FactoryFiles
from cluster.local.stack import Stack


@pytest.fixture(scope="session")
def factory(stack: Stack) -> FactoryFiles:
    """A small factory's files, waiting in the inbox."""
    return deliver(stack, seed=7)


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """Logged in as the administrator."""
    async with logged_in(stack) as client:
        yield client


@pytest.fixture
async def connections(stack: Stack) -> AsyncIterator[Connections]:
    """The stack's own database and Redis, to look at what the API does not show."""
    opened = Connections(stack.settings, "test")
    yield opened
    await opened.close()
