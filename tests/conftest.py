"""Real servers for tests: PostgreSQL and Redis from their wheels, or those FMRP_DATABASE_URL and FMRP_REDIS_URL name.

Every test gets a database of its own, cloned from a migrated template, and an empty Redis.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis as redis_client
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from stacks import running_stack
from xdist.scheduler import LoadScopeScheduling

from actors.owner import Connections
from cluster.local.postgres import EmbeddedPostgres
from cluster.local.redis import EmbeddedRedis
from cluster.local.stack import Stack
from db import migrate
from settings import Settings, normalise_database_url

CHROMIUM_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# Processes that share a given server (pytest-xdist) each have a template and a Redis database of their own.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
TEMPLATE = f"fmrp_test_template_{WORKER}"
UNHURRIED = ("fsync", "synchronous_commit", "full_page_writes")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_unconfigure() -> None:
    """Collecting an application that has made its document can crash the interpreter: at exit it is left alone."""
    gc.freeze()


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Where embedded servers keep their data; short, because a socket's path must be."""
    folder = Path(tempfile.mkdtemp(prefix="fmrp-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(server_folder: Path) -> Iterator[str]:
    """URL of a server on which databases may be made."""
    if given := os.environ.get("FMRP_DATABASE_URL"):
        yield normalise_database_url(given)
        return
    server = EmbeddedPostgres(server_folder / "pg", "test")
    server.start()
    # Nothing of a test has to outlive the machine; killed servers recover all the same.
    asyncio.run(
        _admin(server.url, *(f"ALTER SYSTEM SET {each} = off" for each in UNHURRIED), "SELECT pg_reload_conf()")
    )
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def redis_server_url(server_folder: Path) -> Iterator[str]:
    """URL of a Redis that tests may empty."""
    if given := os.environ.get("FMRP_REDIS_URL"):
        yield given if WORKER == "gw0" else f"{given}{'&' if '?' in given else '?'}db={WORKER.removeprefix('gw')}"
        return
    server = EmbeddedRedis(server_folder / "redis", "test", server_folder)
    server.start()
    yield server.url
    server.stop()


async def _admin(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def database_named(url: str, name: str) -> str:
    """The same server, another database."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """A migrated database that tests are cloned from."""
    asyncio.run(_admin(postgres_url, f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE}"))
    migrate.upgrade(database_named(postgres_url, TEMPLATE))
    # A database can be cloned only while nobody is in it, and extensions keep background workers in theirs.
    close = f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false"
    clear = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'"
    asyncio.run(_admin(postgres_url, close, clear))
    yield TEMPLATE
    asyncio.run(_admin(postgres_url, f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)"))


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without our schema."""
    name = f"fmrp_test_{uuid.uuid4().hex[:12]}"
    asyncio.run(_admin(postgres_url, f"CREATE DATABASE {name}"))
    yield database_named(postgres_url, name)
    asyncio.run(_admin(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """A migrated, empty database for one test."""
    name = f"fmrp_test_{uuid.uuid4().hex[:12]}"
    asyncio.run(_admin(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template_database}"))
    yield database_named(postgres_url, name)
    asyncio.run(_admin(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """An empty Redis."""
    with redis_client.Redis.from_url(redis_server_url) as client:
        client.flushdb()
    return redis_server_url


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings of a system on this test's servers."""
    return Settings(
        data_dir=tmp_path / "data",
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        token_secret=SecretStr("test" * 12),
        secret_keys=SecretStr("dGVzdCBrZXkgb2YgZXhhY3RseSAzMiBieXRlcywgb2s="),
        job_heartbeat_s=1.0,
        database_pool_size=3,
    )


@pytest.fixture
async def connections(settings: Settings) -> AsyncIterator[Connections]:
    """Engine, sessions, Redis and event stream of one process."""
    opened = Connections(settings, "test")
    yield opened
    await opened.close()


class ByFolder(LoadScopeScheduling):
    """Side by side, tests of one folder share a stack and come in their order."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0].rpartition("/")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder | None:
    """Of `--dist loadscope` (the Makefile's way with stacks) the scope is the folder."""
    return ByFolder(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The running stack that end-to-end and fault tests share."""
    with running_stack() as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium. For one module only: while Playwright is open, no other event loop can run here."""
    found = os.environ.get("FMRP_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium: install Debian's package chromium, or set FMRP_CHROMIUM to its path")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found: expected the data sets in {SHARED_DATA}")
    return SHARED_DATA
