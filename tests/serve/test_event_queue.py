"""What waits for one socket: bounded, in order, newest state first to survive, never overtaken by what is older."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actors.events import Draining, JobChanged, JobData, JobProgressed, JobRow, Snapshot, SnapshotData
from serve.event_queue import QUEUE_LENGTH, Item, Known, Subscription, Told, item_of
from serve.event_topics import Topics

T0 = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def progressed(job: str, number: int, attempt: int | None = None) -> Item:
    return item_of(JobProgressed(data=JobData(job_id=job, state="running", attempt=attempt), id=f"{number}-0"))


def changed(number: int, job: str = "", state: str = "done", at_s: float | None = None, topic: str = "jobs") -> Item:
    data = JobData(job_id=job or f"job-{number}", state=state, changed_at=at(at_s))
    return item_of(JobChanged(topic=topic, data=data, id=f"{number}-0"))


def at(seconds: float | None) -> datetime | None:
    return None if seconds is None else T0 + timedelta(seconds=seconds)


def told(number: int, **jobs: tuple[float, int, str]) -> Told:
    item = item_of(Snapshot(data=SnapshotData([JobRow(job_id=job) for job in jobs]), id=f"{number}-0"))
    return Told(item, {job: Known(at(when), attempt, state) for job, (when, attempt, state) in jobs.items()})


def numbers(items: list[Item]) -> list[int]:
    return [item.number[0] for item in items]


def test_a_slow_client_sees_only_the_newest_progress_in_order() -> None:
    subscription = Subscription()
    subscription.offer(changed(1))
    for number in range(2, 10_000):
        subscription.offer(progressed("ab"[number % 2], number))
    subscription.offer(changed(10_000))
    assert numbers(subscription.take()) == [1, 9998, 9999, 10_000]
    assert not subscription.has_gap


def test_a_full_queue_is_cut_to_the_newest_event_of_each_job() -> None:
    subscription = Subscription(Topics(frozenset({"jobs"})))
    for number in range(1, 2_000):
        subscription.offer(changed(number, job=f"job-{number % 7}"))
    assert len(subscription) <= QUEUE_LENGTH
    assert not subscription.has_gap
    items = subscription.take()
    assert numbers(items) == sorted(numbers(items))
    newest = {item.job.job_id: item.number[0] for item in items if item.job}
    assert newest == {f"job-{number % 7}": number for number in range(1_993, 2_000)}


@pytest.mark.parametrize("kind", ["changes", "progress"])
def test_too_many_jobs_for_the_queue_become_a_gap_and_a_snapshot(kind: str) -> None:
    subscription = Subscription(Topics(frozenset({"jobs"})))
    for number in range(1, 5_000):
        subscription.offer(changed(number) if kind == "changes" else progressed(str(number), number))
        assert len(subscription) <= QUEUE_LENGTH
    assert subscription.has_gap
    assert subscription.needs_snapshot


def test_another_topic_gets_a_gap_but_no_snapshot_of_jobs() -> None:
    subscription = Subscription(Topics(frozenset({"plans"})))
    subscription.lose()
    assert subscription.has_gap
    assert not subscription.needs_snapshot


def test_after_a_snapshot_nothing_older_is_sent_even_when_it_comes_late() -> None:
    subscription = Subscription()
    subscription.offer(changed(3))
    late = [changed(6, "c"), changed(7, "a", "running", 9.0)]
    subscription.restart(told(5, a=(10.0, 2, "done"), b=(4.0, 1, "running")), late)
    # The hub was behind: these were published before the snapshot was read.
    subscription.offer(changed(4, "d"))
    subscription.offer(progressed("a", 8, attempt=2))
    subscription.offer(progressed("b", 9, attempt=0))
    # These are news: a new attempt of the job that had ended, and more of the one that runs.
    subscription.offer(progressed("a", 10, attempt=3))
    subscription.offer(progressed("b", 11, attempt=1))
    assert numbers(subscription.take()) == [5, 6, 10, 11]


def test_a_job_that_runs_again_in_the_same_attempt_moves_again() -> None:
    """A parent's attempt is not counted on when one of its steps is retried."""
    subscription = Subscription()
    subscription.restart(told(5, a=(10.0, 1, "failed")), [])
    subscription.offer(progressed("a", 6, attempt=1))
    subscription.offer(changed(7, "a", "running", at_s=11.0))
    subscription.offer(progressed("a", 8, attempt=1))
    assert numbers(subscription.take()) == [5, 7, 8]


def test_a_snapshot_keeps_unsent_events_of_other_topics_and_repeats_none() -> None:
    subscription = Subscription()
    subscription.offer(changed(1, topic="plans"))
    assert numbers(subscription.take()) == [1]
    subscription.offer(changed(2, topic="plans"))
    subscription.restart(told(3), [changed(1, topic="plans"), changed(2, topic="plans"), changed(4)])
    assert numbers(subscription.take()) == [3, 2, 4]


@pytest.mark.parametrize("topic", ["jobs", "plans"])
def test_what_a_replay_has_sent_is_not_sent_again(topic: str) -> None:
    subscription = Subscription()
    for number in (1, 2, 3):
        subscription.offer(changed(number, topic=topic))
    subscription.skip_to((2, 0))
    subscription.offer(changed(2, topic=topic))
    subscription.offer(changed(4, topic=topic))
    assert numbers(subscription.take()) == [3, 4]


def test_after_a_loss_smaller_ids_count_too() -> None:
    """The clock of a Redis that lost everything may be behind."""
    subscription = Subscription()
    subscription.skip_to((9, 0))
    subscription.lose()
    subscription.restart(told(2), [])
    subscription.offer(changed(3))
    assert numbers(subscription.take()) == [2, 3]


def test_a_subscription_keeps_to_its_topic_and_what_concerns_everybody() -> None:
    subscription = Subscription(Topics(frozenset({"jobs"})))
    subscription.offer(changed(1, topic="plans"))
    subscription.offer(changed(2))
    subscription.offer(item_of(Draining(id="3-0")))
    assert numbers(subscription.take()) == [2, 3]
