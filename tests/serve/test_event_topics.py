"""Which events reach whom: whole topics, one job with its steps, one resource, and changes of rows told together."""

from __future__ import annotations

import uuid

import pytest

from actors.data_changes import MOST_KEYS, DataChange
from actors.events import DataChanged, JobChanged, JobData, JobRow, Subscribed, SubscribedData
from serve.event_queue import Item, Subscription, Told, item_of
from serve.event_topics import EVERYTHING, MOST_TOPICS, Topics, WrongTopic

DAY, STEP, OTHER = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


def changed(number: int, job: str, parent: str | None = None) -> Item:
    return item_of(JobChanged(data=JobData(job_id=job, parent_id=parent, state="running"), id=f"{number}-0"))


def rows(number: int, *keys: str, resource: str = "items", actor: str = "a@b") -> Item:
    return item_of(DataChanged(data=DataChange.of(resource, keys, actor), id=f"{number}-0"))


def numbers(items: list[Item]) -> list[int]:
    return [item.number[0] for item in items]


EVENTS = [changed(1, DAY), changed(2, STEP, DAY), changed(3, OTHER), rows(4, "A"), rows(5, "B", resource="suppliers")]
WANTED = [
    ([], [1, 2, 3, 4, 5]),
    (["*"], [1, 2, 3, 4, 5]),
    (["", "jobs"], [1, 2, 3]),
    (["job:*"], [1, 2, 3]),
    ([f"job:{DAY}"], [1, 2]),
    ([f"job:{STEP.upper()}"], [2]),
    (["data"], [4, 5]),
    (["data:*"], [4, 5]),
    (["data:items", f"job:{OTHER}"], [3, 4]),
    (["data:nothing"], []),
]


@pytest.mark.parametrize(("asked", "told"), WANTED)
def test_a_client_hears_what_it_asked_for(asked: list[str], told: list[int]) -> None:
    subscription = Subscription(Topics.parse(asked))
    for item in EVENTS:
        subscription.offer(item)
    assert numbers(subscription.take()) == told


@pytest.mark.parametrize(
    "asked", [["job"], ["job:"], ["job:7"], ["plans"], ["data:"], ["data:a b"], ["**"], ["jobs"] * (MOST_TOPICS + 1)]
)
def test_what_is_no_topic_is_refused_by_name(asked: list[str]) -> None:
    with pytest.raises(WrongTopic, match=r"^topic: "):
        Topics.parse(asked)


def test_who_follows_one_job_is_told_of_it_and_its_steps_in_the_snapshot() -> None:
    told = Told.of([JobRow(job_id=DAY), JobRow(job_id=STEP, parent_id=DAY), JobRow(job_id=OTHER)], "9-0")
    narrow = told.narrowed(Topics.parse([f"job:{DAY}"]))
    assert set(narrow.jobs) == {DAY, STEP}
    assert OTHER not in narrow.item.text
    assert (narrow.item.number, narrow.item.key) == (told.item.number, "snapshot")
    assert told.narrowed(EVERYTHING) is told


def test_a_slow_client_gets_the_changes_of_a_resource_as_one_and_jobs_as_they_were() -> None:
    subscription = Subscription()
    subscription.offer(changed(1, DAY))
    for number in range(2, 1_000):
        subscription.offer(rows(number, f"I-{number % 3}"))
    subscription.offer(rows(1_000, "S", resource="suppliers"))
    job, items, suppliers = subscription.take()
    assert not subscription.has_gap
    assert numbers([job, items, suppliers]) == [1, 999, 1_000]
    assert items.change is not None
    assert sorted(items.change.data.keys) == ["I-0", "I-1", "I-2"]
    assert (items.change.data.count, items.change.data.complete, items.change.data.actor) == (998, True, "a@b")


def test_changes_told_together_say_when_they_do_not_name_all_rows() -> None:
    some, many = DataChange.of("items", ["A", "A", "B"], "x"), DataChange.of("items", map(str, range(200)), "y")
    assert (some.keys, some.count, some.complete) == (["A", "B"], 2, True)
    assert (len(many.keys), many.count, many.complete) == (MOST_KEYS, 200, False)
    both = some.after(many)
    assert (len(both.keys), both.count, both.complete, both.actor) == (MOST_KEYS, 202, False, "")
    halves = (DataChange.of("items", map(str, range(start, start + 30))) for start in (0, 30))
    assert next(halves).after(next(halves)).complete is False


def test_a_gap_without_jobs_is_told_without_a_snapshot() -> None:
    subscription = Subscription(Topics.parse(["data"]))
    subscription.lose()
    assert subscription.has_gap
    assert not subscription.needs_snapshot


@pytest.mark.parametrize(
    ("before", "after", "begins_anew"),
    [
        (["data"], ["jobs"], True),
        (["data"], [], True),
        ([f"job:{DAY}"], [f"job:{DAY}", f"job:{OTHER}"], True),
        (["jobs"], [f"job:{DAY}"], False),
        ([], ["jobs", "data"], False),
        ([f"job:{DAY}", "data"], [f"job:{DAY}"], False),
        (["jobs"], ["data"], False),
    ],
)
def test_jobs_that_are_new_to_a_client_begin_with_a_snapshot(
    before: list[str], after: list[str], begins_anew: bool
) -> None:
    subscription = Subscription(Topics.parse(before))
    subscription.offer(rows(1, "A"))
    topics = Topics.parse(after)
    subscription.change_topics(topics, item_of(Subscribed(data=SubscribedData(sorted(topics.names)), id="1-0")))
    assert subscription.needs_snapshot is begins_anew
    told = [item.type for item in subscription.take()]
    assert told[0] == "subscribed"
    assert ("data.changed" in told) is (Topics.parse(before).want(("data",)) and topics.want(("data",)))
