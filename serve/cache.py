"""Answers that take long to compute, kept in Redis, and never older than the data they were computed from.

Nothing is ever invalidated by a message that could be lost. The key of an entry holds the version of the data it was
made from (db/versions.py), which each request reads from PostgreSQL together with what it looks up there anyway. After
a change nobody asks for the old key any more, whatever Redis holds, was cut off from, or comes back with from its disk.

Its room is bounded: a cache has SLOTS places, an entry goes to the one its key hashes to and replaces what was there.
Redis that is away or slow costs PATIENCE_S once, then nothing for REST_S: meanwhile answers are computed.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from actors import metrics
from settings import Settings

SLOTS = 128
MOST_BYTES = 512 * 1024
"""Of an entry as it is stored, compressed; 64 MiB a cache at the very most. What is larger is computed each time."""
PATIENCE_S = 0.05
REST_S = 5.0
TTL_S = 3600
_DIGEST_BYTES = 32

log = structlog.get_logger(__name__)


class Cache:
    """A process's way to the answers kept in Redis, over a connection of its own that waits for nothing."""

    def __init__(self, settings: Settings, *, patience_s: float = PATIENCE_S, rest_s: float = REST_S) -> None:
        self._redis = Redis.from_url(
            settings.require_redis_url(),
            socket_connect_timeout=patience_s,
            socket_timeout=patience_s,
            retry=Retry(NoBackoff(), retries=0),
        )
        self._patience_s = patience_s
        self._rest_s = rest_s
        self._resting_until = float("-inf")

    async def answer(self, cache: str, key: tuple[object, ...], compute: Callable[[], Awaitable[bytes]]) -> bytes:
        """The bytes kept under the key, else those computed, which are then kept.

        `key` tells one answer of the cache from all others and contains the version of its data, read before this.
        `compute` must read data no older than that version. Its exceptions are the caller's; those of Redis are not.
        """
        digest = hashlib.blake2b(repr(key).encode(), digest_size=_DIGEST_BYTES).digest()
        place = f"fmrp:cache:{cache}:{int.from_bytes(digest[:4]) % SLOTS}"
        kept = await self._ask(cache, partial(self._redis.get, place))
        if kept is not None and kept[:_DIGEST_BYTES] == digest:
            metrics.cache_asked(cache, hit=True)
            return zlib.decompress(kept[_DIGEST_BYTES:])
        metrics.cache_asked(cache, hit=False)
        made = await compute()
        if not self._is_resting:
            packed = digest + await asyncio.to_thread(zlib.compress, made, 1)
            if len(packed) <= MOST_BYTES:
                await self._ask(cache, partial(self._redis.set, place, packed, ex=TTL_S))
        return made

    async def close(self) -> None:
        """Give the connection back."""
        await self._redis.aclose()

    @property
    def _is_resting(self) -> bool:
        return time.monotonic() < self._resting_until

    async def _ask(self, cache: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """What Redis answers in time, else None."""
        if self._is_resting:
            metrics.cache_away(cache)
            return None
        try:
            async with asyncio.timeout(self._patience_s):
                return await call()
        except (RedisError, OSError, TimeoutError) as error:
            self._resting_until = time.monotonic() + self._rest_s
            metrics.cache_away(cache)
            log.warning("cache away", cache=cache, reason=str(error) or type(error).__name__, rest_s=self._rest_s)
            return None
