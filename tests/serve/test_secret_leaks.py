"""A secret of a source is nowhere to be read: not in the database, its logs, events or answers, whatever goes wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import asyncpg
import pytest
import redis
from cryptography.fernet import Fernet

from settings import Settings

HERE = Path(__file__).parent
SECRET = 'corr/ect+hor"se&42'
SPELLINGS = {
    SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), json.dumps(SECRET)[1:-1],
    json.dumps(json.dumps(SECRET)[1:-1])[1:-1], base64.b64encode(SECRET.encode()).decode(), SECRET.encode().hex(),
}  # fmt: skip


async def dump_database(url: str) -> str:
    """Every row of every table, as text."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [await connection.fetch(f'SELECT t::text FROM "{name}" t') for (name,) in tables]
    finally:
        await connection.close()
    return "\n".join(row[0] for table in rows for row in table)


def dump_redis(url: str) -> str:
    """Everything in Redis, as it is written to disk."""
    with redis.Redis.from_url(url) as client:
        streams = [client.xrange(key) for key in client.scan_iter() if client.type(key) == b"stream"]
        others = [client.dump(key) for key in client.scan_iter() if client.type(key) != b"stream"]
    return f"{streams}{others}"


def install(folder: Path) -> None:
    """The connector as pip would leave it."""
    info = folder / "leaky-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fmrp]\nleaky = erp_connector\n")


@pytest.fixture
def everything(settings: Settings, tmp_path: Path) -> dict[str, str]:
    """What a system that ran in a process of its own has left behind."""
    install(tmp_path / "site")
    answers = tmp_path / "answers"
    environment = {
        **os.environ,
        "FMRP_DATABASE_URL": settings.require_database_url(),
        "FMRP_REDIS_URL": settings.require_redis_url(),
        "FMRP_TOKEN_SECRET": settings.require_token_secret(),
        "FMRP_SECRET_KEYS": Fernet.generate_key().decode(),
        "FMRP_LOG_LEVEL": "DEBUG",
        "PYTHONPATH": os.pathsep.join((str(tmp_path / "site"), str(HERE))),
    }
    script = [sys.executable, str(HERE / "leaking_process.py"), str(answers), SECRET]
    done = subprocess.run(
        script, check=False, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {
        "answers": answers.read_text(),
        "logs": done.stderr + done.stdout,
        "database": asyncio.run(dump_database(settings.require_database_url())),
        "events": dump_redis(settings.require_redis_url()),
    }


def test_no_secret_leaves_a_source(everything: dict[str, str]) -> None:
    for place, text in everything.items():
        found = [spelling for spelling in SPELLINGS if spelling in text]
        where = [line for line in text.splitlines() if any(spelling in line for spelling in found)]
        assert not found, f"in {place}: {where[:3]}"
    # It was there to be told, and what was told is there without it.
    for place, texts in {
        "answers": ["the log-in with [redacted] was refused", "erp refused the password", "Traceback", "RuntimeError"],
        "logs": [
            "logs in with [redacted]",
            "[redacted] is weak",
            "ConnectionError: https://erp:[redacted]@erp.example",
        ],
        "database": ["$sealed", "log-in with [redacted]", "the key [redacted] does not open it", "will retry"],
        "events": ["erp refused the password", "log-in with [redacted]"],
    }.items():
        for expected in texts:
            assert expected in everything[place], f"{expected!r} is not in {place}"
