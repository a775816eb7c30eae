"""Only what may pass by itself is tried again, a bounded number of times, ever later."""

from __future__ import annotations

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from actors.owner import Connections
from actors.retry import LONGEST_DELAY_S, GiveUp, Retry, decide, decide_loss, is_passing
from fmrp_sdk import FatalError, RetriableError, SkippableError
from ingestion.errors import WrongColumns


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT 1", {}, Exception("gone")),
        ConnectionRefusedError("nobody listens"),
        TimeoutError(),
        PoolTimeout("no connection free"),
        RedisConnectionError("away"),
        RetriableError("the folder's drive is not mounted"),
        # As bulk COPY meets them, by the bare driver.
        asyncpg.exceptions.ConnectionDoesNotExistError("closed in the middle"),
        asyncpg.exceptions.AdminShutdownError("terminating connection"),
        asyncpg.exceptions.DeadlockDetectedError("deadlock"),
        asyncpg.exceptions.SerializationError("could not serialize"),
        asyncpg.InterfaceError("connection is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_by_itself_is_worth_another_attempt(error: Exception) -> None:
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such item"),
        KeyError("x"),
        WrongColumns("no column 'item'"),
        FatalError("wrong password"),
        SkippableError("too large"),
        asyncpg.exceptions.NumericValueOutOfRangeError("numeric field overflow"),
        asyncpg.exceptions.UniqueViolationError("twice"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_stays_wrong_is_not_tried_again(error: Exception) -> None:
    assert not is_passing(error)


async def test_a_real_serialization_failure_passes_and_a_real_bad_value_does_not(connections: Connections) -> None:
    raised: list[DBAPIError] = []
    for code in ("40001", "40P01", "57P01", "22003", "23505", "42601"):
        async with connections.sessions() as session:
            with pytest.raises(DBAPIError) as error:
                await session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$"))
            raised.append(error.value)
    assert [is_passing(error) for error in raised] == [True, True, True, False, False, False]


async def test_a_value_the_driver_cannot_send_does_not_pass(connections: Connections) -> None:
    async with connections.sessions() as session:
        with pytest.raises(DBAPIError) as error:
            await session.execute(text("SELECT CAST(:n AS integer)"), {"n": 2**40})
    assert not is_passing(error.value)


@given(attempt=st.integers(1, 60), most=st.integers(1, 60))
def test_the_wait_grows_within_bounds_and_ends(attempt: int, most: int) -> None:
    decision = decide(True, attempt, most)
    if attempt >= most:
        assert decision == GiveUp()
        return
    longest = min(2.0 ** (attempt - 1), LONGEST_DELAY_S)
    assert isinstance(decision, Retry)
    assert longest / 2 <= decision.delay_s <= longest


@given(attempt=st.integers(1, 60), most=st.integers(1, 60))
def test_what_does_not_pass_is_given_up_at_once(attempt: int, most: int) -> None:
    assert decide(False, attempt, most) == GiveUp()


@given(losses=st.integers(1, 60), most=st.integers(1, 60))
def test_a_job_that_loses_its_workers_is_held_in_the_end(losses: int, most: int) -> None:
    assert isinstance(decide_loss(losses, most), GiveUp) == (losses >= most)
