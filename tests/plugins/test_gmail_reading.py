"""Gmail: by history, by listing again, through deaths of the server; nothing is lost and nothing comes twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from gmail_mailbox import T0_MS, mail_of
from gmail_server import MODIFY, READONLY, Failure, GmailServer
from gmail_source import Reader, config_of, serving

from fmrp_gmail import GmailConnector, reading, state
from fmrp_gmail.state import GmailState
from fmrp_sdk import FatalError, RetriableError
from fmrp_sdk.testing import Content


@pytest.fixture
def server() -> Iterator[GmailServer]:
    with serving() as started:
        yield started


def deliver(server: GmailServer, *names: str, labels: tuple[str, ...] = ("INBOX",), **given: Any) -> str:
    return server.mailbox.deliver(mail_of({name: f"data of {name}".encode() for name in names}, **given), labels)


def listings(server: GmailServer) -> int:
    return sum("/messages?" in path for _, path in server.requests)


def test_what_comes_later_is_told_by_the_history_without_listing_again(server: GmailServer) -> None:
    reader = Reader(config_of(server))
    deliver(server, "1.csv")
    assert reader.names() == ["1.csv"]
    server.requests.clear()
    for number in range(2, 10):  # three pages of history
        deliver(server, f"{number}.csv")
    assert reader.names() == [f"{number}.csv" for number in range(2, 10)]
    assert listings(server) == 0
    assert reader.names() == []


def test_a_reader_that_dies_between_pages_of_the_history_goes_on_where_it_was(server: GmailServer) -> None:
    reader = Reader(config_of(server))
    reader.read()
    for number in range(8):
        deliver(server, f"{number}.csv")
    # One change may be told in two records of one id, and a page may end between them.
    server.mailbox.history[3]["id"] = server.mailbox.history[2]["id"]
    names = []
    for batch in GmailConnector().read(reader.config, reader.state):
        reader.state = json.loads(json.dumps(dict(batch.state)))
        if batch.content is None:
            break  # a page is done
        names.append(batch.content.name)
    assert names == ["0.csv", "1.csv", "2.csv"]
    while batch := reader.read(at_most=1):
        names += [name for name, _ in batch]
    assert names == [f"{number}.csv" for number in range(8)]


def test_what_comes_while_it_is_read_comes_once(server: GmailServer) -> None:
    reader = Reader(config_of(server))
    for number in range(8):
        deliver(server, f"{number}.csv")
    for late in ("listed", "told"):
        names = []
        for batch in GmailConnector().read(reader.config, reader.state or None):
            reader.state = json.loads(json.dumps(dict(batch.state)))
            if batch.content is not None:
                names.append(batch.content.name)
                if len(names) == 1:
                    deliver(server, f"late-{late}.csv")
        assert sorted([*names, *reader.names()]) == sorted({*names, f"late-{late}.csv"})
        for number in range(8):
            deliver(server, f"{late}-{number}.csv")


def test_oldest_first_whatever_the_order_they_are_listed_in(server: GmailServer) -> None:
    for number in (3, 1, 2):
        server.mailbox.deliver(mail_of({f"{number}.csv": b"1"}), at_ms=T0_MS + number)
    assert Reader(config_of(server)).names() == ["1.csv", "2.csv", "3.csv"]


def test_a_label_given_later_makes_a_mail_fit_once(server: GmailServer) -> None:
    reader = Reader(config_of(server, labels=["ERP"]))
    server.mailbox.label("ERP")
    mail = deliver(server, "1.csv")
    assert reader.names() == []
    server.mailbox.relabel(mail, add=("STARRED",))
    assert reader.names() == []
    server.mailbox.relabel(mail, add=("ERP",))
    assert reader.names() == ["1.csv"]
    server.mailbox.relabel(mail, remove=("ERP",))
    server.mailbox.relabel(mail, add=("ERP",))
    assert reader.names() == []


def test_a_mail_that_was_no_spam_after_all_is_taken(server: GmailServer) -> None:
    reader = Reader(config_of(server, labels=["ERP"]))
    mail = deliver(server, "1.csv", labels=("ERP", "SPAM"))
    assert reader.names() == []
    server.mailbox.relabel(mail, remove=("SPAM",))
    assert reader.names() == ["1.csv"]


@pytest.mark.parametrize("one", ["one@other.example", "one@*"])
def test_sender_subject_day_and_names_are_held_against_each_mail(server: GmailServer, one: str) -> None:
    wanted = {"senders": ["@supplier.example", one], "subject": "demand", "since": date(2023, 11, 14)}
    reader = Reader(config_of(server, attachments=["*.csv"], **wanted))

    def deliver_all(begin: int) -> list[str]:
        mails = [
            ("Sales <Sales@Supplier.Example>", "Weekly DEMAND", T0_MS),
            ("one@other.example", "demand =?utf-8?q?f=C3=BCr?= Mai", T0_MS + 1),
            ("two@other.example", "demand", T0_MS + 2),
            ("sales@notsupplier.example", "demand", T0_MS + 3),
            ("sales@supplier.example", "stock", T0_MS + 4),
            ("sales@supplier.example", "demand", T0_MS - 86_400_000),
        ]
        for place, (sender, subject, at_ms) in enumerate(mails, begin):
            files = {f"{place}.csv": b"1", f"{place}.xlsx": b"2"}
            server.mailbox.deliver(mail_of(files, sender=sender, subject=subject), at_ms=at_ms)
        return [f"{begin}.csv", f"{begin + 1}.csv"]

    expected = deliver_all(0)
    assert reader.names() == expected  # listed
    expected = deliver_all(10)
    assert reader.names() == expected  # told by the history


def test_a_query_that_is_fulfilled_later_counts_then(server: GmailServer) -> None:
    reader = Reader(config_of(server, query="is:starred has:attachment"))
    first, second = deliver(server, "1.csv"), deliver(server, "2.csv")
    server.mailbox.relabel(first, add=("STARRED",))
    assert reader.names() == ["1.csv"]
    server.mailbox.relabel(second, add=("STARRED",))
    deliver(server, "3.csv")
    assert reader.names() == ["2.csv"]
    assert reader.names() == []


def test_a_mail_that_the_search_finds_only_later_is_not_lost(server: GmailServer) -> None:
    clock = [1_000.0]
    reader = Reader(config_of(server, query="has:attachment"), now=lambda: clock[0])
    assert reader.names() == []
    late, never = deliver(server, "late.csv"), deliver(server, "never.csv")
    server.mailbox.not_searchable_yet = {late, never}
    assert reader.names() == []
    assert set(reader.state["unsure"]) == {late, never}
    server.mailbox.not_searchable_yet = {never}
    clock[0] += 60
    assert reader.names() == ["late.csv"]
    assert set(reader.state["unsure"]) == {never}
    clock[0] += 3_600  # by now it would be found
    assert reader.names() == []
    assert reader.state["unsure"] == {}


@pytest.mark.parametrize("selection", [{"query": "has:attachment"}, {"senders": ["@shop.example"]}])
def test_a_mail_that_came_just_before_the_first_reading_is_not_lost(
    server: GmailServer, selection: dict[str, Any]
) -> None:
    reader = Reader(config_of(server, **selection))
    deliver(server, "early.csv")
    server.mailbox.not_searchable_yet = {deliver(server, "late.csv")}
    names = reader.names()
    server.mailbox.not_searchable_yet = set()
    assert names + reader.names() == ["early.csv", "late.csv"]
    assert reader.names() == []


def test_after_gmail_has_forgotten_the_history_nothing_is_lost_or_comes_twice(server: GmailServer) -> None:
    reader = Reader(config_of(server))
    for number in range(4):
        deliver(server, f"{number}.csv")
    deliver(server)
    assert len(reader.read(at_most=2)) == 2
    assert reader.names() == ["2.csv", "3.csv"]
    deliver(server, "4.csv")
    server.mailbox.forget_history()
    deliver(server, "5.csv")
    server.requests.clear()
    assert reader.names() == ["4.csv", "5.csv"]
    assert sum("format=raw" in path for _, path in server.requests) == 2, "what is known was fetched again"
    deliver(server, "6.csv")
    assert reader.names() == ["6.csv"]


def test_the_state_stays_small_and_loses_nothing_for_that(server: GmailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_KNOWN", 5)
    monkeypatch.setattr(reading, "_CHUNK", 4)
    for number in range(12):
        deliver(server, f"{number}.csv")
    reader = Reader(config_of(server))
    names = []
    while batch := reader.read(at_most=1):  # the reader dies after each
        names += [name for name, _ in batch]
        assert len(reader.state["known"]) <= 5
    assert names == [f"{number}.csv" for number in range(12)]
    server.mailbox.forget_history()
    deliver(server, "new.csv")
    assert set(reader.names()) >= {"new.csv"}
    assert reader.names() == []


def test_the_rest_of_a_mail_is_taken_though_it_was_moved_meanwhile(server: GmailServer) -> None:
    reader = Reader(config_of(server))
    deliver(server, "0.csv")
    mail = deliver(server, "1.csv", "2.csv", "3.csv")
    assert len(reader.read(at_most=2)) == 2
    server.mailbox.relabel(mail, remove=("INBOX",))
    assert reader.names() == ["2.csv", "3.csv"]


def test_a_mail_deleted_while_it_is_read_is_passed_over(server: GmailServer) -> None:
    deliver(server, "1.csv")
    mail = deliver(server, "2.csv")
    deliver(server, "3.csv")
    config = config_of(server)
    batches = GmailConnector().read(config, None)
    names = [next(batches).content.name]
    server.mailbox.delete(mail)
    names += [batch.content.name for batch in batches if batch.content is not None]
    assert names == ["1.csv", "3.csv"]


def test_a_mail_that_is_too_large_is_on_record_and_not_fetched(server: GmailServer) -> None:
    mail = server.mailbox.deliver(mail_of({"huge.csv": b"x" * 9_000}, subject="All of it"))
    deliver(server, "1.csv")
    reader = Reader(config_of(server, max_mail_bytes=8_000))
    assert reader.names() == ["1.csv"]
    (told,) = reader.refused
    assert "All of it" in told
    assert "the limit is 8,000" in told
    assert not [path for _, path in server.requests if mail in path and "raw" in path]
    (offer,) = [each for each in GmailConnector().discover(reader.config) if each.problem]
    assert "limit" in offer.problem


def test_a_mail_larger_than_gmail_said_is_on_record_and_the_next_is_read(server: GmailServer) -> None:
    deliver(server, "1.csv")
    deliver(server, "2.csv")
    # The profile, labels, the list, two heads, and the first mail.
    server.failures.extend([*[Failure()] * 5, Failure(body=b'{"raw": "' + b"A" * (6 << 20))])
    reader = Reader(config_of(server, max_mail_bytes=8_000))
    assert reader.names() == ["2.csv"]
    assert "larger than the limit of 8,000" in reader.refused[0]
    server.failures.extend([*[Failure()] * 5, Failure(body=b'{"raw": "' + b"A" * 12_000 + b'"}')])
    again = Reader(reader.config)
    assert again.names() == ["2.csv"]
    assert "9,000 bytes, the limit is 8,000" in again.refused[0]


def test_mails_without_anything_to_take_move_the_state_on(server: GmailServer) -> None:
    reader = Reader(config_of(server))
    deliver(server, "1.csv")
    reader.names()
    before = reader.state["history"]
    deliver(server)
    deliver(server, "letter.docx")
    assert reader.names() == []
    assert int(reader.state["history"]) > int(before)
    server.requests.clear()
    assert reader.names() == []
    assert not [path for _, path in server.requests if "format=" in path]


def test_whoever_reads_hears_something_now_and_then(server: GmailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LONGEST_SILENCE_S", -1.0)
    for number in range(3):
        deliver(server)
        deliver(server, f"{number}.csv")
    for begun in (None, {**GmailState("planning@factory.example", 1_000, None).dump()}):  # by listing, by history
        batches = list(GmailConnector().read(config_of(server), begun))
        assert sum(batch.content is None for batch in batches) > 5
        for place, batch in list(enumerate(batches))[::3]:
            before = [each.content.name for each in batches[: place + 1] if each.content is not None]
            after = GmailConnector().read(config_of(server), batch.state)
            names = before + [each.content.name for each in after if each.content is not None]
            assert names == [f"{number}.csv" for number in range(3)]


def test_an_attachment_tells_where_it_came_from(server: GmailServer) -> None:
    server.mailbox.deliver(mail_of({"1.csv": b"1"}, sender="Jörg <j@shop.example>", subject="Zahlen\tfür Mai"))
    batch = next(GmailConnector().read(config_of(server), None))
    assert batch.content.origin == {
        "sender": "Jörg <j@shop.example>",
        "subject": "Zahlen für Mai",
        "received": "2023-11-14T22:13:20+00:00",
        "message_id": "<one@shop.example>",
    }


def test_the_state_of_another_mailbox_is_the_beginning(server: GmailServer) -> None:
    reader = Reader(config_of(server))
    deliver(server, "1.csv")
    assert reader.names() == ["1.csv"]
    server.mailbox.address = "new@factory.example"
    reader.config = config_of(server)
    assert reader.names() == ["1.csv"]


def test_a_mailbox_made_anew_under_its_old_name_is_read(server: GmailServer) -> None:
    reader = Reader(config_of(server))
    deliver(server, "1.csv")
    assert reader.names() == ["1.csv"]
    reader.state["history"] = str(server.mailbox.history_id + 1_000)  # the old one had lived longer
    deliver(server, "2.csv")
    assert reader.names() == ["2.csv"]


@pytest.mark.parametrize(("by_history", "query"), [(False, None), (True, "has:attachment")])
def test_the_server_may_die_in_the_middle_of_any_answer(by_history: bool, query: str | None) -> None:
    def filled() -> tuple[GmailServer, Reader, list[Content]]:
        server = GmailServer()
        server.start()
        key = server.user_key(READONLY, MODIFY)
        reader = Reader(config_of(server, key, query=query, when_done="label", done_label="Taken"))
        if by_history:
            reader.read()
        for place in range(3):
            deliver(server, *(f"{place}-{part}.csv" for part in range(1 + place % 2)))
        server.requests.clear()
        names = ["0-0.csv", "1-0.csv", "1-1.csv", "2-0.csv"]
        return server, reader, [(name, f"data of {name}".encode()) for name in names]

    deaths = 0
    for request in range(1, 100):
        server, reader, expected = filled()
        try:
            server.die_at = request
            try:
                reader.read()
                break  # no more requests than that
            except RetriableError:
                deaths += 1
            before = reader.taken
            server.start()
            assert before + reader.read() == expected, f"died at request {request}"
            reader.read()  # settles, and brings nothing
            taken = [mail for mail in server.mailbox.mails if "Taken" in server.mailbox.labels_of(mail)]
            assert len(taken) == 3
        finally:
            server.stop()
    assert deaths > 8, deaths


@pytest.mark.parametrize(
    "changed",
    [{"version": 2}, {"history": "x"}, {"known": 5}, {"unsure": []}, {"to_mark": None}, {"address": None}],
)
def test_a_damaged_or_newer_state_is_fatal(server: GmailServer, changed: dict[str, Any]) -> None:
    reader = Reader(config_of(server))
    reader.read()
    reader.state |= changed
    with pytest.raises(FatalError, match="state"):
        reader.read()
