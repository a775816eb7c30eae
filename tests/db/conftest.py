"""An engine for property tests, whose examples share one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One loop for all examples of a property, since an engine belongs to its loop."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def engine(loop: asyncio.AbstractEventLoop, database_url: str) -> Iterator[AsyncEngine]:
    """An engine on that loop."""
    made = create_async_engine(database_url)
    yield made
    loop.run_until_complete(made.dispose())
