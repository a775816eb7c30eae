"""Nobody sends more than their share; health and metrics always answer, and without Redis everybody gets in."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator

import httpx
import pytest
import structlog
from litestar import Litestar
from pydantic import SecretStr
from redis.asyncio import Redis
from serve_world import API, PASSWORD, add_user, assert_problem, bearer, http_client, started, token_for
from structlog.testing import capture_logs

from actors.owner import connect_redis
from serve import rate_limits
from serve.application import build_app
from serve.client_address import client_address, limited_address
from serve.rate_limits import LOG_EVERY_S, REST_S, RateLimiter
from settings import Settings


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    """A client of this test's Redis."""
    client = connect_redis(settings)
    yield client
    await client.aclose()


@pytest.fixture
async def narrow(settings: Settings) -> AsyncIterator[Litestar]:
    """An application that takes five requests an hour, behind one proxy."""
    tight = {"rate_limit_requests": 5, "rate_limit_window_s": 3600.0, "trusted_proxies": 1}
    app = build_app(settings.model_copy(update=tight), None)  # type: ignore[arg-type]  # nothing is predicted here
    async with started(app):
        yield app


async def test_the_share_is_given_at_once_and_then_refilled_steadily(redis: Redis) -> None:
    limiter = RateLimiter(redis, requests=10, window_s=0.5)
    verdicts = [await limiter.take("somebody") for _ in range(12)]
    assert [each.is_allowed for each in verdicts[:10]] == [True] * 10
    assert verdicts[0].remaining == 9
    assert verdicts[-1].is_allowed is False
    assert verdicts[-1].retry_after_s == 1, "rounded up to whole seconds"
    assert (await limiter.take("somebody else")).is_allowed
    allowed = 0
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        allowed += (await limiter.take("somebody")).is_allowed
        await asyncio.sleep(0.005)
    assert 8 <= allowed <= 12, "one in a twentieth of a second"


async def test_dear_requests_count_for_several_and_never_for_more_than_there_is(redis: Redis) -> None:
    limiter = RateLimiter(redis, requests=10, window_s=60)
    assert (await limiter.take("a", cost=4)).remaining == 6
    assert (await limiter.take("a", cost=7)).is_allowed is False
    assert (await limiter.take("a", cost=6)).remaining == 0
    assert (await limiter.take("b", cost=500)).is_allowed


async def test_replicas_share_one_bucket_and_it_is_forgotten_once_full(redis: Redis, settings: Settings) -> None:
    other = connect_redis(settings)
    limiters = [RateLimiter(each, requests=20, window_s=60) for each in (redis, other)]
    verdicts = await asyncio.gather(*(limiters[n % 2].take("somebody") for n in range(40)))
    assert sum(each.is_allowed for each in verdicts) == 20
    assert 0 < await redis.pttl("fmrp:limit:somebody") <= 60_000
    await other.aclose()


async def test_of_a_wide_limit_a_replica_takes_some_in_advance_and_never_gives_more(
    redis: Redis, settings: Settings
) -> None:
    other = connect_redis(settings)
    limiters = (RateLimiter(redis, 1000, 3600.0), RateLimiter(other, 1000, 3600.0))
    assert (await limiters[0].take("somebody")).remaining == 999
    asked = await redis.info("commandstats")
    assert [(await limiters[0].take("somebody")).remaining for _ in range(9)] == list(range(998, 989, -1))
    assert (await redis.info("commandstats"))["cmdstat_evalsha"] == asked["cmdstat_evalsha"], (
        "handed out without asking"
    )
    verdicts = [await limiters[n % 2].take("somebody") for n in range(1100)]
    assert sum(each.is_allowed for each in verdicts) == 990
    assert not verdicts[-1].is_allowed
    await other.aclose()


async def test_no_limit_is_no_limit(redis: Redis) -> None:
    limiter = RateLimiter(redis, requests=0, window_s=10)
    assert [await limiter.take("somebody") for _ in range(50)] == [None] * 50
    assert await redis.keys("fmrp:limit:*") == []


async def test_without_redis_nobody_is_limited_nor_waits_and_it_is_said_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One not used before: a logger keeps the processors of its first line.
    monkeypatch.setattr(rate_limits, "log", structlog.get_logger())
    now = 0.0
    away = Redis.from_url("redis://127.0.0.1:1")
    limiter = RateLimiter(away, requests=1, window_s=60, clock=lambda: now)
    with capture_logs() as logs:
        for _ in range(int(LOG_EVERY_S / REST_S)):
            began = time.perf_counter()
            assert [await limiter.take("somebody") for _ in range(20)] == [None] * 20
            assert time.perf_counter() - began < 1.0
            now += REST_S
        assert [each["log_level"] for each in logs] == ["warning"]
        now += LOG_EVERY_S
        assert await limiter.take("somebody") is None
    assert len(logs) == 2
    await away.aclose()


async def test_a_user_over_the_limit_is_told_when_to_come_again(narrow: Litestar) -> None:
    users = [await add_user(narrow.state.connections, "viewer", f"{name}@example.com") for name in ("one", "two")]
    one, two = [http_client(narrow, bearer(token_for(narrow, user.id))) for user in users]
    async with one, two:
        answers = [await one.get(f"{API}/auth/me") for _ in range(6)]
        assert [each.status_code for each in answers] == [200] * 5 + [429]
        assert [each.headers["ratelimit-remaining"] for each in answers] == ["4", "3", "2", "1", "0", "0"]
        assert {each.headers["ratelimit-limit"] for each in answers} == {"5"}
        assert_problem(answers[-1], 429)
        assert 0 < int(answers[-1].headers["retry-after"]) <= 720
        assert 0 < int(answers[-1].headers["ratelimit-reset"]) <= 3600
        assert answers[-1].headers["x-content-type-options"] == "nosniff"
        assert (await two.get(f"{API}/auth/me")).status_code == 200, "one user's share is not another's"


async def test_anonymous_callers_share_their_address_as_the_trusted_proxy_tells_it(narrow: Litestar) -> None:
    async with http_client(narrow) as client:

        async def ask(forwarded: str, path: str = "/docs/openapi.json") -> int:
            return (await client.get(API + path, headers={"X-Forwarded-For": forwarded})).status_code

        assert [await ask(f"1.2.3.{n}, 9.9.9.9") for n in range(6)] == [200] * 5 + [429], "made-up hops change nothing"
        assert await ask("9.9.9.8") == 200
        assert [await ask("9.9.9.7", "/auth/me") for _ in range(6)] == [401] * 5 + [429]
        for n in range(5):
            headers = {"X-Forwarded-For": "9.9.9.6", "X-API-Key": f"fmrp_guess-{n}"}
            assert (await client.get(f"{API}/auth/me", headers=headers)).status_code == 401
        assert await ask("9.9.9.6") == 429, "guessed keys are counted at their address"


async def test_health_and_metrics_are_never_limited(narrow: Litestar) -> None:
    async with http_client(narrow) as client:
        for path in ("/health", "/metrics"):
            answers = [await client.get(path) for _ in range(8)]
            assert {each.status_code for each in answers} == {200}
            assert "ratelimit-limit" not in answers[0].headers


async def test_log_ins_count_for_several(narrow: Litestar) -> None:
    async with http_client(narrow) as client:
        body = {"email": "nobody@example.com", "password": PASSWORD}
        answers = [await client.post(f"{API}/auth/login", json=body) for _ in range(2)]
    assert [each.status_code for each in answers] == [401, 429]


async def test_the_api_answers_without_redis(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1"), "rate_limit_requests": 1})
    app = build_app(away, None)  # type: ignore[arg-type]  # nothing is predicted here
    async with started(app):
        user = await add_user(app.state.connections, "viewer")
        async with http_client(app, bearer(token_for(app, user.id))) as client:
            began = time.perf_counter()
            assert [(await client.get(f"{API}/auth/me")).status_code for _ in range(20)] == [200] * 20
            assert time.perf_counter() - began < 5.0


async def test_counting_costs_little_beside_a_request(redis: Redis) -> None:
    limiter = RateLimiter(redis, requests=1_000_000, window_s=10)
    times = []
    for _ in range(500):
        began = time.perf_counter()
        await limiter.take("somebody")
        times.append(time.perf_counter() - began)
    median_ms = statistics.median(times) * 1000
    print(f"one count: median {median_ms:.3f} ms")
    assert median_ms < 5, "an order of magnitude above what it takes, for a busy machine"


@pytest.mark.parametrize(
    ("forwarded", "trusted", "expected"),
    [
        ([], 0, "10.0.0.1"),
        (["1.1.1.1"], 0, "10.0.0.1"),
        (["1.1.1.1"], 1, "1.1.1.1"),
        (["6.6.6.6, 1.1.1.1"], 1, "1.1.1.1"),
        (["6.6.6.6", "1.1.1.1"], 1, "1.1.1.1"),
        (["6.6.6.6, 1.1.1.1, 10.0.0.2"], 2, "1.1.1.1"),
        (["1.1.1.1"], 2, "10.0.0.1"),
        ([], 1, "10.0.0.1"),
        (["1.1.1.1:4711"], 1, "1.1.1.1"),
        (["[2001:db8::1]:4711"], 1, "2001:db8::1"),
        (["2001:db8::1"], 1, "2001:db8::1"),
        (["nonsense"], 1, "10.0.0.1"),
    ],
)
def test_an_address_is_believed_as_far_as_proxies_are_ours(forwarded: list[str], trusted: int, expected: str) -> None:
    assert client_address("10.0.0.1", forwarded, trusted) == expected


def test_one_customers_addresses_count_as_one() -> None:
    assert limited_address("2001:db8:1:2::1") == limited_address("2001:db8:1:2:ffff::9") == "2001:db8:1:2::"
    assert limited_address("2001:db8:1:3::1") != limited_address("2001:db8:1:2::1")
    assert limited_address("::ffff:1.2.3.4") == limited_address("1.2.3.4") == "1.2.3.4"
    assert limited_address("unknown") == "unknown"


async def test_browsers_of_other_sites_get_what_the_settings_allow(settings: Settings) -> None:
    given = {"allowed_origins": ("https://plant.example",), "hsts_seconds": 600}
    app = build_app(settings.model_copy(update=given), None)  # type: ignore[arg-type]  # nothing is predicted here
    async with started(app), http_client(app) as client:
        for path, status in (("/auth/me", 401), ("/health", 200)):
            answer = await client.get(API + path, headers={"Origin": "https://plant.example"})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "https://plant.example"
            exposed = {each.strip().lower() for each in answer.headers["access-control-expose-headers"].split(",")}
            assert {"etag", "location", "link", "retry-after"} <= exposed
            assert answer.headers["strict-transport-security"] == "max-age=600; includeSubDomains"
        foreign = await client.get(f"{API}/health", headers={"Origin": "https://evil.example"})
        assert foreign.headers.get("access-control-allow-origin") in (None, "https://plant.example")
        preflight = await client.options(
            f"{API}/users",
            headers={
                "Origin": "https://plant.example",
                "Access-Control-Request-Method": "PATCH",
                "Access-Control-Request-Headers": "authorization,if-match,content-type",
            },
        )
        assert preflight.status_code == 204
        assert (
            "PATCH" in preflight.headers["access-control-allow-methods"]
            or "*" in preflight.headers["access-control-allow-methods"]
        )


async def test_without_tls_nothing_is_said_of_it(anyone: httpx.AsyncClient) -> None:
    assert "strict-transport-security" not in (await anyone.get("/health")).headers
