"""The typed client and the event feed against a real server that speaks the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from fake_api import PASSWORD, FakeApi

from dashboards.api_client import ApiClient, ApiProblem, http_client, problem_of
from dashboards.api_types import Login, User
from dashboards.feed import Feed
from dashboards.sessions import SessionStore, SignedIn
from dashboards.state import JobBoard


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as client:
        yield client


async def signed_in_client(http: httpx.AsyncClient, fake: FakeApi, email: str = "planner@example.com") -> ApiClient:
    answer = await ApiClient(http, fake.url).login(email, PASSWORD)
    return ApiClient(http, fake.url, answer.access_token)


async def test_a_wrong_password_raises_the_apis_problem(http: httpx.AsyncClient, fake: FakeApi) -> None:
    with pytest.raises(ApiProblem) as caught:
        await ApiClient(http, fake.url).login("planner@example.com", "wrong")
    assert caught.value.status == 401
    assert caught.value.sentence == "Email and password do not match."


async def test_every_call_is_made_as_the_user(http: httpx.AsyncClient, fake: FakeApi) -> None:
    api = await signed_in_client(http, fake, "viewer@example.com")
    assert (await api.me()).email == "viewer@example.com"
    with pytest.raises(ApiProblem) as caught:
        await api.start_job("day", "key")
    assert caught.value.status == 403
    assert {user for _, _, user in fake.world.requests} == {"viewer@example.com"}


async def test_orders_are_filtered_and_paged_by_the_api(http: httpx.AsyncClient, fake: FakeApi) -> None:
    api = await signed_in_client(http, fake)
    first = await api.orders({"kind": "purchase", "priority": "critical", "limit": 5})
    assert len(first.items) == 5
    assert {(o.kind, o.priority) for o in first.items} == {("purchase", "critical")}
    second = await api.orders({"kind": "purchase", "priority": "critical", "limit": 5, "cursor": first.next_cursor})
    assert {o.id for o in first.items}.isdisjoint(o.id for o in second.items)
    async with api.orders_csv({"kind": "purchase"}) as response:
        lines = [line async for line in response.aiter_lines()]
    assert len(lines) == 1 + sum(o["kind"] == "purchase" for o in fake.world.orders)


async def test_before_the_first_plan_there_is_none_and_no_error(http: httpx.AsyncClient, fake: FakeApi) -> None:
    fake.world.orders.clear()
    api = await signed_in_client(http, fake)
    assert await api.latest_plan() is None
    assert await api.item_forecast("no-such-item") is None


async def test_forecast_history_and_data_are_read(http: httpx.AsyncClient, fake: FakeApi) -> None:
    api = await signed_in_client(http, fake)
    page = await api.series("FG-1003")
    assert [s.item for s in page.items] == ["FG-1003"]
    forecast = await api.item_forecast("FG-1003")
    assert forecast is not None
    assert len(forecast.rows) == 13
    assert all(0 <= r.q10 <= r.q25 <= r.q50 <= r.q75 <= r.q90 for r in forecast.rows)
    assert len((await api.weekly_demand("FG-1003")).rows) == 104
    run = (await api.source_runs("demo-folder"))[0]
    assert run.read == (run.taken or 0) + (run.merged or 0) + (run.rejected or 0)
    assert (await api.rejected_rows(run.id)).total == run.rejected
    await api.upload("a.csv", b"x;y\n", (await api.mappings())[0].name)
    assert fake.world.uploads == [("a.csv", 4, "demo-sales")]


async def test_an_unreachable_api_is_told_in_words(http: httpx.AsyncClient) -> None:
    with pytest.raises(ApiProblem) as caught:
        await ApiClient(http, "http://127.0.0.1:9/api/v1").me()
    assert caught.value.status == 0
    assert "cannot be reached" in caught.value.sentence


def test_a_proxys_error_page_and_field_errors_become_problems() -> None:
    assert problem_of(httpx.Response(502, text="<html>Bad gateway")).sentence == "The server answered 502."
    body = {"title": "Invalid", "errors": [{"field": "kind", "message": "unknown"}]}
    assert problem_of(httpx.Response(422, json=body)).sentence == "Invalid (kind: unknown)"


async def until(board: JobBoard, holds: Callable[[], bool]) -> None:
    """Wait for the board to reach a state, woken by its own changes."""
    changed = asyncio.Event()
    leave = board.listen(changed.set)
    try:
        async with asyncio.timeout(10):
            while not holds():
                await changed.wait()
                changed.clear()
    finally:
        leave()


@asynccontextmanager
async def running_feed(http: httpx.AsyncClient, fake: FakeApi, *logins: Login) -> AsyncIterator[Feed]:
    store = SessionStore()
    feed = Feed(JobBoard(), store, lambda s: _client(http, fake, s), first_delay_s=0.01)
    task = asyncio.create_task(feed.run())
    for one in logins:
        store.add(one)
    try:
        yield feed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _client(http: httpx.AsyncClient, fake: FakeApi, signed_in: SignedIn) -> ApiClient:
    return ApiClient(http, fake.url, signed_in.token)


async def good_login(http: httpx.AsyncClient, fake: FakeApi) -> Login:
    return await ApiClient(http, fake.url).login("planner@example.com", PASSWORD)


async def test_the_feed_waits_for_a_user_then_follows_a_day_to_its_end(http: httpx.AsyncClient, fake: FakeApi) -> None:
    async with running_feed(http, fake, await good_login(http, fake)) as feed:
        board = feed.board
        await until(board, lambda: board.connection == "live")
        day = fake.world.new_job("day")
        fake.world.spawn(fake.world.run_day(day))
        await until(board, lambda: (job := board.get(day["id"])) is not None and job.state == "done")
        assert [child.kind for child in board.children(day["id"])] == ["ingest", "forecast", "plan"]
        assert {child.state for child in board.children(day["id"])} == {"done"}
        assert len(fake.world.handshakes) == 1


async def test_after_a_disconnect_the_feed_resumes_after_the_last_id(http: httpx.AsyncClient, fake: FakeApi) -> None:
    async with running_feed(http, fake, await good_login(http, fake)) as feed:
        board = feed.board
        await until(board, lambda: board.connection == "live")
        first = fake.world.new_job("plan")
        await until(board, lambda: board.get(first["id"]) is not None)
        last = feed.last_id
        seen: list[str] = []
        board.listen(lambda: seen.append(board.connection))
        await fake.world.drop_sockets()
        missed = fake.world.new_job("forecast")
        await until(board, lambda: board.get(missed["id"]) is not None and board.connection == "live")
        assert "reconnecting" in seen
        assert fake.world.handshakes == [None, last]


async def test_events_nobody_knows_yet_are_passed_over(http: httpx.AsyncClient, fake: FakeApi) -> None:
    async with running_feed(http, fake, await good_login(http, fake)) as feed:
        board = feed.board
        await until(board, lambda: board.connection == "live")
        unknown = {"type": "plan.approved", "id": "1-0", "topic": "jobs", "version": 7, "data": ["anything"]}
        fake.world.events.append(unknown)
        known = fake.world.new_job("plan")
        await until(board, lambda: board.get(known["id"]) is not None)
        assert len(fake.world.handshakes) == 1


async def test_a_client_that_is_sent_on_reconnects_without_alarming_anybody(
    http: httpx.AsyncClient, fake: FakeApi
) -> None:
    async with running_feed(http, fake, await good_login(http, fake)) as feed:
        board = feed.board
        await until(board, lambda: board.connection == "live")
        first = fake.world.new_job("plan")
        await until(board, lambda: board.get(first["id"]) is not None)
        seen: list[str] = []
        board.listen(lambda: seen.append(board.connection))
        await fake.world.drop_sockets(1012)
        missed = fake.world.new_job("forecast")
        await until(board, lambda: board.get(missed["id"]) is not None)
        assert set(seen) == {"live"}
        assert len(fake.world.handshakes) == 2


async def test_a_refused_token_makes_the_feed_take_the_next_user(http: httpx.AsyncClient, fake: FakeApi) -> None:
    expired = Login("no-longer-known", User("gone@example.com"), 9_999)
    async with running_feed(http, fake, expired, await good_login(http, fake)) as feed:
        await until(feed.board, lambda: feed.board.connection == "live")
        assert fake.world.requests[0][2] == "planner@example.com"


async def test_the_snapshot_after_a_gap_is_taken_as_the_truth(http: httpx.AsyncClient, fake: FakeApi) -> None:
    async with running_feed(http, fake, await good_login(http, fake)) as feed:
        board = feed.board
        await until(board, lambda: board.connection == "live")
        unseen = fake.world.new_job("plan")
        fake.world.events[-1] = {"type": "gap", "id": "", "topic": "jobs", "data": {"after": "1-0"}}
        fake.world.events.append(fake.world.snapshot())
        await until(board, lambda: board.get(unseen["id"]) is not None)
