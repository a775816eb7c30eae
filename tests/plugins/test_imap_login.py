"""IMAP: log-in by TLS, STARTTLS, password and access token; what a server may refuse or do, and what is said of it."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from imap_neighbours import CLIENT_SECRET, REFRESH_TOKEN, TokenEndpoint
from imap_server import PASSWORD, UMLAUTS, Owner, shared_server, write_certificate
from imap_source import mail
from pydantic import ValidationError

from fmrp_imap import ImapConfig, ImapConnector
from fmrp_imap.mail import received_at
from fmrp_imap.mailbox import opened
from fmrp_imap.state import MailState
from fmrp_sdk import ConnectorError, FatalError, RetriableError
from fmrp_sdk.testing.readings import Reader


@pytest.fixture
def owner() -> Iterator[Owner]:
    """The owner of a mailbox with one mail."""
    found = shared_server().new_mailbox()
    found.put(mail(("a.csv", b"x"), number=1))
    yield found
    found.leave()


def reader(config: ImapConfig) -> Reader:
    return Reader(ImapConnector, config, 30.0)


def names(config: ImapConfig) -> list[str]:
    return [name for each in reader(config).read() for name, _ in each.contents]


# -- links ---------------------------------------------------------------------------------------------------------


def test_starttls_and_on_this_machine_no_tls_at_all(owner: Owner) -> None:
    assert names(owner.config(security="starttls", port=owner.server.plain_port)) == ["a.csv"]
    assert names(owner.config(security="none", port=owner.server.plain_port)) == ["a.csv"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"ca_certificate": None}, "certificate is not trusted .*ca_certificate"),
        ({"port": "plain"}, "does not speak TLS from the start: check port and security"),
        ({"password": "a wrong password"}, r"refuses the log-in of plant\d+ .*check user and password"),
        ({"user": "nobody"}, "refuses the log-in of nobody .*check user and password"),
        ({"folder": "Orders"}, r"'Orders' .*check folder. Folders there: INBOX\."),
    ],
)
def test_what_no_further_attempt_changes_is_fatal_and_names_the_field(
    owner: Owner, fields: dict[str, Any], told: str
) -> None:
    given = {name: owner.server.plain_port if value == "plain" else value for name, value in fields.items()}
    with pytest.raises(FatalError, match=told):
        reader(owner.config(**given)).read()
    assert reader(owner.config(**given)).check().message


def test_the_certificate_must_be_that_of_the_host(owner: Owner, tmp_path: Any) -> None:
    with pytest.raises(FatalError, match="not trusted"):
        reader(owner.config(ca_certificate=write_certificate(tmp_path))).read()
    with pytest.raises(FatalError, match=r"not trusted .*[Mm]ismatch.*check host"):
        reader(owner.config(host="127.0.0.1")).read()


def test_a_password_may_hold_any_character() -> None:
    owner = shared_server().new_mailbox(UMLAUTS)
    owner.put(mail(("a.csv", b"x")))
    owner.leave()
    assert names(owner.config()) == ["a.csv"]


# -- access tokens -------------------------------------------------------------------------------------------------


@pytest.fixture
def endpoint(owner: Owner) -> Iterator[TokenEndpoint]:
    """Gives out tokens for that owner's mailbox."""
    found = owner.server.tokens
    found.user, found.answer = owner.user, None
    found.asked.clear()
    yield found
    found.answer = None


def with_oauth2(owner: Owner, **fields: Any) -> ImapConfig:
    url = f"{owner.server.tokens.url}/token"
    given = {"token_url": url, "client_id": "mrp", "client_secret": CLIENT_SECRET, "scope": "mail.read", **fields}
    return owner.config(password=None, oauth2=given, timeout_s=1)


@pytest.mark.parametrize("refresh_token", [None, REFRESH_TOKEN])
def test_an_access_token_in_place_of_a_password(
    owner: Owner, endpoint: TokenEndpoint, refresh_token: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert names(with_oauth2(owner, refresh_token=refresh_token)) == ["a.csv"]
    (asked,) = endpoint.asked
    assert asked["grant_type"] == ("refresh_token" if refresh_token else "client_credentials")
    assert asked["scope"] == "mail.read"
    assert not any(secret in caplog.text for secret in (CLIENT_SECRET, REFRESH_TOKEN, "access-token"))


def test_a_token_for_somebody_else_is_refused(owner: Owner, endpoint: TokenEndpoint) -> None:
    endpoint.user = "somebody"
    with pytest.raises(FatalError, match=r"refuses the log-in of plant\d+.*check user, and the rights") as raised:
        reader(with_oauth2(owner)).read()
    assert "access-token" not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        ((400, {}, b'{"error": "invalid_grant"}'), FatalError, "status 400, invalid_grant.: check client_id"),
        ((400, {}, b'{"error": "the secret of the application"}'), FatalError, r"\(status 400\)"),
        ((200, {}, b"<html>Sign in</html>"), FatalError, r"gives no access token \(status 200\)"),
        ((200, {}, b'{"access_token": "a\\nb"}'), FatalError, "gives no access token"),
        ((200, {}, b" " * 300_000), FatalError, "is the address right"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), FatalError, "status 302"),
        ((429, {"Retry-After": "7"}, b""), RetriableError, "status 429"),
        ((503, {}, b"busy"), RetriableError, "status 503"),
    ],
)
def test_what_an_endpoint_may_answer(
    owner: Owner, endpoint: TokenEndpoint, answer: Any, kind: type[ConnectorError], told: str
) -> None:
    endpoint.answer = answer
    with pytest.raises(kind, match=told) as raised:
        reader(with_oauth2(owner, refresh_token=REFRESH_TOKEN)).read()
    assert getattr(raised.value, "retry_after_s", None) == (7 if answer[0] == 429 else None)
    assert not any(secret in repr(raised.value) for secret in (CLIENT_SECRET, REFRESH_TOKEN))


def test_an_endpoint_that_is_silent_or_not_there_is_waited_for(owner: Owner, silent_address: tuple[str, int]) -> None:
    for port in (silent_address[1], 1):
        with pytest.raises(RetriableError, match=r"oauth2.token_url .* is not reached"):
            reader(with_oauth2(owner, token_url=f"http://127.0.0.1:{port}/token")).read()


# -- servers of all kinds ------------------------------------------------------------------------------------------


@contextmanager
def scripted(answers: dict[str, str], greeting: str = "* OK ready") -> Iterator[ImapConfig]:
    """A server that says what it is told to for each command, TAG standing for the command's; a way to reach it."""
    usual = {
        "CAPABILITY": "* CAPABILITY IMAP4rev1\r\nTAG OK done",
        "LOGIN": "TAG OK done",
        "EXAMINE": "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\nTAG OK [READ-ONLY]",
        "UID SEARCH": "* SEARCH 1\r\nTAG OK done",
        "UID FETCH": "TAG OK done",
        "LIST": "TAG OK done",
        "LOGOUT": "* BYE\r\nTAG OK done",
    } | answers
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(link: socket.socket) -> None:
        with link, link.makefile("rwb") as lines:
            lines.write(f"{greeting}\r\n".encode())
            lines.flush()
            while line := lines.readline().decode():
                tag, command, *rest = line.split()
                answer = usual[f"UID {rest[0]}" if command == "UID" else command]
                if answer is not None:
                    lines.write((answer.replace("TAG", tag) + "\r\n").encode())
                    lines.flush()

    def take() -> None:
        while True:
            try:
                link = listener.accept()[0]
            except OSError:
                return  # closed
            threading.Thread(target=serve, args=(link,), daemon=True).start()

    threading.Thread(target=take, daemon=True).start()
    try:
        given = {"host": "127.0.0.1", "port": listener.getsockname()[1], "security": "none", "timeout_s": 2}
        yield ImapConfig.model_validate({**given, "user": "me", "password": PASSWORD})
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


HEADERS = (
    '* 1 FETCH (UID 1 INTERNALDATE "01-Mar-2026 06:00:00 +0000" RFC822.SIZE 9 BODY[HEADER] {2}\r\n\r\n)\r\nTAG OK done'
)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"LOGIN": "TAG NO [UNAVAILABLE] Temporary failure"}, r"refuses the log-in of me '\[UNAVAILABLE\]"),
        ({"LOGIN": "TAG NO Too many simultaneous connections"}, "Too many"),
        ({"LOGIN": "* BYE overloaded\r\nTAG NO no"}, "ended the link .*overloaded"),
        ({"EXAMINE": "TAG NO [SERVERBUG] Internal error"}, "does not open the folder 'INBOX' '.SERVERBUG"),
        ({"UID SEARCH": "TAG NO [INUSE] later"}, "does not search 'INBOX'"),
        ({"UID FETCH": "TAG NO [LIMIT] later"}, "does not list the mails"),
        ({"UID FETCH": "no IMAP at all"}, "ended the link"),
        ({"UID FETCH": "* 1 FETCH (UID 1 BODY[HEADER] {99999999999}\r\n"}, "answer has more than .*asked for"),
        ({"UID FETCH": None}, "does not answer within 2 seconds"),
    ],
)
def test_what_passes_by_itself_is_tried_again(answers: dict[str, str], told: str) -> None:
    with scripted(answers) as config, pytest.raises(RetriableError, match=told) as raised:
        reader(config).read()
    assert PASSWORD not in str(raised.value)


def test_the_wait_that_microsoft_asks_for_is_kept() -> None:
    busy = "TAG BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds"
    with scripted({"UID SEARCH": busy}) as config, pytest.raises(RetriableError) as raised:
        reader(config).read()
    assert raised.value.retry_after_s == pytest.approx(299.961)


@pytest.mark.parametrize(
    ("answers", "greeting", "told"),
    [
        ({}, "* PREAUTH welcome", "lets in whoever connects"),
        (
            {"CAPABILITY": "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nTAG OK done"},
            "* OK hello",
            "takes no password by this link",
        ),
        ({"EXAMINE": "TAG OK [READ-ONLY]"}, "* OK hello", "no UIDs"),
        ({"LOGIN": "TAG NO [AUTHENTICATIONFAILED] Try again"}, "* OK hello", "check user and password"),
        ({"LOGIN": f"TAG NO {PASSWORD} is wrong"}, "* OK hello", r"'\(secret\) is wrong': check user and password"),
    ],
)
def test_what_a_server_does_not_offer_is_fatal(answers: dict[str, str], greeting: str, told: str) -> None:
    with scripted(answers, greeting) as config, pytest.raises(FatalError, match=told):
        reader(config).read()


@pytest.mark.parametrize(
    ("answers", "kind", "told"),
    [
        ({"SELECT": "* OK [UIDVALIDITY 7] valid\r\nTAG OK [READ-ONLY] done"}, FatalError, "me may only read 'INBOX'"),
        (
            {"UID STORE": "TAG NO [NOPERM] not yours"},
            FatalError,
            "refuses .*when_done = seen asks '.NOPERM. not yours'",
        ),
        ({"UID STORE": "TAG NO [INUSE] later"}, RetriableError, "does not mark mails for now"),
        ({"SELECT": "* OK [UIDVALIDITY 8] valid\r\nTAG OK done", "UID STORE": "TAG BAD"}, None, ""),
    ],
)
def test_marks_that_a_server_refuses(answers: dict[str, str], kind: type[ConnectorError] | None, told: str) -> None:
    usual = {"SELECT": "* OK [UIDVALIDITY 7] valid\r\nTAG OK done"}
    with scripted(usual | answers) as config:
        marking = ImapConfig.model_validate({**config.model_dump(), "password": PASSWORD, "when_done": "seen"})
        with opened(marking) as found:
            state = MailState(found.name, found.uidvalidity).after_taken(1, "of mail 1", mark=True).dump()
        if kind is None:
            reader(marking).settle(state)  # numbered anew this very moment: nothing is marked
            return
        with pytest.raises(kind, match=told):
            reader(marking).settle(state)


def test_no_password_is_sent_where_starttls_is_not_offered() -> None:
    with scripted({"LOGIN": "* BYE you told me\r\nTAG NO no"}) as config:
        given = {**config.model_dump(), "security": "starttls", "password": PASSWORD}
        with pytest.raises(FatalError, match="offers no STARTTLS"):
            reader(ImapConfig.model_validate(given)).read()


def test_a_mail_that_the_server_cannot_give_out_is_on_record_and_the_next_is_taken() -> None:
    # As Exchange says of mails that it cannot convert.
    refusal = "TAG NO The requested message could not be converted to an RFC-822 compatible format."
    with scripted({"UID FETCH": HEADERS}) as config:
        (told,) = reader(config).read()
        assert told.batch.content is None, "no answer to the second FETCH: it is gone"
    given = iter([HEADERS, refusal])
    answers = _Answers(given)
    with scripted(answers) as config:
        (told,) = reader(config).read()
    with pytest.raises(ConnectorError, match="mail 1: the server does not give it out 'The requested message"):
        told.batch.content.opener()


class _Answers(dict[str, Any]):
    """UID FETCH is answered by one after the other."""

    def __init__(self, answers: Iterator[str]) -> None:
        super().__init__()
        self._answers = answers

    def __ror__(self, usual: dict[str, Any]) -> "_Answers":
        self.update(usual)
        return self

    def __getitem__(self, command: str) -> Any:
        return next(self._answers) if command == "UID FETCH" else super().__getitem__(command)


# -- configuration -------------------------------------------------------------------------------------------------

OAUTH2 = {"token_url": "https://login.example.com/token", "client_id": "mrp", "client_secret": CLIENT_SECRET}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"host": "imaps://mail.example.com"}, "host"),
        ({"password": None}, "one of the two"),
        ({"oauth2": OAUTH2}, "one of the two"),
        ({"password": "two\nlines of secret"}, "no line breaks"),
        ({"security": "none"}, "in the clear"),
        ({"security": "starttls"}, "993"),
        ({"when_done": "move"}, "move_to"),
        ({"move_to": "Done"}, "move_to"),
        ({"when_done": "move", "move_to": "inbox"}, "another folder"),
        ({"senders": ["plant.example"]}, "must be an address"),
        ({"attachments": ["in/*.csv"]}, "without folders"),
        ({"attachments": []}, "attachments"),
        ({"folder": "a\r\nb"}, "folder"),
        ({"ca_certificate": "no certificate"}, "PEM"),
        ({"max_mail_bytes": 1 << 30}, "max_mail_bytes"),
        ({"password": None, "oauth2": {**OAUTH2, "token_url": "http://login.example.com/token"}}, "https://"),
        ({"password": None, "oauth2": {**OAUTH2, "token_url": "https://a:b@login.example.com/"}}, "no user"),
        ({"password": None, "oauth2": {**OAUTH2, "client_secret": None}}, "give client_secret"),
    ],
)
def test_config_refuses_and_tells_no_secret(wrong: dict[str, Any], told: str) -> None:
    given = {"host": "mail.example.com", "user": "me", "password": PASSWORD, **wrong}
    with pytest.raises(ValidationError, match=told) as raised:
        ImapConfig.model_validate(given)
    text = str(raised.value)
    assert not any(secret in text for secret in (PASSWORD, CLIENT_SECRET, "lines of secret"))


def test_config_comes_back_from_json() -> None:
    given = {"host": "mail.example.com", "user": "me", "oauth2": OAUTH2, "since": "2026-03-01"}
    config = ImapConfig.model_validate(given)
    assert CLIENT_SECRET not in json.dumps(config.model_dump(mode="json"))
    assert ImapConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("17-Jul-1996 02:44:25 -0700", "1996-07-17T09:44:25+00:00"),
        (" 1-Mar-2026 06:00:00 +0000", "2026-03-01T06:00:00+00:00"),
        ("31-Feb-2026 06:00:00 +0000", "1970-01-01T00:00:00+00:00"),
        ("yesterday", "1970-01-01T00:00:00+00:00"),
    ],
)
def test_the_time_of_receipt_is_read_whatever_the_language_here(text: str, iso: str) -> None:
    assert received_at(text).isoformat() == iso
