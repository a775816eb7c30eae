"""What to do after a failed attempt: a decision returned, never a loop hidden in the worker."""

from __future__ import annotations

import random
from dataclasses import dataclass

import asyncpg
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from fmrp_sdk import RetriableError

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0

# The world was away for a moment: a database restart, a lost link, a worker that died.
_PASSING = (
    ConnectionError,
    TimeoutError,
    RedisError,
    PoolTimeout,
    RetriableError,
    asyncpg.PostgresConnectionError,
)
_PASSING_SQLSTATES = {"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "53400"}


@dataclass(frozen=True)
class Retry:
    """Run again after `delay_s`."""

    delay_s: float


@dataclass(frozen=True)
class GiveUp:
    """Trying again would meet the same fault, or has been tried often enough."""


def is_passing(error: BaseException) -> bool:
    """Whether another attempt could succeed without anybody changing anything."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or isinstance(error, OperationalError):
            return True
        if isinstance(error, InterfaceError):
            return not isinstance(error.orig.__cause__, ValueError) if error.orig else True
        return getattr(error.orig, "sqlstate", None) in _PASSING_SQLSTATES
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # a closed connection, and not a value it cannot send
    # Bulk COPY goes by the bare driver, whose errors come unwrapped.
    if isinstance(error, _PASSING) or getattr(error, "sqlstate", None) in _PASSING_SQLSTATES:
        return True
    return bool(getattr(error, "retriable", False))


def decide(passing: bool, failures: int, max_attempts: int) -> Retry | GiveUp:
    """After an attempt that failed; `failures` counts it. Only passing faults are tried again.

    Exponential backoff with jitter between half and the whole of the delay.
    """
    if not passing or failures >= max_attempts:
        return GiveUp()
    return Retry(_delay_s(failures))


def decide_loss(losses: int, max_losses: int) -> Retry | GiveUp:
    """After an attempt whose process died; `losses` counts it. A job that takes every worker down is to be held.

    The jitter also parts a guilty job from innocent ones that ran beside it.
    """
    return GiveUp() if losses >= max_losses else Retry(_delay_s(losses))


def _delay_s(times: int) -> float:
    longest = min(FIRST_DELAY_S * 2.0 ** (times - 1), LONGEST_DELAY_S)
    return random.uniform(longest / 2, longest)  # noqa: S311 - jitter, not a secret
