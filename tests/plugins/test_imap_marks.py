"""IMAP: a mailbox is only read, marked where that is asked for, and known again when its mails are numbered anew."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from imap_server import Owner, shared_server
from imap_source import mail

from fmrp_imap import ImapConfig, ImapConnector
from fmrp_imap.client import NotAllowed, ReadingClient
from fmrp_imap.login import logged_in
from fmrp_imap.mailbox import opened
from fmrp_imap.state import MOST_KNOWN, MOST_TO_MARK, MailState
from fmrp_sdk import FatalError
from fmrp_sdk.testing.readings import Reader


@pytest.fixture
def owner() -> Iterator[Owner]:
    """The owner of a mailbox with four mails: one of three has nothing to take, one comes from somebody else."""
    found = shared_server().new_mailbox()
    found.create("Orders", "Done")
    found.put(mail(("1.csv", b"1"), number=1), "Orders")
    found.put(mail(("2.csv", b"2"), ("3.csv", b"3"), number=2), "Orders")
    found.put(mail(("logo.png", b"x"), number=3), "Orders")
    found.put(mail(("spam.csv", b"x"), sender="spam@elsewhere.example", number=4), "Orders")
    found.leave()
    yield found
    found.leave()


def config(owner: Owner, **fields: Any) -> ImapConfig:
    return owner.config(**{"folder": "Orders", "senders": ["@plant.example"], **fields})


def reader(config: ImapConfig) -> Reader:
    return Reader(ImapConnector, config, 30.0)


def read(config: ImapConfig, state: dict[str, Any] | None = None) -> tuple[list[str], dict[str, Any]]:
    """Names of all files, and the state in the end."""
    given = reader(config).read(state)
    return [name for each in given for name, _ in each.contents], given[-1].state if given else dict(state or {})


# -- read only -----------------------------------------------------------------------------------------------------


def test_nothing_is_changed_in_a_mailbox_by_a_user_who_could(owner: Owner) -> None:
    before = owner.status("Orders"), owner.flags("Orders"), owner.status("Done")
    owner.leave()
    assert reader(config(owner)).check().ok
    reader(config(owner)).discover()
    names, state = read(config(owner))
    reader(config(owner)).settle(state)
    assert names == ["1.csv", "2.csv", "3.csv"]
    assert (owner.status("Orders"), owner.flags("Orders"), owner.status("Done")) == before
    assert "RECENT 4" in before[0]
    assert "UNSEEN 4" in before[0]


_CHANGES: dict[str, Callable[[ReadingClient], Any]] = {
    "STORE": lambda link: link.store("1", "+FLAGS", r"(\Deleted)"),
    "UID STORE": lambda link: link.uid("STORE", "1", "+FLAGS", r"(\Seen)"),
    "UID MOVE": lambda link: link.uid("MOVE", "1", "Done"),
    "UID COPY": lambda link: link.uid("COPY", "1", "Done"),
    "COPY": lambda link: link.copy("1", "Done"),
    "EXPUNGE": lambda link: link.expunge(),
    "CLOSE": lambda link: link.close(),
    "APPEND": lambda link: link.append("Orders", "", None, b"Subject: ours\r\n\r\n"),
    "SELECT": lambda link: link.select("Orders"),
    "CREATE": lambda link: link.create("Ours"),
    "DELETE": lambda link: link.delete("Done"),
    "RENAME": lambda link: link.rename("Done", "Ours"),
    "SUBSCRIBE": lambda link: link.subscribe("Done"),
    "SETACL": lambda link: link.setacl("Orders", "anyone", "lr"),
}


def test_no_change_can_be_sent_through_our_link(owner: Owner) -> None:
    owner.flag("1", r"\Deleted", folder="Orders")
    before = owner.status("Orders"), owner.flags("Orders")
    with logged_in(config(owner)) as link:
        assert link.select("Orders", readonly=True)[0] == "OK"
        for name, change in _CHANGES.items():
            with pytest.raises(NotAllowed, match=name):
                change(link)
        link.select("Orders", readonly=True)
        assert link.uid("SEARCH", "ALL")[1] == [b"1 2 3 4"], "the link goes on"
        # Were these sent all the same, the server would pass over them: the folder is opened for reading. A MOVE it
        # would carry out, so it is our link that must not send one.
        link._allowed = frozenset({"UID STORE", "EXPUNGE", "LOGOUT"})
        for name in ("UID STORE", "EXPUNGE"):
            _CHANGES[name](link)
    assert (owner.status("Orders"), owner.flags("Orders")) == before


def test_a_link_that_marks_can_neither_write_nor_delete_anything_else(owner: Owner) -> None:
    with logged_in(config(owner, when_done="seen"), may_mark=True) as link:
        link.select("Orders")
        for name in ("EXPUNGE", "CLOSE", "APPEND", "CREATE", "DELETE", "RENAME", "SETACL"):
            with pytest.raises(NotAllowed, match=name):
                _CHANGES[name](link)
    assert owner.count("Orders") == 4


# -- marks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("when_done", "flag"), [("seen", r"\Seen"), ("flag", r"\Flagged")])
def test_mails_are_marked_once_they_are_stored_whole(owner: Owner, when_done: str, flag: str) -> None:
    marking = config(owner, when_done=when_done)
    first, second, *_ = reader(marking).read()
    assert not any(flag in flags for flags in owner.flags("Orders")), "nothing is stored yet"
    reader(marking).settle(second.state)  # of the second mail, one file of two is stored
    assert [flag in flags for flags in owner.flags("Orders")] == [True, False, False, False]
    _, last = read(marking, second.state)
    for _ in range(2):
        reader(marking).settle(last)
    assert [flag in flags for flags in owner.flags("Orders")] == [True, True, False, False]
    assert first.state["to_mark"] == [1]
    assert last["to_mark"] == [2], "what is marked does not stay in the state"


def test_a_mark_that_people_take_off_stays_off(owner: Owner) -> None:
    marking = config(owner, when_done="seen")
    _, state = read(marking)
    reader(marking).settle(state)
    _, state = read(marking, state)
    owner.flag("1", r"\Seen", folder="Orders", way="-FLAGS")
    reader(marking).settle(state)
    _, state = read(marking, state)
    reader(marking).settle(state)
    assert r"\Seen" not in owner.flags("Orders")[0]


@pytest.mark.parametrize("without_move", [False, True])
def test_mails_are_moved_and_what_others_deleted_stays(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, without_move: bool
) -> None:
    if without_move:
        told = ReadingClient.capability
        monkeypatch.setattr(
            ReadingClient, "capability", lambda link: (told(link)[0], [told(link)[1][-1].replace(b" MOVE ", b" ")])
        )
    owner.flag("3,4", r"\Deleted", folder="Orders")
    moving = config(owner, when_done="move", move_to="Done")
    assert reader(moving).check().ok
    names, state = read(moving)
    assert owner.count("Done") == 0
    for _ in range(2):
        reader(moving).settle(state)
    assert (names, owner.count("Orders"), owner.count("Done")) == (["1.csv", "2.csv", "3.csv"], 2, 2)
    assert read(moving, state)[0] == []


def test_a_server_that_cannot_move_is_told_of_by_the_check(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadingClient, "capability", lambda _: ("OK", [b"IMAP4rev1"]))
    moving = config(owner, when_done="move", move_to="Done")
    result = reader(moving).check()
    assert not result.ok
    assert "neither MOVE nor UIDPLUS" in result.message
    _, state = read(moving)
    with pytest.raises(FatalError, match="when_done = seen, flag or leave"):
        reader(moving).settle(state)
    assert (owner.count("Orders"), owner.count("Done")) == (4, 0)


def test_a_folder_to_move_to_that_is_missing_is_told_with_those_there_are(owner: Owner) -> None:
    moving = config(owner, when_done="move", move_to="Gone")
    _, state = read(moving)
    with pytest.raises(FatalError, match=r"when_done = move .*Folders there: Done, INBOX, Orders"):
        reader(moving).settle(state)
    result = reader(moving).check()
    assert not result.ok
    assert "check move_to" in result.message
    assert owner.count("Orders") == 4


def test_marks_that_are_no_longer_asked_for_are_not_made(owner: Owner) -> None:
    _, state = read(config(owner, when_done="seen"))
    reader(config(owner)).settle(state)
    _, state = read(config(owner), state)
    reader(config(owner, when_done="seen")).settle(state)
    assert not any(r"\Seen" in flags for flags in owner.flags("Orders"))


# -- other UIDs ----------------------------------------------------------------------------------------------------


def test_mails_that_are_numbered_anew_are_known_again(owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    marking = config(owner, when_done="seen")
    _, state = read(marking)
    owner.remove("1", "Orders")
    owner.number_anew("Orders")
    owner.put(mail(("5.csv", b"5"), number=5), "Orders")
    # What was taken under the old numbers says nothing of the mails that have them now.
    reader(marking).settle(state)
    assert not any(r"\Seen" in flags for flags in owner.flags("Orders"))
    with caplog.at_level(logging.WARNING):
        names, state = read(marking, state)
    assert names == ["5.csv"]
    assert "the mails of Orders at localhost are numbered anew (UIDVALIDITY" in caplog.text
    reader(marking).settle(state)
    assert [r"\Seen" in flags for flags in owner.flags("Orders")] == [True, False, False, True]
    caplog.clear()
    assert read(marking, state)[0] == []
    assert not caplog.records, "told once"


def test_a_mail_half_taken_is_gone_on_with_under_its_new_number(owner: Owner) -> None:
    first, second, *_ = reader(config(owner)).read()
    owner.number_anew("Orders")
    assert read(config(owner), second.state)[0] == ["3.csv"]
    assert read(config(owner), first.state)[0] == ["2.csv", "3.csv"]


def test_another_folder_is_read_from_its_beginning(owner: Owner) -> None:
    _, state = read(config(owner))
    owner.put(mail(("6.csv", b"6"), number=6), "Done")
    with opened(config(owner, folder="Done")) as mailbox:
        # As with providers that give every folder the same number.
        state["uidvalidity"] = mailbox.uidvalidity
    assert read(config(owner, folder="Done"), state)[0] == ["6.csv"]


def test_a_mail_that_comes_twice_is_taken_once_unless_nothing_names_it(owner: Owner) -> None:
    for number in (7, 7, 0, 0):
        owner.put(mail((f"{number}.csv", b"7"), number=number), "Done")
    assert read(config(owner, folder="Done"))[0] == ["7.csv", "0.csv", "0.csv"]


def test_other_content_under_the_same_message_id_is_another_mail(owner: Owner) -> None:
    for content in (b"old", b"new"):
        owner.put(mail(("a.csv", content), number=8), "Done")
    assert read(config(owner, folder="Done"))[0] == ["a.csv", "a.csv"]


def test_the_state_does_not_grow_with_the_years() -> None:
    state = MailState("mailbox", 1)
    for uid in range(1, MOST_TO_MARK + 100):
        state = state.after_taken(uid, f"{uid:016x}", mark=True)
    assert (len(state.taken), len(state.to_mark)) == (MOST_KNOWN, MOST_TO_MARK)
    assert state.taken[-1] == f"{state.uid:016x}"
    assert MailState.load(state.dump()) == state
