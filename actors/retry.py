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
# However long a source asks to be left alone.
LONGEST_WAIT_S = 86_400.0

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
    """Run again after `delay_s`; a retry step is used up when `takes_step`."""

    delay_s: float
    takes_step: bool = False


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


def asked_wait_s(error: BaseException) -> float | None:
    """How long a source that is away asked to be left alone (0 when it did not say); None for any other fault."""
    if not isinstance(error, RetriableError):
        return None
    asked = error.retry_after_s or 0.0
    return min(asked, LONGEST_WAIT_S) if asked > 0 else 0.0  # not a number is no time to wait either


def decide(
    passing: bool,
    failures: int,
    max_attempts: int,
    *,
    source_wait_s: float | None = None,
    step_in_s: float | None = None,
    used_steps: int = 0,
) -> Retry | GiveUp:
    """After an attempt that failed; `failures` counts it. Only passing faults are tried again.

    A fault of our own is likely over in seconds: exponential backoff with jitter between half and the whole of the
    delay, until `failures` reaches `max_attempts`; then the retry steps. A source that is away (`source_wait_s`, as
    `asked_wait_s` tells) goes by the steps at once, where there are any, and is left alone for as long as it asked.
    `step_in_s` is the time to the next step; None when none is left, or there are none.
    """
    if not passing:
        return GiveUp()
    asked_s = source_wait_s or 0.0
    has_steps = step_in_s is not None or used_steps > 0
    if failures < max_attempts and (source_wait_s is None or not has_steps):
        return Retry(max(_delay_s(failures), asked_s))
    return GiveUp() if step_in_s is None else Retry(max(step_in_s, asked_s), takes_step=True)


def decide_loss(losses: int, max_losses: int) -> Retry | GiveUp:
    """After an attempt whose process died; `losses` counts it. A job that takes every worker down is to be held.

    The jitter also parts a guilty job from innocent ones that ran beside it.
    """
    return GiveUp() if losses >= max_losses else Retry(_delay_s(losses))


def _delay_s(times: int) -> float:
    longest = min(FIRST_DELAY_S * 2.0 ** (times - 1), LONGEST_DELAY_S)
    return random.uniform(longest / 2, longest)  # noqa: S311 - jitter, not a secret
