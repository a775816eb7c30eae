"""Links to a mail server, logged in. Whatever goes wrong is an error of the sdk, in words to act on."""

import imaplib
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from fmrp_imap.client import AnswerTooLarge, ReadingClient
from fmrp_imap.config import ImapConfig
from fmrp_imap.oauth2 import access_token
from fmrp_sdk import FatalError, RetriableError

# Codes (RFC 5530) and words of refusals that pass by themselves.
_PASSING = re.compile(r"\[(UNAVAILABLE|INUSE|LIMIT|OVERQUOTA|SERVERBUG)\b|too many|temporar|throttled", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]+")
_LONGEST_QUOTE = 200
# Shorter ones are parts of words.
_SHORTEST_SECRET = 4
# As Microsoft 365 tells it, in milliseconds.
_BACKOFF = re.compile(r"Backoff Time: (\d{1,9})", re.IGNORECASE)


def said(answers: Sequence[Any], *secrets: str) -> str:
    """What a server gave as the reason of a refusal, cut and freed of secrets; in quotes, or empty."""
    texts = [answer.decode("utf-8", "replace") for answer in answers if isinstance(answer, bytes)]
    text = _UNSAFE.sub(" ", " ".join(texts)).strip()
    for secret in (each for each in secrets if len(each) >= _SHORTEST_SECRET):
        text = text.replace(secret, "(secret)")
    return f"'{text[:_LONGEST_QUOTE]}'" if text else ""


def passes_by_itself(reason: str) -> bool:
    """Whether a refusal is of the kind that is gone after a while."""
    return _PASSING.search(reason) is not None


@contextmanager
def logged_in(config: ImapConfig, *, may_mark: bool = False) -> Iterator[ReadingClient]:
    """A link while the block lasts; errors of the library, also those of the block, come as errors of the sdk.

    Raises:
        FatalError: the server refuses the log-in, or its certificate is not trusted.
        RetriableError: it is not reached, went away, or refuses for now.
    """
    where = f"{config.host}:{config.port}"
    client: ReadingClient | None = None
    try:
        client = _connected(config, may_mark)
        _log_in(client, config, where)
        yield client
    except ssl.SSLCertVerificationError as error:
        raise FatalError(
            f"{where}: its certificate is not trusted ({error.verify_message}): check host, or give ca_certificate"
        ) from None
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            raise FatalError(f"{where} does not speak TLS from the start: check port and security") from None
        raise RetriableError(f"{where}: the TLS link failed ({error.reason or type(error).__name__})") from None
    except TimeoutError:
        raise RetriableError(
            f"{where} does not answer within {config.timeout_s:g} seconds: is it up, and are port and security right?"
        ) from None
    except socket.gaierror:
        raise RetriableError(f"host: the name {config.host} is not known, or no name server is reached") from None
    except (OSError, EOFError) as error:
        raise RetriableError(f"{where} is not reached or went away ({type(error).__name__}): is it up?") from None
    except AnswerTooLarge as error:
        raise RetriableError(f"{where}: {error}, which is more than was asked for") from None
    except imaplib.IMAP4.readonly:
        raise FatalError(
            f"{where}: {config.user} may only read {config.folder!r}: choose when_done = leave, or have it changed"
        ) from None
    except imaplib.IMAP4.abort as error:
        raise RetriableError(f"{where} ended the link {_quoted(error, config)}".rstrip()) from None
    except imaplib.IMAP4.error as error:
        told = _quoted(error, config)
        wait = float(found[1]) / 1_000 if (found := _BACKOFF.search(told)) else None
        raise RetriableError(f"{where} refuses a command {told}".rstrip(), wait) from None
    finally:
        if client is not None:
            _close(client)


def _quoted(error: imaplib.IMAP4.error, config: ImapConfig) -> str:
    return said([str(error).encode()], *([config.password.get_secret_value()] if config.password else []))


def _connected(config: ImapConfig, may_mark: bool) -> ReadingClient:
    context = None if config.security == "none" else ssl.create_default_context(cadata=config.ca_certificate)
    from_the_start = context if config.security == "tls" else None
    client = ReadingClient(
        config.host,
        config.port,
        config.timeout_s,
        from_the_start,
        # One more tells a mail of the size that is taken from a larger one.
        most_content=config.max_mail_bytes + 1,
        may_mark=may_mark,
    )
    if config.security == "starttls":
        try:
            _start_tls(client, context, f"{config.host}:{config.port}")
        except BaseException:
            _close(client)
            raise
    return client


def _start_tls(client: ReadingClient, context: ssl.SSLContext | None, where: str) -> None:
    if "STARTTLS" not in client.capabilities or client.state != "NONAUTH":
        raise FatalError(f"{where} offers no STARTTLS: check port and security")
    client.starttls(context)


def _log_in(client: ReadingClient, config: ImapConfig, where: str) -> None:
    if client.state != "NONAUTH":
        raise FatalError(f"{where} lets in whoever connects, as somebody of its own choice; expected to log in")
    if config.oauth2 is not None:
        token = access_token(config.oauth2, config.timeout_s)
        kind, answer = _by_token(client, config.user, token)
        secret, fields = token, "user, and the rights of the application (oauth2)"
    else:
        assert config.password is not None
        secret, fields = config.password.get_secret_value(), "user and password"
        kind, answer = _by_password(client, config.user, secret, where)
    if kind != "OK":
        reason = said(answer, secret)
        text = f"{where} refuses the log-in of {config.user} {reason}".rstrip()
        raise RetriableError(text) if passes_by_itself(reason) else FatalError(f"{text}: check {fields}")
    client.state = "AUTH"
    # Most servers tell of what they can only once they know who asks.
    kind, answer = client.capability()
    client.capabilities = tuple(b" ".join(filter(None, answer)).decode("ascii", "replace").upper().split())


def _by_password(client: ReadingClient, user: str, password: str, where: str) -> tuple[str, list[Any]]:
    if (user + password).isascii() and "LOGINDISABLED" not in client.capabilities:
        # The library's own login() leaves a user with blanks unquoted, and turns a refusal into a fault.
        quoted = [client._quote(text) for text in (user, password)]
        return client._simple_command("LOGIN", *quoted)  # type: ignore[no-any-return]
    if "AUTH=PLAIN" not in client.capabilities:
        raise FatalError(
            f"{where} takes no password by this link, or none beyond ASCII: check security and password, or use oauth2"
        )
    return _authenticated(client, "PLAIN", f"\0{user}\0{password}".encode())


def _by_token(client: ReadingClient, user: str, token: str) -> tuple[str, list[Any]]:
    return _authenticated(client, "XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01".encode())


def _authenticated(client: ReadingClient, mechanism: str, credentials: bytes) -> tuple[str, list[Any]]:
    given = iter([credentials])
    try:
        # Asked a second time, the server has refused and waits for an empty line to say so.
        client.authenticate(mechanism, lambda _: next(given, b""))
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        return "NO", [str(error).encode()]
    return "OK", []


def _close(client: ReadingClient) -> None:
    """Log out if the server still listens, and let go of the link in any case."""
    with suppress(OSError, imaplib.IMAP4.error, AnswerTooLarge):
        client.sock.settimeout(2.0)
        client.logout()
    with suppress(OSError):
        client.shutdown()
