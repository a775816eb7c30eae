"""A dashboard's log-ins live on refresh tokens that only its process holds, each exchanged exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fake_api import PASSWORD, FakeApi

from dashboards.api_client import ApiClient, ApiProblem, http_client
from dashboards.sessions import RENEW_BEFORE_S, SessionStore, SignedIn

EMAIL = "planner@example.com"
DAY_S = 86_400.0


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> SessionStore:
    return SessionStore(clock)


@pytest.fixture
async def api(fake: FakeApi) -> AsyncIterator[ApiClient]:
    """The API as nobody."""
    async with http_client() as http:
        yield ApiClient(http, fake.url)


@pytest.fixture
async def signed_in(api: ApiClient, store: SessionStore) -> SignedIn:
    """A log-in whose access token holds for an hour."""
    return store.add(await api.login(EMAIL, PASSWORD))


def exchanges(fake: FakeApi) -> int:
    return sum(path.endswith("/auth/refresh") for _, path, _ in fake.world.requests)


async def test_a_token_that_holds_is_used_as_it_is(
    fake: FakeApi, api: ApiClient, store: SessionStore, signed_in: SignedIn, clock: Clock
) -> None:
    clock.now = 3600 - RENEW_BEFORE_S - 1
    assert await store.token_of(signed_in, api) == signed_in.token
    assert exchanges(fake) == 0


async def test_everybody_waits_for_one_exchange(
    fake: FakeApi, api: ApiClient, store: SessionStore, signed_in: SignedIn, clock: Clock
) -> None:
    first = signed_in.token
    clock.now = 3600 - RENEW_BEFORE_S
    tokens = await asyncio.gather(*(store.token_of(signed_in, api) for _ in range(10)))
    assert set(tokens) == {signed_in.token} != {first}
    assert exchanges(fake) == 1
    clock.now += 3600
    await store.token_of(signed_in, api)
    assert exchanges(fake) == 2


async def test_an_exchange_goes_on_though_whoever_asked_for_it_has_left(
    fake: FakeApi, api: ApiClient, store: SessionStore, signed_in: SignedIn, clock: Clock
) -> None:
    clock.now = 3600
    asking = asyncio.create_task(store.token_of(signed_in, api))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await store.token_of(signed_in, api) in fake.world.tokens
    assert exchanges(fake) == 1


async def test_while_the_api_is_away_a_token_serves_to_its_end(
    fake: FakeApi, api: ApiClient, store: SessionStore, signed_in: SignedIn, clock: Clock
) -> None:
    first = signed_in.token
    fake.world.broken.add("/auth/refresh")
    clock.now = 3600 - RENEW_BEFORE_S
    assert await store.token_of(signed_in, api) == first
    clock.now = 3600
    with pytest.raises(ApiProblem) as caught:
        await store.token_of(signed_in, api)
    assert caught.value.status == 503
    assert store.find(signed_in.key) is signed_in, "the log-in itself goes on"
    fake.world.broken.clear()
    assert await store.token_of(signed_in, api) != first


async def test_a_log_in_ended_elsewhere_is_forgotten(
    fake: FakeApi, api: ApiClient, store: SessionStore, signed_in: SignedIn, clock: Clock
) -> None:
    fake.world.refresh_tokens.clear()
    clock.now = 3600
    with pytest.raises(ApiProblem) as caught:
        await store.token_of(signed_in, api)
    assert caught.value.status == 401
    assert store.find(signed_in.key) is None


async def test_a_log_in_ends_after_its_days_however_often_it_was_renewed(
    api: ApiClient, store: SessionStore, signed_in: SignedIn, clock: Clock
) -> None:
    clock.now = 13 * DAY_S
    await store.token_of(signed_in, api)
    assert store.find(signed_in.key) is signed_in
    clock.now = 14 * DAY_S
    assert store.find(signed_in.key) is None


async def test_no_token_is_printed(signed_in: SignedIn) -> None:
    shown = repr(signed_in)
    assert not any(secret in shown for secret in (signed_in.key, signed_in.token, signed_in.refresh_token))


async def test_a_client_asks_for_its_token_at_each_call(
    fake: FakeApi, api: ApiClient, store: SessionStore, signed_in: SignedIn, clock: Clock
) -> None:
    async with httpx.AsyncClient() as http:
        client = ApiClient(http, fake.url, lambda: store.token_of(signed_in, api))
        assert (await client.me()).email == EMAIL
        fake.world.tokens.clear()
        clock.now = 3600
        assert (await client.me()).email == EMAIL
        async with client.orders_csv({}) as response:
            assert response.status_code == 200
