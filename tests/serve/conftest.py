"""The application on this test's database and Redis, and a client for every role."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from litestar import Litestar
from pydantic import SecretStr
from serve_world import (
    ROLES,
    add_everything,
    add_user,
    bearer,
    http_client,
    predict,
    started,
    token_for,
)

from serve.application import build_app
from settings import Settings

# As in every test's settings: the signing secret is built in.
TOKEN_SECRET = SecretStr("test" * 12)


@pytest.fixture(scope="session")
def built() -> Litestar:
    """The application, put together once: with all its routes that takes a third of a second."""
    nowhere = {"database_url": SecretStr("postgresql://nobody@nowhere/none"), "redis_url": SecretStr("redis://nowhere")}
    return build_app(Settings(**nowhere, token_secret=TOKEN_SECRET), predict)


@pytest.fixture
async def app(built: Litestar, settings: Settings) -> AsyncIterator[Litestar]:
    """The application, started on this test's database and Redis."""
    assert settings.token_secret == TOKEN_SECRET
    built.state["settings"] = settings
    async with started(built):
        yield built


@pytest.fixture
async def anyone(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with http_client(app) as client:
        yield client


@pytest.fixture
async def by_role(app: Litestar) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """One logged-in client a role."""
    clients = {}
    for role in ROLES:
        user = await add_user(app.state.connections, role)
        clients[role] = http_client(app, bearer(token_for(app, user.id)))
    yield clients
    for client in clients.values():
        await client.aclose()


@pytest.fixture
async def viewer(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who may read."""
    user = await add_user(app.state.connections, "viewer")
    async with http_client(app, bearer(token_for(app, user.id))) as client:
        yield client


@pytest.fixture
async def operator(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who may start work."""
    user = await add_user(app.state.connections, "operator")
    async with http_client(app, bearer(token_for(app, user.id))) as client:
        yield client


@pytest.fixture
async def plant(app: Litestar) -> None:
    """Items, forecast, plan and ingestion runs to read."""
    async with app.state.connections.sessions.begin() as session:
        await add_everything(session)
