"""How many requests one user, key or address may send: a bucket in Redis that fills at a steady rate.

Redis' own clock and one atomic script: replicas share the bucket, and a call is one round trip. Of a wide limit a
replica takes a little in advance and hands it out itself. Without Redis nobody is limited, and nobody waits for it
either: after a failure it is left alone for a moment.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

# A healthy Redis answers in a fraction of a millisecond; one that takes this long counts as away.
PATIENCE_S = 0.25
REST_S = 2.0
LOG_EVERY_S = 60.0
# A hundredth of the limit at a time, so that most requests ask nobody; what is not used within a second is lost.
ADVANCE_SHARE = 100
ADVANCE_S = 1.0
MOST_ADVANCES = 10_000

# The stored time is when the bucket is full again (GCRA): one number, no counter to reset at a window's edge.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, limit, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local then_full_at = full_at + cost * interval
local room = now + limit * interval - then_full_at
if room < 0 then
    local left = math.floor((now + limit * interval - full_at) / interval)
    return {0, left, math.ceil(-room), math.ceil(full_at - now)}
end
redis.call('SET', KEYS[1], string.format('%.0f', then_full_at), 'PX', math.ceil((then_full_at - now) / 1000))
return {1, math.floor(room / interval), 0, math.ceil(then_full_at - now)}
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Verdict:
    """Whether a request may go on, how many more may follow at once, and the seconds until it may be tried again and
    until the bucket is full."""

    is_allowed: bool
    limit: int
    remaining: int
    retry_after_s: int
    reset_s: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The RateLimit headers of the answer, as ASGI has them."""
        return [
            (b"ratelimit-limit", str(self.limit).encode()),
            (b"ratelimit-remaining", str(self.remaining).encode()),
            (b"ratelimit-reset", str(self.reset_s).encode()),
        ]


@dataclass
class _Advance:
    """Requests taken from the bucket in one go and not yet handed out; what is left at `until` is lost."""

    left: int
    until: float
    verdict: Verdict


class RateLimiter:
    """Lets each subject send `requests` in a window: all at once, or steadily. `requests` 0 lets everything through."""

    def __init__(
        self, redis: Redis, requests: int, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._requests = requests
        self._interval = window_s * 1_000_000 / requests if requests else 0.0
        self._take = redis.register_script(_TAKE)
        self._clock = clock
        self._advance = max(1, requests // ADVANCE_SHARE)
        self._advances: dict[str, _Advance] = {}
        self._resting_until = -math.inf
        self._logged_at = -math.inf

    async def take(self, subject: str, cost: int = 1) -> Verdict | None:
        """Count a request of `subject`; None when there is no limit, or Redis is away. Never raises."""
        now = self._clock()
        if not self._requests or now < self._resting_until:
            return None
        if (verdict := self.take_held(subject, cost)) is not None:
            return verdict
        try:
            async with asyncio.timeout(PATIENCE_S):
                if cost < self._advance and (verdict := await self._ask(subject, self._advance)).is_allowed:
                    return self._keep(subject, verdict, self._advance - cost, now)
                return await self._ask(subject, cost)
        except (RedisError, OSError) as error:
            self._rest(error)
            return None

    def take_held(self, subject: str, cost: int = 1) -> Verdict | None:
        """Count a request against what is held in advance; None when that does not suffice."""
        held = self._advances.get(subject)
        if held is None or held.left < cost or self._clock() >= held.until:
            return None
        held.left -= cost
        return replace(held.verdict, remaining=held.verdict.remaining + held.left)

    async def _ask(self, subject: str, cost: int) -> Verdict:
        arguments = [self._interval, self._requests, min(cost, self._requests)]
        allowed, left, wait, full = await self._take(keys=[f"fmrp:limit:{subject}"], args=arguments)
        return Verdict(bool(allowed), self._requests, max(left, 0), math.ceil(wait / 1e6), math.ceil(full / 1e6))

    def _keep(self, subject: str, verdict: Verdict, left: int, now: float) -> Verdict:
        if len(self._advances) >= MOST_ADVANCES:
            self._advances = {name: each for name, each in self._advances.items() if each.until > now}
        self._advances[subject] = _Advance(left, now + ADVANCE_S, verdict)
        return replace(verdict, remaining=verdict.remaining + left)

    def _rest(self, error: Exception) -> None:
        now = self._clock()
        self._resting_until = now + REST_S
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            log.warning("nobody is limited: Redis is away", reason=repr(error))
