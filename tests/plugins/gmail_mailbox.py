"""A mailbox as Gmail keeps it: mails with labels, and a history of what changed. `gmail_server` serves it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

SYSTEM_LABELS = ("INBOX", "UNREAD", "STARRED", "IMPORTANT", "SENT", "DRAFT", "SPAM", "TRASH", "CHAT")
FIRST_MAIL = 0x18C0_0000_0000_0000
T0_MS = 1_700_000_000_000
Files = dict[str, bytes]


class Refused(Exception):
    """An answer of Gmail's that is an error."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


@dataclass
class Mail:
    """A mail in the mailbox."""

    id: str
    raw: bytes
    labels: set[str]
    at_ms: int
    history_id: int

    @property
    def head(self) -> EmailMessage:
        return BytesParser(policy=policy.default).parsebytes(self.raw, headersonly=True)  # type: ignore[return-value]


@dataclass
class GmailMailbox:
    """`most_per_page`: mails, or records of the history, that one page holds at most."""

    address: str = "planning@factory.example"
    most_per_page: int = 3
    mails: dict[str, Mail] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=lambda: {name: name for name in SYSTEM_LABELS})
    not_searchable_yet: set[str] = field(default_factory=set)
    forgotten_up_to: int = 0
    lock: Any = field(default_factory=threading.RLock)
    _last_id: int = 1_000

    def deliver(self, raw: bytes, labels: tuple[str, ...] = ("INBOX", "UNREAD"), at_ms: int | None = None) -> str:
        """A mail comes in, a minute after the one before unless said otherwise. Its id."""
        with self.lock:
            number = len(self.mails)
            mail = f"{FIRST_MAIL + (number << 20):x}"
            ids = {self.label(name) for name in labels}
            at_ms = T0_MS + 60_000 * number if at_ms is None else at_ms
            self.mails[mail] = Mail(mail, raw, ids, at_ms, self._record("messagesAdded", mail, ids))
            return mail

    def delete(self, mail: str) -> None:
        """For good; its place is kept, so that ids do not come again."""
        with self.lock:
            self.mails[mail].labels = {"DELETED"}
            self._record("messagesDeleted", mail, set())

    def relabel(self, mail: str, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> None:
        """Give and take labels, by name."""
        self.modify([mail], [self.label(name) for name in add], [self.label(name) for name in remove])

    def modify(self, mails: list[str], add: list[str], remove: list[str]) -> None:
        """users.messages.batchModify: whatever is there is marked."""
        with self.lock:
            if unknown := {*add, *remove} - {*self.labels}:
                raise Refused(400, f"invalidLabel{len(unknown)}")
            for mail in (self.mails[each] for each in mails if each in self.mails):
                if added := {*add} - mail.labels:
                    mail.labels |= added
                    mail.history_id = self._record("labelsAdded", mail.id, added)
                if removed := {*remove} & mail.labels:
                    mail.labels -= removed
                    mail.history_id = self._record("labelsRemoved", mail.id, removed)

    def label(self, name: str) -> str:
        """Id of a label, made if it is not there."""
        found = next((id_ for id_, each in self.labels.items() if each.lower() == name.lower()), None)
        return found if found is not None else self.make_label(name)["id"]

    def make_label(self, name: str) -> dict[str, str]:
        """users.labels.create."""
        with self.lock:
            if name.lower() in {each.lower() for each in self.labels.values()}:
                raise Refused(409, "aborted")
            made = f"Label_{len(self.labels)}"
            self.labels[made] = name
            return {"id": made, "name": name}

    def labels_of(self, mail: str) -> set[str]:
        """Names of a mail's labels."""
        return {self.labels[each] for each in self.mails[mail].labels}

    def forget_history(self) -> None:
        """As after a week."""
        self._record("messagesDeleted", "gone", set())
        self.forgotten_up_to = self._last_id

    @property
    def history_id(self) -> int:
        """Where the mailbox stands."""
        return self._last_id

    def list(self, query: str, labels: list[str], offset: int, most: int) -> dict[str, Any]:
        """users.messages.list: the newest first."""
        with self.lock:
            hidden = {"SPAM", "TRASH", "DELETED"}
            fits = searched(query)
            found = [
                mail.id
                for mail in sorted(self.mails.values(), key=lambda each: (-each.at_ms, each.id))
                if {*labels} <= mail.labels and not (hidden - {*labels}) & mail.labels
                if not query or (mail.id not in self.not_searchable_yet and fits(mail, self))
            ]
            return self._page("messages", [{"id": each, "threadId": each} for each in found], offset, most)

    def changes(self, after: int, kinds: list[str], offset: int, most: int) -> dict[str, Any]:
        """users.history.list."""
        with self.lock:
            if after < self.forgotten_up_to:
                raise Refused(404, "notFound")
            wanted = {{"messageAdded": "messagesAdded"}.get(kind, kind.replace("label", "labels")) for kind in kinds}
            found = [each for each in self.history if int(each["id"]) > after and wanted & {*each}]
            return self._page("history", found, offset, most) | {"historyId": str(self._last_id)}

    def get(self, mail: str) -> Mail:
        """A mail that is there."""
        found = self.mails.get(mail)
        if found is None or "DELETED" in found.labels:
            raise Refused(404, "notFound")
        return found

    def _page(self, name: str, found: list[dict[str, Any]], offset: int, most: int) -> dict[str, Any]:
        end = offset + min(most, self.most_per_page)
        page: dict[str, Any] = {name: found[offset:end]} if found[offset:end] else {}
        return page | ({"nextPageToken": str(end)} if end < len(found) else {})

    def _record(self, kind: str, mail: str, labels: set[str]) -> int:
        self._last_id += 7  # with gaps, as Gmail's are
        change: dict[str, Any] = {"message": {"id": mail, "threadId": mail, "labelIds": sorted(labels)}}
        if kind.startswith("labels"):
            change["labelIds"] = sorted(labels)
        self.history.append({"id": str(self._last_id), "messages": [{"id": mail}], kind: [change]})
        return self._last_id


def mail_of(
    files: Files, sender: str = "Sales <sales@shop.example>", subject: str = "Demand", forwarded: bool = False
) -> bytes:
    """A mail with these attachments; `forwarded`: they are in a mail within it."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, "planning@factory.example", subject
    message["Message-ID"] = "<one@shop.example>"
    message.set_content("Please find the figures attached.")
    for name, content in files.items():
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    if not forwarded:
        return message.as_bytes()
    outer = EmailMessage()
    outer["From"], outer["Subject"] = sender, f"Fwd: {subject}"
    outer.set_content("See below.")
    outer.add_attachment(message)
    return outer.as_bytes()


Fits = Callable[[Mail, GmailMailbox], bool]
_WORD = re.compile(r'[(){}]|-?\w+:"[^"]*"|"[^"]*"|[^\s(){}]+')


def searched(query: str) -> Fits:
    """The part of Gmail's search language that is needed: words of key:value, -, (), and {} for any of them."""
    words = iter(_WORD.findall(query))

    def group(end: str) -> Iterator[Fits]:
        for word in words:
            if word == end:
                return
            if word in "({":
                parts = list(group(")" if word == "(" else "}"))
                yield all_of(parts) if word == "(" else any_of(parts)
            else:
                yield term(word)

    return all_of(list(group("")))


def all_of(parts: list[Fits]) -> Fits:
    """Whether all fit."""
    return lambda mail, box: all(each(mail, box) for each in parts)


def any_of(parts: list[Fits]) -> Fits:
    """Whether any fits."""
    return lambda mail, box: any(each(mail, box) for each in parts)


def term(word: str) -> Fits:
    """One word of a search."""
    if word.startswith("-"):
        inner = term(word[1:])
        return lambda mail, box: not inner(mail, box)
    key, _, value = word.partition(":")
    value = value.strip('"').lower()
    if key == "from":
        addressed = re.compile(rf"(^|[\s<@.]){re.escape(value)}>?$")
        return lambda mail, _: bool(addressed.search(str(mail.head["From"]).lower()))
    if key == "after":
        return lambda mail, _: mail.at_ms >= int(value) * 1_000
    if key == "label":
        return lambda mail, box: value in {box.labels[each].lower() for each in mail.labels}
    if key == "is":
        return lambda mail, _: value.upper() in mail.labels
    if key == "has" and value == "attachment":
        return lambda mail, _: b"filename=" in mail.raw
    raise Refused(400, "invalidArgument")
