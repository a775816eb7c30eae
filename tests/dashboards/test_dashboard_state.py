"""The job board, the paging cursor, the order filter, the log-ins, and where log-in leads on to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.api_types import Job, JobEvent, Login, User
from dashboards.auth import safe_next
from dashboards.pacing import SHORTEST_PAUSE_S, pause_s
from dashboards.server import Options
from dashboards.sessions import SessionStore
from dashboards.shell.navigation import PLACES, nav_html, place_of
from dashboards.state import JobBoard, OrderFilter, PageCursor

T0 = datetime(2025, 11, 24, 6, 0, tzinfo=UTC)


def test_events_move_a_job_and_date_its_start_and_end() -> None:
    board = JobBoard()
    board.replace([Job(id="d", kind="day", created_at=T0)])
    board.apply((JobEvent("d", state="running", progress=0.1), T0 + timedelta(seconds=1)))
    board.apply((JobEvent("d", progress=0.5, message="half"), T0 + timedelta(seconds=2)))
    board.apply((JobEvent("d", state="done", progress=1.0), T0 + timedelta(seconds=9)))
    job = board.get("d")
    assert job is not None
    assert (job.kind, job.state, job.progress) == ("day", "done", 1.0)
    assert job.started_at == T0 + timedelta(seconds=1)
    assert job.finished_at == T0 + timedelta(seconds=9)


def test_a_retried_job_starts_over() -> None:
    board = JobBoard()
    board.replace([Job(id="d", state="failed", progress=0.7, started_at=T0, finished_at=T0, error="broken")])
    board.apply((JobEvent("d", state="running", progress=0.0), T0 + timedelta(minutes=5)))
    job = board.get("d")
    assert job is not None
    assert (job.progress, job.error, job.finished_at) == (0.0, None, None)
    assert job.started_at == T0 + timedelta(minutes=5)


def test_a_slow_answer_by_rest_does_not_reopen_a_job_an_event_has_closed() -> None:
    board = JobBoard()
    board.apply((JobEvent("d", kind="day", state="done", progress=1.0), T0))
    board.put(Job(id="d", kind="day", state="waiting"))
    job = board.get("d")
    assert job is not None
    assert job.state == "done"


def test_children_follow_their_parent_in_the_order_of_the_day() -> None:
    board = JobBoard()
    at = T0 + timedelta(hours=1)
    board.replace(
        [
            Job(id="old", kind="plan", created_at=T0),
            Job(id="p", kind="plan", parent_id="d", created_at=at),
            Job(id="d", kind="day", created_at=at),
            Job(id="i", kind="ingest", parent_id="d", created_at=at),
        ]
    )
    assert [job.id for job in board.jobs()] == ["d", "i", "p", "old"]
    day = board.day()
    assert day is not None
    assert day.id == "d"


def test_the_board_is_bounded_but_never_forgets_a_running_job() -> None:
    board = JobBoard(capacity=5)
    board.apply((JobEvent("live", kind="day", state="running"), T0))
    for n in range(20):
        board.apply((JobEvent(f"j{n}", kind="plan", state="done"), T0 + timedelta(seconds=n)))
    assert len(board.jobs()) == 5
    assert board.get("live") is not None
    assert board.get("j19") is not None


def test_listeners_hear_changes_until_they_leave() -> None:
    board = JobBoard()
    heard: list[str] = []
    leave = board.listen(lambda: heard.append(board.connection))
    board.set_connection("live")
    board.set_connection("live")
    leave()
    board.set_connection("reconnecting")
    assert heard == ["live"]
    assert board.listeners == 0


@given(st.lists(st.sampled_from(["forward", "back"]), max_size=12))
def test_the_cursor_always_knows_which_rows_are_shown(steps: list[str]) -> None:
    cursor, total, at = PageCursor(size=10), 35, 0

    def arrive() -> None:
        shown = min(10, total - at)
        cursor.arrived(shown, total, str(at + 10) if at + 10 < total else None)

    arrive()
    for step in steps:
        getattr(cursor, step)()
        at = min(at + 10, 30) if step == "forward" else max(at - 10, 0)
        assert int(cursor.current or 0) == at
        arrive()
        assert cursor.first == at + 1
        assert cursor.shown == min(10, total - at)


def test_only_chosen_filters_are_sent() -> None:
    assert OrderFilter().params() == {"kind": "purchase"}
    assert OrderFilter(kind="", priority="high", search="bolt").params() == {"priority": "high", "search": "bolt"}


def login(seconds: float, email: str = "a@example.com") -> Login:
    return Login("secret-token", User(email), seconds)


def test_a_log_in_ends_with_its_token() -> None:
    now = [0.0]
    store = SessionStore(clock=lambda: now[0])
    short, long = store.add(login(10)), store.add(login(100))
    assert store.live() == [long, short]
    now[0] = 50
    assert store.find(short.key) is None
    assert store.find(long.key) is long
    assert store.live() == [long]
    store.remove(long.key)
    assert store.find(long.key) is None
    assert store.find(None) is None


def test_neither_token_nor_key_is_printed_and_keys_differ() -> None:
    store = SessionStore()
    first, second = store.add(login(10)), store.add(login(10))
    assert first.key != second.key
    assert "secret-token" not in repr(first)
    assert first.key not in repr(first)


def test_the_store_is_bounded() -> None:
    store = SessionStore(capacity=3)
    kept = [store.add(login(10)) for _ in range(5)]
    assert [store.find(s.key) is not None for s in kept] == [False, False, True, True, True]


@pytest.mark.parametrize("target", ["/purchasing", "/jobs?x=1", "/"])
def test_log_in_leads_on_within_the_site(target: str) -> None:
    assert safe_next(target) == target


@pytest.mark.parametrize(
    "target",
    [
        None,
        "",
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "evil",
        "/login",
        "/logout",
        "/a\r\nb",
        "\\\\evil",
    ],
)
def test_log_in_never_leads_off_the_site(target: str | None) -> None:
    assert safe_next(target) == "/"


def test_every_place_is_reached_by_its_address_and_marked_in_the_navigation() -> None:
    for place in PLACES:
        assert place_of(place.path) is place
        assert nav_html(place.path).count("aria-current=page") == 1
    assert place_of("/nonsense") is PLACES[0]
    assert place_of("/jobs/") is place_of("/jobs")


def test_browsers_may_come_from_this_host_and_the_named_origins_only() -> None:
    options = Options("http://api", "secret", host="0.0.0.0", port=3000, allow_origins=("mrp.example.com",))
    assert options.origins == ["127.0.0.1:3000", "localhost:3000", "mrp.example.com"]


def test_what_comes_late_does_not_move_a_job_back() -> None:
    board = JobBoard()
    done = T0 + timedelta(seconds=9)
    board.replace([Job(id="d", kind="day", state="done", progress=1.0, attempts=2, changed_at=done)])
    board.apply((JobEvent("d", state="running", changed_at=T0), T0))
    board.apply((JobEvent("d", state="running", progress=0.9, attempt=2), T0))
    assert (job := board.get("d")) is not None
    assert (job.state, job.progress) == ("done", 1.0)
    board.apply((JobEvent("d", state="running", progress=0.1, attempt=3), T0))
    assert (job := board.get("d")) is not None
    assert (job.state, job.progress, job.attempts) == ("running", 0.1, 3)


def test_progress_of_a_retried_parent_counts_although_its_attempt_is_the_same() -> None:
    board = JobBoard()
    board.apply((JobEvent("d", state="failed", attempt=1, changed_at=T0), T0))
    board.apply((JobEvent("d", state="running", attempt=1, changed_at=T0 + timedelta(seconds=1)), T0))
    board.apply((JobEvent("d", state="running", progress=0.5, attempt=1), T0))
    assert (job := board.get("d")) is not None
    assert job.progress == 0.5


def test_an_answer_by_rest_that_is_older_than_an_event_does_not_undo_it() -> None:
    board = JobBoard()
    board.apply((JobEvent("d", state="done", changed_at=T0 + timedelta(seconds=5)), T0))
    board.replace([Job(id="d", state="running", changed_at=T0), Job(id="e", state="waiting")])
    assert [(job.id, job.state) for job in sorted(board.jobs(), key=lambda job: job.id)] == [
        ("d", "done"),
        ("e", "waiting"),
    ]


def test_a_frame_of_many_events_is_one_change_for_the_sessions() -> None:
    board = JobBoard()
    heard: list[int] = []
    board.listen(lambda: heard.append(len(board.jobs())))
    board.apply(*((JobEvent(f"j{n}", state="running"), T0) for n in range(30)))
    assert heard == [30]


def test_drawing_takes_a_third_of_the_time_at_most_shared_by_all_sessions() -> None:
    assert pause_s(0.0, 1) == SHORTEST_PAUSE_S
    for drawing_s, sessions in ((0.05, 1), (0.02, 40), (1.0, 3)):
        pause = pause_s(drawing_s, sessions)
        assert sessions * drawing_s / (pause + drawing_s) <= 1 / 3 + 1e-9
