"""Gmail: what goes out and what does not, labels, what Google refuses and how that is told, and what stays secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from gmail_mailbox import mail_of
from gmail_server import MODIFY, READONLY, Failure, GmailServer, certificate_for_this_machine, key_pair
from gmail_source import Reader, config_of, proxying, serving
from pydantic import ValidationError

from fmrp_gmail import GmailConfig, GmailConnector, transport
from fmrp_gmail.mailbox import opened
from fmrp_sdk import ConnectorError, FatalError, RetriableError

LABELS: dict[str, Any] = {"when_done": "label", "done_label": "Taken", "remove_labels": ["UNREAD", "INBOX"]}


@pytest.fixture
def server() -> Iterator[GmailServer]:
    with serving() as started:
        started.mailbox.deliver(mail_of({"1.csv": b"1"}))
        started.mailbox.deliver(mail_of({}))
        started.mailbox.deliver(mail_of({"2.csv": b"2"}))
        yield started


# -- what goes out ----------------------------------------------------------------------------------------------------


def test_nothing_is_written_by_a_login_that_may(server: GmailServer) -> None:
    config = config_of(server, server.user_key(READONLY, MODIFY))
    before = {mail: server.mailbox.labels_of(mail) for mail in server.mailbox.mails}
    reader = Reader(config)
    assert reader.names() == ["1.csv", "2.csv"]
    assert reader.names() == []
    assert reader.connector.check(config).ok
    assert len(reader.connector.discover(config)) == 3
    assert set(server.tokens.popitem()[1]) == {READONLY, MODIFY}, "this log-in may write"
    with opened(config_of(server, server.user_key(READONLY, MODIFY), **LABELS)) as mailbox:
        mailbox.profile()
        with pytest.raises(FatalError, match="only read"):
            mailbox.mark(list(server.mailbox.mails))
    assert server.written() == []
    assert {mail: server.mailbox.labels_of(mail) for mail in server.mailbox.mails} == before


def test_a_service_account_asks_for_no_more_than_reading(server: GmailServer) -> None:
    server.delegated = {READONLY}
    assert Reader(config_of(server, server.account_key())).names() == ["1.csv", "2.csv"]
    assert list(server.tokens.values()) == [{READONLY}]


def test_a_query_too_long_for_an_address_still_only_reads(server: GmailServer) -> None:
    senders = [f"somebody.with.a.long.name.{number}@shop.example" for number in range(60)]
    assert Reader(config_of(server, senders=[*senders, "@shop.example"])).names() == ["1.csv", "2.csv"]
    assert server.written() == []


def test_what_was_taken_is_labelled_once_stored(server: GmailServer) -> None:
    first, empty, last = server.mailbox.mails
    reader = Reader(config_of(server, server.user_key(MODIFY), **LABELS))
    reader.read(at_most=1)
    assert server.mailbox.labels_of(first) == {"INBOX", "UNREAD"}, "nothing is stored yet"
    assert reader.names() == ["2.csv"]
    assert server.mailbox.labels_of(first) == {"Taken"}
    server.mailbox.delete(last)
    reader.connector.settle(reader.config, reader.state)
    reader.connector.settle(reader.config, reader.state)
    assert server.mailbox.labels_of(empty) == {"INBOX", "UNREAD"}
    assert reader.names() == []
    assert [path.split("?")[0].rsplit("/")[-1] for _, path in server.written()].count("labels") == 1
    server.requests.clear()
    reader.connector.settle(reader.config, reader.state)
    assert server.requests == [], "there is nothing to mark any more"


def test_a_label_whose_making_was_not_heard_of_is_found(server: GmailServer) -> None:
    reader = Reader(config_of(server, server.user_key(MODIFY), **LABELS))
    reader.read()
    server.failures.extend([Failure(), Failure(), Failure(cut=True)])  # profile, labels, and the label that is made
    reader.connector.settle(reader.config, reader.state)
    assert [name for name in server.mailbox.labels.values() if name == "Taken"] == ["Taken"]
    assert server.mailbox.labels_of(next(iter(server.mailbox.mails))) == {"Taken"}


@pytest.mark.parametrize("as_account", [False, True])
def test_labels_without_the_right_to_give_them_are_refused_by_the_check(server: GmailServer, as_account: bool) -> None:
    server.delegated = {READONLY}
    key = server.account_key() if as_account else server.user_key(READONLY)
    result = GmailConnector().check(config_of(server, key, **LABELS))
    assert not result.ok
    assert MODIFY in result.message
    assert ("client 1234567890" in result.message) == as_account


def test_a_label_to_take_away_must_be_there(server: GmailServer) -> None:
    config = config_of(server, server.user_key(MODIFY), when_done="label", remove_labels=["Nowhere"])
    assert "'Nowhere'" in GmailConnector().check(config).message


# -- what is refused, and patience ------------------------------------------------------------------------------------


def test_a_short_wait_that_gmail_asks_for_is_kept(server: GmailServer) -> None:
    server.failures.extend(
        [Failure(429, "rateLimitExceeded", "3"), Failure(403, "userRateLimitExceeded"), Failure(503)]
    )
    reader = Reader(config_of(server))
    assert reader.names() == ["1.csv", "2.csv"]
    assert reader.waits[0] == 3
    assert len(reader.waits) == 3
    assert all(0 < wait <= 3 for wait in reader.waits)


def test_a_long_wait_is_left_to_the_schedule(server: GmailServer) -> None:
    in_two_minutes = format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)
    for asked, expected in (("120", 120), (in_two_minutes, 118), ("9" * 9, 86_400), ("soon", None)):
        server.failures.extend([Failure(429, "quotaExceeded", asked)] * 4)
        reader = Reader(config_of(server))
        with pytest.raises(RetriableError, match="asks for patience") as raised:
            reader.read()
        server.failures.clear()
        assert raised.value.retry_after_s == (expected if expected is None else pytest.approx(expected, abs=3))
        assert len(reader.waits) == (3 if expected is None else 0)


def test_a_lost_connection_is_tried_again_at_once(server: GmailServer) -> None:
    server.failures.extend([Failure(cut=True), Failure(cut=True)])
    reader = Reader(config_of(server))
    assert reader.names() == ["1.csv", "2.csv"]
    assert len(reader.waits) == 2


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (Failure(403, "accessNotConfigured"), FatalError, "Gmail API is not enabled"),
        (Failure(403, "insufficientPermissions"), FatalError, "do not cover the scope .*gmail.readonly"),
        (Failure(403, "domainPolicy"), FatalError, "domainPolicy.*may planning@factory.example"),
        (Failure(400, "failedPrecondition"), FatalError, "not switched on for planning@factory.example"),
        (Failure(400, "invalidArgument"), FatalError, "check labels, query and api_url"),
        (Failure(302, "moved"), FatalError, "refused .302"),
        (Failure(200, body=b"<html>log in to the wireless network"), RetriableError, "not one of Gmail's"),
        (Failure(200, body=b'{"emailAddress": 5}'), RetriableError, "not one of Gmail's"),
        (Failure(200, body=b"[]"), RetriableError, "not one of Gmail's"),
        (Failure(200, body=b"[" * 100_000), RetriableError, "not one of Gmail's"),
        (Failure(body=b'"' + b"x" * (6 << 20)), FatalError, "larger than any of Gmail's"),
    ],
)
def test_refusals_are_told_in_words_to_act_on(
    server: GmailServer, failure: Failure, kind: type[ConnectorError], words: str
) -> None:
    if failure.status == 200:
        failure = Failure(body=failure.body)
    server.failures.append(failure)
    with pytest.raises(kind, match=words):
        Reader(config_of(server, max_mail_bytes=1_000)).read()


def test_an_answer_that_never_ends_is_not_waited_for(server: GmailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_PATIENCE", 1)
    server.failures.append(Failure(trickle=True))
    with pytest.raises(RetriableError, match="no answer in time"):
        Reader(config_of(server, timeout_s=0.3)).read()


def test_a_refused_token_is_fetched_anew_and_refused_for_good_is_fatal(server: GmailServer) -> None:
    reader = Reader(config_of(server))
    reader.read(at_most=1)
    server.failures.append(Failure(401, "authError"))
    assert reader.names() == ["2.csv"]
    server.failures.extend([Failure(401, "authError")] * 3)
    with pytest.raises(FatalError, match="refuses the access token"):
        reader.read()


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ({"refresh_token": "revoked-long-ago"}, r"refresh token no longer holds.*consent again"),
        ({"private_key": "no key at all"}, "private key cannot be read"),
        ({"private_key": key_pair()[1]}, "private key cannot be read"),
        ({"client_email": "nobody@project.example"}, "address of the domain"),
    ],
)
def test_credentials_that_do_not_hold(server: GmailServer, spoilt: dict[str, str], words: str) -> None:
    key = server.user_key(READONLY, **spoilt) if "refresh_token" in spoilt else server.account_key(**spoilt)
    with pytest.raises(FatalError, match=words):
        Reader(config_of(server, key)).read()


def test_a_mailbox_other_than_the_configured_is_not_read(server: GmailServer) -> None:
    config = config_of(server).model_copy(update={"user": "boss@factory.example"})
    with pytest.raises(FatalError, match=r"planning@factory\.example, and not boss@factory\.example"):
        Reader(config).read()


def test_a_token_endpoint_that_is_down_is_tried_again_later(
    server: GmailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.auth import _exponential_backoff

    monkeypatch.setattr(_exponential_backoff.time, "sleep", lambda _: None)
    server.token_failures.extend([Failure(503)] * 5)
    with pytest.raises(RetriableError, match="no access token at the moment"):
        Reader(config_of(server)).read()


def test_a_gateway_of_ones_own_is_trusted_by_its_certificate_only(tmp_path: Path) -> None:
    with serving(certificate=certificate_for_this_machine(tmp_path)) as server:
        server.mailbox.deliver(mail_of({"1.csv": b"1"}))
        assert server.certificate is not None
        with pytest.raises(FatalError, match="certificate is not trusted"):
            Reader(config_of(server)).read()
        pem = server.certificate.read_text().split("-----BEGIN PRIVATE")[0]
        assert Reader(config_of(server, ca_certificate=pem)).names() == ["1.csv"]


def test_the_proxy_of_the_environment_is_gone_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(certificate=certificate_for_this_machine(tmp_path)) as server, proxying() as proxy:
        assert server.certificate is not None
        config = config_of(server, ca_certificate=server.certificate.read_text().split("-----BEGIN PRIVATE")[0])
        server.mailbox.deliver(mail_of({"1.csv": b"1"}))
        monkeypatch.setenv("https_proxy", f"http://user:p%40ss@{proxy.address}")
        assert Reader(config).names() == ["1.csv"]
        assert proxy.asked[0].split()[1] == server.url.removeprefix("https://")
        monkeypatch.setenv("https_proxy", f"http://user:wrong@{proxy.address}")
        with pytest.raises(FatalError, match="lets nothing through") as raised:
            Reader(config).read()
        assert "wrong" not in str(raised.value)


# -- what stays secret ------------------------------------------------------------------------------------------------


SECRET = ("private_key", "refresh_token", "client_secret")


@pytest.mark.parametrize("as_account", [False, True])
def test_neither_keys_nor_tokens_are_logged_or_told(
    server: GmailServer, as_account: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    key = server.account_key() if as_account else server.user_key(READONLY, MODIFY)
    reader = Reader(config_of(server, key, **LABELS))
    server.failures.extend([Failure(401, "authError"), Failure(503), Failure(cut=True)])
    reader.read()
    reader.connector.settle(reader.config, reader.state)
    told = [repr(reader.config), str(reader.config.key), json.dumps(reader.state)]
    server.consents.clear()
    server.mailbox.address = "moved@factory.example"  # the token endpoint refuses, and quotes all it was sent
    with pytest.raises(FatalError) as raised:
        reader.read()
    told += [repr(raised.value), repr(raised.value.__context__)]
    fields = json.loads(key)
    secrets = [*server.tokens, *(fields[name] for name in SECRET if name in fields), key_pair()[0].splitlines()[3]]
    out, err = capfd.readouterr()
    text = "\n".join([*told, caplog.text, out, err])
    assert len(server.tokens) > 1
    assert "Refreshing credentials" in text, "the libraries do log"
    assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize(
    "wrong",
    [
        {"credentials": "not JSON"},
        {"credentials": "[" * 10_000},
        {"credentials": '{"type": "external_account", "credential_source": {"executable": {"command": "id"}}}'},
        {"credentials": '{"type": "service_account", "client_email": "a@b.example"}'},
        {"credentials": '{"client_id": "a", "client_secret": "b", "refresh_token": ""}'},
        {
            "credentials": '{"client_id": "a", "client_secret": "b", "refresh_token": "c", "token_uri": "http://x.example"}'
        },
        {"credentials": '{"type": "service_account", "client_email": "a", "private_key": "k"}', "user": None},
        {"user": "nobody"},
        {"api_url": "http://gmail.example"},
        {"api_url": "//"},
        {"labels": ["TRASH"]},
        {"senders": ["supplier.example"]},
        {"senders": ['a@b.example" OR from:"c@d.example']},
        {"attachments": ["../*.csv"]},
        {"when_done": "label"},
        {"done_label": "Taken"},
        {"when_done": "label", "done_label": "TRASH"},
        {"when_done": "label", "done_label": "Taken", "remove_labels": ["Taken"]},
        {"timeout_s": 0},
    ],
)
def test_config_refuses(wrong: dict[str, Any]) -> None:
    good = {
        "credentials": '{"client_id": "a", "client_secret": "b", "refresh_token": "very-secret"}',
        "user": "planning@factory.example",
    }
    GmailConfig.model_validate(good)
    with pytest.raises(ValidationError) as raised:
        GmailConfig.model_validate({**good, **wrong})
    assert "very-secret" not in str(raised.value)
    assert str(wrong.get("credentials", "very-secret")) not in str(raised.value)
