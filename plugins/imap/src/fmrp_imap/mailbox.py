"""One log-in to a mail server. Whatever goes wrong is an error of the sdk, in words an administrator can act on."""

import imaplib
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from imap_tools import AND, BaseMailBox, MailBox, MailBoxStartTls, MailBoxUnencrypted, MailMessageFlags
from imap_tools.errors import ImapToolsError, MailboxFolderSelectError, MailboxLoginError

from fmrp_imap.config import ImapConfig, OAuth2
from fmrp_sdk import FatalError, RetriableError

_SIZE = re.compile(rb"UID (\d+).*?RFC822\.SIZE (\d+)|RFC822\.SIZE (\d+).*?UID (\d+)")
_FLAGS = {"seen": MailMessageFlags.SEEN, "flag": MailMessageFlags.FLAGGED}
# UIDs named in one command: servers limit the length of a line.
_AT_ONCE = 200


class Mailbox:
    """The folder of a configuration, opened."""

    def __init__(self, box: BaseMailBox, config: ImapConfig) -> None:
        self._box = box
        self._config = config

    @property
    def uidvalidity(self) -> int:
        """As long as it stays the same, a UID means the same mail."""
        return int(self._box.folder.status(self._config.folder, ["UIDVALIDITY"])["UIDVALIDITY"])

    def uids_after(self, uid: int) -> list[int]:
        """Mails after a UID that the configuration asks for, oldest first."""
        config = self._config
        wanted: dict[str, Any] = {"uid": f"{uid + 1}:*"}
        if config.subject is not None:
            wanted["subject"] = config.subject
        if config.since is not None:
            wanted["date_gte"] = config.since
        searches = [{**wanted, "from_": sender} for sender in config.senders] or [wanted]
        # `n:*` is the last mail at least, whatever n is.
        return sorted({int(found) for each in searches for found in self._box.uids(AND(**each)) if int(found) > uid})

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """Bytes of each of these mails that is still there."""
        found: dict[int, int] = {}
        for chunk in _chunks(uids):
            _, answers = self._box.client.uid("FETCH", ",".join(map(str, chunk)), "(UID RFC822.SIZE)")
            for answer in answers:
                text = answer[0] if isinstance(answer, tuple) else answer
                if isinstance(text, bytes) and (match := _SIZE.search(text)):
                    uid, size = (match[1], match[2]) if match[1] else (match[4], match[3])
                    found[int(uid)] = int(size)
        return found

    def message(self, uid: int) -> bytes | None:
        """A mail whole, without marking it seen; None when it is gone."""
        _, answers = self._box.client.uid("FETCH", str(uid), "(BODY.PEEK[])")
        for answer in answers:
            if isinstance(answer, tuple):
                return bytes(answer[1])
        return None

    def unmarked(self, uids: Sequence[int]) -> list[int]:
        """Those of these mails that are there and not marked as the configuration asks."""
        there: set[int] = set()
        for chunk in _chunks(uids):
            wanted: dict[str, Any] = {"uid": ",".join(map(str, chunk))}
            if self._config.when_done == "seen":
                wanted["seen"] = False
            elif self._config.when_done == "flag":
                wanted["flagged"] = False
            there.update(int(uid) for uid in self._box.uids(AND(**wanted)))
        return [uid for uid in uids if uid in there]

    def mark(self, uids: Sequence[int]) -> None:
        """Mark or move mails as the configuration asks."""
        for chunk in _chunks(uids):
            names = [str(uid) for uid in chunk]
            if self._config.when_done == "move":
                self._box.move(names, str(self._config.move_to))
            elif (flag := _FLAGS.get(self._config.when_done)) is not None:
                self._box.flag(names, flag, value=True)


@contextmanager
def opened(config: ImapConfig, *, writing: bool = False) -> Iterator[Mailbox]:
    """The folder, logged in to; read-only unless `writing`.

    Raises:
        FatalError: the server refuses the log-in or the certificate, or there is no such folder.
        RetriableError: it is not reached, or went away.
    """
    where = f"{config.host}:{config.port}"
    box: BaseMailBox | None = None
    try:
        box = _connected(config)
        _log_in(box, config)
        box.folder.set(config.folder, readonly=not writing)
        yield Mailbox(box, config)
    except MailboxLoginError:
        raise FatalError(f"{where} refuses the log-in of {config.user}: check user and password") from None
    except MailboxFolderSelectError:
        raise FatalError(f"{where}: there is no folder {config.folder!r}, or it may not be opened") from None
    except ssl.SSLCertVerificationError as error:
        raise FatalError(
            f"{where}: its certificate is not trusted ({error.verify_message}); give ca_certificate, or check the name"
        ) from None
    except TimeoutError:
        raise RetriableError(f"{where} does not answer within {config.timeout_s:g} seconds") from None
    except (OSError, imaplib.IMAP4.abort, EOFError) as error:
        raise RetriableError(f"{where} is not reached or went away ({type(error).__name__}); is it up?") from None
    except (imaplib.IMAP4.error, ImapToolsError) as error:
        raise RetriableError(f"{where} refuses a command ({type(error).__name__})") from None
    finally:
        if box is not None:
            _close(box)


def _connected(config: ImapConfig) -> BaseMailBox:
    if config.security == "none":
        return MailBoxUnencrypted(config.host, config.port, timeout=config.timeout_s)
    context = ssl.create_default_context(cadata=config.ca_certificate)
    kind = MailBox if config.security == "tls" else MailBoxStartTls
    return kind(config.host, config.port, timeout=config.timeout_s, ssl_context=context)


def _log_in(box: BaseMailBox, config: ImapConfig) -> None:
    if config.password is not None:
        box.login(config.user, config.password.get_secret_value(), initial_folder=None)
    elif config.oauth2 is not None:
        box.xoauth2(config.user, _access_token(config.oauth2, config.timeout_s), initial_folder=None)


def _access_token(oauth2: OAuth2, timeout_s: float) -> str:
    """A fresh access token (RFC 6749, sections 4.4 and 6)."""
    form = {"client_id": oauth2.client_id, "client_secret": oauth2.client_secret.get_secret_value()}
    if oauth2.refresh_token is not None:
        form |= {"grant_type": "refresh_token", "refresh_token": oauth2.refresh_token.get_secret_value()}
    else:
        form |= {"grant_type": "client_credentials"}
    if oauth2.scope:
        form["scope"] = oauth2.scope
    try:
        answer = httpx.post(oauth2.token_url, data=form, timeout=timeout_s)
        if answer.status_code >= 500:
            raise RetriableError(f"{oauth2.token_url} answers with status {answer.status_code}")
        token = answer.json().get("access_token") if answer.is_success else None
    except httpx.HTTPError as error:
        raise RetriableError(f"{oauth2.token_url} is not reached ({type(error).__name__})") from None
    except ValueError:
        token = None
    if not isinstance(token, str) or not token:
        raise FatalError(f"{oauth2.token_url} gives no access token (status {answer.status_code}); check the client")
    return token


def _close(box: BaseMailBox) -> None:
    """Log out if the server still listens, and let go of the connection in any case."""
    with suppress(OSError, imaplib.IMAP4.error, ImapToolsError):
        box.client.logout()
    with suppress(OSError, imaplib.IMAP4.error):
        box.client.shutdown()


def _chunks(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), _AT_ONCE):
        yield uids[start : start + _AT_ONCE]
