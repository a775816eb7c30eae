"""One mailbox by Google's own library. Whatever goes wrong is an error of the sdk."""

import base64
import binascii
import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build
from pydantic import BaseModel

from fmrp_gmail.answers import Head, History, Label, Labels, Listing, Nothing, Profile, Raw
from fmrp_gmail.config import MIB, GmailConfig
from fmrp_gmail.keys import MODIFY, READ
from fmrp_gmail.refusals import Busy, NotThere, told
from fmrp_gmail.transport import AnswerTooLarge, Transport
from fmrp_sdk import FatalError, SkippableError

_Model = TypeVar("_Model", bound=BaseModel)

# Asked again after about so many seconds, where the server does not say; for longer waits there is the schedule.
_PAUSES_S = (0.5, 1.0, 2.0)
_LONGEST_PAUSE_S = 10.0
_PAGE = 500  # as many as Gmail gives at once
_AT_ONCE = 1_000  # as many as Gmail marks at once


class HistoryGone(Exception):
    """Gmail no longer knows the history id: the mails must be listed again."""


class Mailbox:
    """The mailbox of a configuration, opened."""

    def __init__(self, service: Any, config: GmailConfig, scope: str, sleep: Callable[[float], None]) -> None:
        self._users = service.users()
        self._messages = self._users.messages()
        self._config = config
        self._key = config.key
        self._scope = scope
        self._sleep = sleep
        self._labels: tuple[Label, ...] | None = None

    def profile(self) -> Profile:
        """Whose mailbox it is, and where its history stands."""
        found = self._ask(self._users.getProfile(userId="me"), Profile, "opening the mailbox")
        user = self._config.user
        if user is not None and user.lower() != found.email_address.lower():
            raise FatalError(f"the credentials open the mailbox {found.email_address}, and not {user}; check user")
        return found

    def ids(self, search: str | None, page: int = _PAGE) -> Iterator[list[str]]:
        """Ids of mails that carry the labels and fit a search, page by page, as Gmail sorts them: the newest first."""
        labels = [self._label_id(name) for name in self._config.labels]
        token: str | None = None
        while True:
            request = self._messages.list(
                userId="me", q=search, labelIds=labels or None, maxResults=page, pageToken=token
            )
            found = self._ask(request, Listing, "listing mails")
            yield [message.id for message in found.messages]
            token = found.next_page_token
            if token is None:
                return

    def head(self, mail: str) -> Head | None:
        """Headers, labels, size and time of a mail; None when it is gone."""
        request = self._messages.get(
            userId="me", id=mail, format="metadata", metadataHeaders=["From", "Subject", "Message-ID"]
        )
        try:
            return self._ask(request, Head, f"reading mail {mail}")
        except NotThere:
            return None

    def content(self, mail: str) -> bytes | None:
        """A mail whole; None when it is gone. SkippableError: it cannot be taken."""
        request = self._messages.get(userId="me", id=mail, format="raw")
        limit = self._config.max_mail_bytes
        try:
            text = self._ask(request, Raw, f"reading mail {mail}").raw
            content = base64.b64decode(text.encode("ascii") + b"==", altchars=b"-_", validate=False)
        except NotThere:
            return None
        except AnswerTooLarge:
            raise SkippableError(f"mail {mail} is larger than the limit of {limit:,} bytes") from None
        except (UnicodeEncodeError, binascii.Error):
            raise SkippableError(f"mail {mail} cannot be decoded") from None
        if len(content) > limit:
            raise SkippableError(f"mail {mail} has {len(content):,} bytes, the limit is {limit:,}")
        return content

    def history(self, after: int) -> Iterator[History]:
        """What changed after a history id, page by page. HistoryGone: Gmail no longer knows."""
        token: str | None = None
        kinds = ["messageAdded", "labelAdded", "labelRemoved"]
        while True:
            request = self._users.history().list(
                userId="me", startHistoryId=str(after), historyTypes=kinds, maxResults=_PAGE, pageToken=token
            )
            try:
                found = self._ask(request, History, "reading what changed in the mailbox")
            except NotThere:
                raise HistoryGone from None
            if found.history_id < after and token is None:
                raise HistoryGone  # another mailbox of that name
            yield found
            token = found.next_page_token
            if token is None:
                return

    def labels_to_carry(self) -> frozenset[str]:
        """Ids of the labels that a mail must carry."""
        return frozenset(self._label_id(name) for name in self._config.labels)

    def check_marking(self) -> None:
        """FatalError: a label that is to be taken away does not exist."""
        for name in self._config.remove_labels:
            self._label_id(name)

    def mark(self, mails: Sequence[str]) -> None:
        """Give and take away labels as the configuration asks; mails that are gone, or marked already, stay so."""
        name = self._config.done_label
        added = [] if name is None else [self._find_label(name) or self._made(name)]
        removed = [self._label_id(each) for each in self._config.remove_labels]
        for start in range(0, len(mails), _AT_ONCE):
            body = {"ids": list(mails[start : start + _AT_ONCE]), "addLabelIds": added, "removeLabelIds": removed}
            request = self._messages.batchModify(userId="me", body=body)
            self._ask(request, Nothing, "marking mails as done")

    def _made(self, name: str) -> str:
        body = {"name": name, "labelListVisibility": "labelShow", "messageListVisibility": "show"}
        request = self._users.labels().create(userId="me", body=body)
        try:
            return self._ask(request, Label, f"making the label {name!r}").id
        except FatalError:
            # It was made by a request whose answer was lost, or by somebody else.
            self._labels = None
            found = self._find_label(name)
            if found is None:
                raise
            return found

    def _label_id(self, name: str) -> str:
        found = self._find_label(name)
        if found is None:
            raise FatalError(f"there is no label {name!r} in the mailbox; make it there, or correct the name")
        return found

    def _find_label(self, name: str) -> str | None:
        if self._labels is None:
            self._labels = self._ask(self._users.labels().list(userId="me"), Labels, "listing labels").labels
        # Gmail takes names for the same whatever the case.
        return next((label.id for label in self._labels if label.name.casefold() == name.casefold()), None)

    def _ask(self, request: Any, model: type[_Model], doing: str) -> _Model:
        """The answer to a request, asked again a few times while the server is busy."""
        for pause in (*_PAUSES_S, None):
            try:
                return model.model_validate(request.execute() or {})
            except AnswerTooLarge:
                if model is Raw:
                    raise
                error: Exception = FatalError(f"{doing}: the answer is larger than any of Gmail's; check api_url")
            except Exception as raised:  # noqa: BLE001 - `told` knows each kind, and says so of one it does not know
                error = told(raised, doing, self._key, self._scope, self._config.user)
            if pause is None or not isinstance(error, Busy):
                raise error from None
            wait = error.retry_after_s if error.retry_after_s is not None else pause * random.uniform(0.5, 1.5)  # noqa: S311
            if wait > _LONGEST_PAUSE_S:
                raise error from None
            self._sleep(wait)
        raise AssertionError("unreachable")


@contextlib.contextmanager
def opened(
    config: GmailConfig, *, writing: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Mailbox]:
    """The mailbox of a configuration; nothing but reading goes out unless `writing`. Nothing is asked of it yet.

    FatalError: the private key cannot be read.
    """
    key = config.key
    scope = MODIFY if config.when_done == "label" else READ
    try:
        credentials = key.credentials(config.user, scope)
    except ValueError:
        raise FatalError("credentials: the private key cannot be read; create a new key file") from None
    with _certificate(config.ca_certificate) as ca_file:
        transport = Transport(
            key.token_uri,
            writing=writing,
            most_bytes=config.max_mail_bytes * 4 // 3 + 4 * MIB,
            timeout_s=config.timeout_s,
            ca_file=ca_file,
        )
        service = build(
            "gmail",
            "v1",
            http=AuthorizedHttp(credentials, http=transport),
            static_discovery=True,
            cache_discovery=False,
            client_options={"api_endpoint": f"{config.api_url}/"},
        )
        try:
            yield Mailbox(service, config, scope, sleep)
        finally:
            service.close()


@contextlib.contextmanager
def _certificate(pem: str | None) -> Iterator[str | None]:
    """A certificate as a file, as httplib2 wants it."""
    if pem is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ca.pem"
        path.write_text(pem, encoding="utf-8")
        yield str(path)
