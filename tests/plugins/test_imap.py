"""IMAP: conformance, and what is its own: filters, attachments, hostile mails, where it goes on, a killed server."""

import datetime
import io
import json
import logging
import zipfile
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import polars as pl
import pytest
from imap_neighbours import CuttingProxy
from imap_server import T0, Dovecot, Owner, shared_server
from imap_source import MailboxSource, mail

from fmrp_imap import ImapConfig, ImapConnector
from fmrp_imap.mailbox import opened
from fmrp_sdk import FatalError, FileBatch, RetriableError, SkippableError
from fmrp_sdk.run import ConnectorRun
from fmrp_sdk.testing import ConnectorSuite
from fmrp_sdk.testing.readings import Given, Reader

CSV = b"item,day,quantity\nI1,2026-03-01,5\n"
Message = EmailMessage | bytes


class TestImap(ConnectorSuite):
    connector_class = ImapConnector
    source_class = MailboxSource


@pytest.fixture
def owner() -> Iterator[Owner]:
    """The owner of an empty mailbox on the shared server."""
    found = shared_server().new_mailbox()
    yield found
    found.leave()


def reader(config: ImapConfig) -> Reader:
    return Reader(ImapConnector, config, 30.0)


def contents(given: list[Given]) -> list[tuple[str, Any]]:
    return [content for each in given for content in each.contents]


def names(config: ImapConfig, state: dict[str, Any] | None = None) -> list[str]:
    return [name for name, _ in contents(reader(config).read(state))]


def refused(given: list[Given]) -> list[FileBatch]:
    return [each.batch.content for each in given if each.batch.content is not None and not each.contents]


# -- which mails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("senders", "taken"),
    [
        ([], ["1.csv", "2.csv", "3.csv", "4.csv", "5.csv"]),
        (["ERP@plant.example"], ["1.csv"]),
        (["@plant.example"], ["1.csv", "2.csv"]),
        (["*@*.plant.example", "shop@*"], ["3.csv", "4.csv"]),
    ],
)
def test_senders_are_known_by_their_whole_address(owner: Owner, senders: list[str], taken: list[str]) -> None:
    for place, sender in enumerate(
        [
            "ERP <erp@plant.example>",
            "=?utf-8?q?B=C3=BCro?= <Office@Plant.Example>",
            "erp@north.plant.example",
            "shop@elsewhere.example",
            '"erp@plant.example" <erp@plant.example.evil.example>',
        ],
        1,
    ):
        owner.put(mail((f"{place}.csv", b"x"), sender=sender))
    assert names(owner.config(senders=senders)) == taken


def test_the_subject_is_compared_as_people_read_it(owner: Owner) -> None:
    owner.put(mail(("1.csv", b"x"), subject="Täglicher BESTAND, Werk Süd"))
    owner.put(mail(("2.csv", b"x"), subject="Orders"))
    owner.put(b"Subject: =?iso-8859-1?q?Re:_t=E4glicher_Bestand?=\r\n" + mail(("3.csv", b"x")).as_bytes())
    assert names(owner.config(subject="täglicher bestand")) == ["1.csv", "3.csv"]


def test_mails_received_before_the_day_are_not_looked_at(owner: Owner) -> None:
    for day in (1, 2, 3):
        owner.put(mail((f"{day}.csv", b"x")), at=datetime.datetime(2026, 3, day, 12, tzinfo=datetime.UTC))
    assert names(owner.config(since="2026-03-02")) == ["2.csv", "3.csv"]


def test_folders_have_names_in_any_script(owner: Owner) -> None:
    folder = "Aufträge & Bestände"
    # As the protocol writes it.
    owner.create("Auftr&AOQ-ge &- Best&AOQ-nde")
    owner.put(mail(("a.csv", b"x")), "Auftr&AOQ-ge &- Best&AOQ-nde")
    assert names(owner.config(folder=folder)) == ["a.csv"]


def test_mails_are_offered_as_they_were_received_and_what_is_too_large_is_said(owner: Owner) -> None:
    owner.put(mail(("a.csv", b"x"), subject="Stock 1/2"), at=T0)
    owner.put(mail(("a.csv", b"x"), sender="spam@elsewhere.example"))
    owner.put(mail(("b.csv", b"x" * 5_000)), at=T0 + datetime.timedelta(days=1))
    first, second = reader(owner.config(senders=["@plant.example"], max_mail_bytes=3_000)).discover()
    assert (first.name, first.modified_at, first.problem) == ("mail 1 Stock 1_2", T0, None)
    assert second.modified_at == T0 + datetime.timedelta(days=1)
    assert second.problem is not None
    assert "the limit is 3,000" in second.problem


# -- what is taken of them -----------------------------------------------------------------------------------------


def test_tables_of_every_kind_are_taken_byte_by_byte_and_pictures_are_not(owner: Owner) -> None:
    workbook, archive = io.BytesIO(), io.BytesIO()
    pl.DataFrame({"item": ["I1"], "quantity": [5]}).write_excel(workbook)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("stock.csv", CSV)
    wanted = [
        ("demand.csv", CSV),
        ("ITEMS.XLSX", workbook.getvalue()),
        ("all.zip", archive.getvalue()),
        ("table.pdf", bytes(range(256)) * 300),
    ]
    owner.put(mail(*wanted, ("logo.png", b"x"), ("signature.asc", b"x"), number=1))
    assert contents(reader(owner.config()).read()) == wanted


def test_each_file_tells_of_the_mail_it_came_with(owner: Owner) -> None:
    owner.put(mail(("a.csv", CSV), subject="Bestand für Süd", number=7))
    (given,) = reader(owner.config()).read()
    file = given.batch.content
    assert isinstance(file, FileBatch)
    assert (file.size, file.modified_at) == (len(CSV), T0)
    assert file.origin == {
        "sender": "Erp <erp@plant.example>",
        "subject": "Bestand für Süd",
        "received": T0.isoformat(),
        "folder": "INBOX",
        "message_id": "<7@plant.example>",
    }


def test_forwarded_mails_are_opened_and_names_are_made_safe(owner: Owner) -> None:
    outer = mail(("../../etc/passwd.csv", b"one"), ("a.csv", b"two"), ("a.csv", b"three"), number=1)
    outer.add_attachment(mail(("Größen 2026.csv", b"four")))
    owner.put(outer)
    assert contents(reader(owner.config()).read()) == [
        ("passwd.csv", b"one"),
        ("a.csv", b"two"),
        ("a (2).csv", b"three"),
        ("Größen 2026.csv", b"four"),
    ]


def test_a_mail_that_is_too_large_is_on_record_and_not_fetched(owner: Owner) -> None:
    large = mail(("a.csv", b"x" * 20_000), subject="Large")
    size = len(large.as_bytes().replace(b"\n", b"\r\n"))
    owner.put(large)
    owner.put(mail(("b.csv", b"y")))
    given = reader(owner.config(max_mail_bytes=size - 1)).read()
    assert contents(given) == [("b.csv", b"y")]
    (told,) = refused(given)
    with pytest.raises(SkippableError, match=rf"mail 1 Large: has {size:,} bytes, the limit is {size - 1:,}"):
        told.opener()
    assert names(owner.config(max_mail_bytes=size - 1), given[0].state) == ["b.csv"], "told once"
    assert names(owner.config(max_mail_bytes=size)) == ["a.csv", "b.csv"]
    # A server that tells of a smaller size is not asked for more than the limit either.
    with opened(owner.config(max_mail_bytes=100)) as mailbox, pytest.raises(SkippableError, match="more than 100"):
        mailbox.message(1)


def _nested(levels: int) -> bytes:
    part = b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n'
    return b"From: a@plant.example\r\n" + b"".join(part % (n, n) for n in range(levels))


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(_nested(60), id="nested"),
        pytest.param(_nested(2_000), id="nested beyond the library's depth"),
        pytest.param(
            b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\nx\r\n" * 2_000, id="many parts"
        ),
        pytest.param(b"Content-Type: multipart/mixed\r\n\r\nno boundary", id="no boundary"),
        pytest.param(b"From: " + b'"' * 300_000 + b"\r\nSubject: " + b"(" * 300_000 + b"\r\n\r\n", id="long headers"),
        pytest.param(b"\x00\xff\xfe: \x00\r\n\r\n\x00", id="no text"),
        pytest.param(b"From: <<<@>>>,\x80(((\r\nSubject: =?x?q?=ff?=\r\nDate: never\r\n\r\n", id="headers"),
        pytest.param(
            b"Content-Type: application/octet-stream; name*0*=utf-16''%ff; name*9=x\r\n"
            b"Content-Disposition: attachment; filename*=idna''%80.csv; filename=\"=?x?b?!!?=\"\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n!!!!",
            id="names",
        ),
        pytest.param(mail(("torn.csv", b"x" * 500)).as_bytes()[:-300], id="torn"),
    ],
)
def test_a_hostile_mail_stops_none_after_it(owner: Owner, hostile: bytes) -> None:
    owner.put(hostile)
    owner.put(mail(("sound.csv", CSV), number=1))
    given = reader(owner.config()).read()
    assert ("sound.csv", CSV) in contents(given)
    assert contents(reader(owner.config()).read(given[-1].state)) == []


def test_senders_that_cannot_be_read_fit_no_filter(owner: Owner) -> None:
    for sender in (b"(" * 4_000, b"a:" * 2_000, b'"' * 4_000, b"<@a:" * 1_000, b""):
        owner.put(b"From: " + sender + b"\r\n" + mail(("hostile.csv", b"x"), sender="x").as_bytes())
    owner.put(mail(("sound.csv", b"x")))
    assert names(owner.config(senders=["@plant.example"])) == ["sound.csv"]


# -- where reading goes on -----------------------------------------------------------------------------------------


def test_mails_with_nothing_to_take_are_not_looked_at_again(owner: Owner) -> None:
    for _ in range(70):
        owner.put(b"From: chat@plant.example\r\n\r\nGood morning.")
    given = reader(owner.config()).read()
    assert [(each.batch.content, each.state["uid"]) for each in given] == [(None, 50), (None, 70)]
    assert reader(owner.config()).read(given[-1].state) == []


def test_a_mail_that_goes_while_it_is_read_is_passed_over(owner: Owner) -> None:
    for number in (1, 2, 3):
        owner.put(mail((f"{number}.csv", b"x"), number=number))
    with reader(owner.config()).running() as run:
        first = run.next_batch(None).result(10)
        owner.remove("2")
        second = run.next_batch(None).result(10)
        assert run.next_batch(None).result(10) is None
    assert [batch.content.name for batch in (first, second)] == ["1.csv", "3.csv"]


def test_within_a_mail_reading_goes_on_by_attachment_and_begins_anew_for_other_names(owner: Owner) -> None:
    owner.put(mail(("1.csv", b"x"), ("2.tsv", b"y"), ("3.csv", b"z"), number=1))
    (first,) = reader(owner.config()).read(at_most=1)
    assert names(owner.config(), first.state) == ["2.tsv", "3.csv"]
    # Of the names that are asked for now, it is not known how many were taken.
    assert names(owner.config(attachments=["*.csv"]), first.state) == ["1.csv", "3.csv"]


def test_what_was_taken_of_a_mail_that_is_gone_is_not_taken_for_the_next_one(owner: Owner) -> None:
    owner.put(mail(("1.csv", b"x"), ("2.csv", b"y"), number=1))
    (first,) = reader(owner.config()).read(at_most=1)
    owner.remove("1")
    owner.put(mail(("3.csv", b"z"), ("4.csv", b"z"), number=2))
    assert names(owner.config(), first.state) == ["3.csv", "4.csv"]


@pytest.mark.parametrize(
    "wrong",
    [{"version": 2}, {"uid": "1"}, {"uid": -1}, {"uid": True}, {"mailbox": None}, {"to_mark": [None]}, {"taken": None}],
)
def test_damaged_or_newer_state_is_fatal(owner: Owner, wrong: dict[str, Any]) -> None:
    owner.put(mail(("1.csv", b"x"), number=1))
    (given,) = reader(owner.config()).read()
    with pytest.raises(FatalError, match="state"):
        reader(owner.config()).read({**given.state, **wrong})
    del given.state["taken"]
    with pytest.raises(FatalError, match="damaged"):
        reader(owner.config()).read(given.state)


# -- a server that goes away ---------------------------------------------------------------------------------------


def test_a_link_cut_within_a_mail_loses_nothing(owner: Owner) -> None:
    wanted = [(f"{number}.csv", bytes([48 + number]) * 400_000) for number in range(3)]
    for number, attached in enumerate(wanted, 1):
        owner.put(mail(attached, number=number))
    proxy = CuttingProxy(owner.server.port)
    proxy.cut_after = 900_000  # within the second mail
    run = ConnectorRun(ImapConnector(), owner.config(port=proxy.port))
    try:
        first = run.next_batch(None).result(10)
        with pytest.raises(RetriableError, match=r"localhost:\d+.*(went away|ended the link|link failed)"):
            run.next_batch(None).result(10)
    finally:
        assert run.close()
        proxy.close()
    assert contents(reader(owner.config()).read(json.loads(json.dumps(first.state)))) == wanted[1:]


@pytest.fixture
def own_server() -> Iterator[Dovecot]:
    server = Dovecot()
    yield server
    server.close()


def test_server_killed_in_the_middle_then_all_is_there_once(
    own_server: Dovecot, caplog: pytest.LogCaptureFixture
) -> None:
    owner = own_server.new_mailbox()
    wanted = [(f"{number}.csv", f"{number}\n".encode() * 100) for number in range(8)]
    for place in range(0, 8, 2):
        owner.put(mail(*wanted[place : place + 2], number=place + 1))
    owner.leave()
    found: list[tuple[str, Any]] = []
    state: dict[str, Any] | None = None
    for kill_after in (1, 4):  # within a mail, whose attachments are at hand, and between two
        with reader(owner.config()).running() as run, pytest.raises(RetriableError):  # noqa: PT012 - which batch it is
            while (batch := run.next_batch(state).result(20)) is not None:
                found.append((batch.content.name, run.content(batch.content).result(20)))
                state = json.loads(json.dumps(batch.state))
                if len(found) == kill_after:
                    own_server.kill()
        with pytest.raises(RetriableError, match="not reached"):
            reader(owner.config()).read(state)
        own_server.start()
    found += contents(reader(owner.config()).read(state))
    assert found == wanted
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
