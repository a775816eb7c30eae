"""The API with 20,000 items and 2 million rows of demand, against a bare ping: same proxy, same load, same run."""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bench.events import percentile
from cluster.local.attach import attached
from cluster.local.redis import free_port
from cluster.local.stack import Stack
from db.timeseries import prepare_months
from settings import Settings

ITEMS, DAYS = 20_000, 100
PING_PREFIX = "/bench"
RATE = 50.0
RATIO_LIMIT, P95_LIMIT_MS = 3.0, 50.0
WORDS = ("Pump", "Shaft", "Seal", "Valve", "Motor", "Bearing", "Housing", "Gasket", "Bracket", "Spindle")

Request = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


async def fill(url: str) -> None:
    """20,000 items with stock and 100 days of demand each."""
    engine = create_async_engine(url)
    names = ", ".join(f"'{word}'" for word in WORDS)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO item (id, code, name, kind, cost, price, lead_time_days)"
                f" SELECT gen_random_uuid(), 'I-' || lpad(n::text, 5, '0'), (ARRAY[{names}])[1 + n % {len(WORDS)}]"
                "  || ' ' || n, (ARRAY['finished', 'component', 'raw_material', 'packaging'])[1 + n % 4],"
                f" n % 1000, n % 1500, n % 30 FROM generate_series(1, {ITEMS}) n"
            )
        )
        await connection.execute(
            text("INSERT INTO stock (id, item_id, on_hand) SELECT gen_random_uuid(), id, 100 FROM item")
        )
        days = list(
            (await connection.execute(text(f"SELECT current_date - n FROM generate_series(1, {DAYS}) n"))).scalars()
        )
        await prepare_months(connection, "demand", days)
        await connection.execute(
            text(
                "INSERT INTO demand (item_id, feed, day, quantity, revenue)"
                f" SELECT i.id, 'bench', current_date - n, n % 17, n FROM item i, generate_series(1, {DAYS}) n"
            )
        )
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM ANALYZE"))
    await engine.dispose()


def requests(chance: random.Random) -> dict[str, Callable[[], Request]]:
    """What is asked, each time with other values."""

    def code() -> str:
        return f"I-{chance.randint(1, ITEMS):05}"

    def page(**query: str) -> Request:
        return lambda client: client.get("/api/v1/items", params=query)

    def searched() -> Request:
        return page(search=f"{chance.choice(WORDS).lower()} {chance.randint(1, 99)}", kind="component", sort="-price")

    def filtered() -> Request:
        return page(kind=chance.choice(("finished", "packaging")), cost_from=str(chance.randint(1, 900)))

    def read() -> Request:
        found = code()
        return lambda client: client.get(f"/api/v1/items/{found}")

    def patched() -> Request:
        found, price = code(), chance.randint(1, 10_000) / 100
        return lambda client: client.patch(f"/api/v1/items/{found}", json={"price": price})

    def series() -> Request:
        found = code()
        return lambda client: client.get(f"/api/v1/demand/{found}", params={"grain": "week"})

    return {
        "ping": lambda: lambda client: client.get(f"{PING_PREFIX}/ping"),
        "list, searched": searched,
        "list, filtered": filtered,
        "one item": read,
        "patch": patched,
        "weekly demand": series,
    }


async def load(client: httpx.AsyncClient, seconds: float, rate: float, seed: int) -> dict[str, list[float]]:
    """Ask at a fixed rate, whatever the answers take; milliseconds by kind of request."""
    chance = random.Random(seed)
    kinds = requests(chance)
    took: dict[str, list[float]] = {name: [] for name in kinds}
    names = list(kinds)

    async def one(name: str) -> None:
        request = kinds[name]()
        began = time.perf_counter()
        answer = await request(client)
        took[name].append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(one(names[number % len(names)]))
    return took


async def measure(stack: Stack, seconds: float, rounds: int) -> None:
    """Print p50 and p95 of each kind, and its ratio to the ping, as the median of some rounds with their spread."""
    login = {"email": stack.settings.admin_email, "password": stack.first_password}
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=stack.api_url.removesuffix("/api/v1"), limits=limits, timeout=30) as client:
        token = (await client.post("/api/v1/auth/login", json=login)).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        await load(client, 5, RATE, seed=0)
        results = [await load(client, seconds, RATE, seed) for seed in range(1, rounds + 1)]
    print(f"{ITEMS:,} items, {ITEMS * DAYS:,} rows of demand, {RATE:.0f} requests/s, {rounds} x {seconds:.0f} s")
    for name in results[0]:
        p95s = [percentile(result[name], 0.95) for result in results]
        ratios = [percentile(result[name], 0.95) / percentile(result["ping"], 0.95) for result in results]
        middle, ratio = statistics.median(p95s), statistics.median(ratios)
        verdict = (
            ""
            if name == "ping"
            else f" = {ratio:.1f} x ping ({min(ratios):.1f} to {max(ratios):.1f}, limit {RATIO_LIMIT:.0f})"
        )
        p50 = statistics.median(statistics.median(result[name]) for result in results)
        print(f"  {name:<15} p50 {p50:5.1f} ms, p95 {middle:5.1f} ms ({min(p95s):.1f} to {max(p95s):.1f}){verdict}")
    worst = max(statistics.median(percentile(result[name], 0.95) for result in results) for name in results[0])
    print(f"  slowest p95 = {worst / P95_LIMIT_MS:.2f} x the limit of {P95_LIMIT_MS:.0f} ms")


def main() -> None:
    """Run on a stack of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    given, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="fmrp-bench-") as folder:
        settings = Settings(data_dir=Path(folder), api_port=free_port(), dashboard_port=free_port(), database_url=None)
        with Stack(settings) as stack:
            asyncio.run(fill(stack.settings.require_database_url()))
            with attached(settings):
                _ping()
            asyncio.run(measure(stack, given.seconds, given.rounds))


def _ping() -> None:
    """Put the bare application beside the API."""
    # Only now: Ray reads its token when it is first imported.
    from ray import serve

    from bench import api_ping

    serve.run(api_ping.application, name="ping", route_prefix=PING_PREFIX)


if __name__ == "__main__":
    main()
