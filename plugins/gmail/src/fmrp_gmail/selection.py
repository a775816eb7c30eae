"""Which mails fit a configuration, as far as their heads tell."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time
from email.errors import MessageError
from email.header import decode_header, make_header
from email.utils import getaddresses
from enum import Enum
from fnmatch import fnmatchcase

from fmrp_gmail.answers import Head
from fmrp_gmail.config import NEVER_READ, GmailConfig

_DAY_S = 86_400
_LONGEST = 300
_WILDCARDS = {"*", "?"}  # which Gmail does not know


class Fit(Enum):
    """Whether a mail is to be taken."""

    YES = "yes"
    NOT_NOW = "not now"  # its labels may change
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail by its head."""

    id: str
    sender: str
    subject: str
    message_id: str
    addresses: tuple[str, ...]
    received: datetime
    size: int
    labels: frozenset[str]

    @classmethod
    def of(cls, head: Head) -> "Mail":
        """From Gmail's answer."""
        sender, subject, message_id = (_text(head, name) for name in ("from", "subject", "message-id"))
        addresses = tuple(address.lower() for _, address in getaddresses([sender]))
        received = datetime.fromtimestamp(head.internal_date / 1_000, UTC)
        return cls(head.id, sender, subject, message_id, addresses, received, head.size_estimate, head.label_ids)

    @property
    def origin(self) -> dict[str, str]:
        """Where an attachment came from, for people."""
        found = {
            "sender": self.sender,
            "subject": self.subject,
            "received": self.received.isoformat(),
            "message_id": self.message_id,
        }
        return {name: text for name, text in found.items() if text}


def problem(mail: Mail, config: GmailConfig) -> str | None:
    """Why a mail will never be taken; None when nothing in it speaks against it."""
    if config.senders and not any(_is_from(address, sender) for address in mail.addresses for sender in config.senders):
        return "its sender is none of the configured"
    if config.subject is not None and config.subject.casefold() not in mail.subject.casefold():
        return f"its subject does not contain {config.subject!r}"
    if config.since is not None and mail.received.date() < config.since:
        return f"it was received before {config.since}"
    return None


def fit(mail: Mail, config: GmailConfig, labels: frozenset[str]) -> Fit:
    """Whether a mail is to be taken, but for the query, which only Gmail can judge."""
    if problem(mail, config) is not None:
        return Fit.NEVER
    return Fit.YES if labels <= mail.labels and not NEVER_READ & mail.labels else Fit.NOT_NOW


def search(config: GmailConfig, since: datetime | None = None) -> str | None:
    """A search that finds all mails that fit, and few others. `since`: later ones suffice."""
    terms = [f"({config.query})"] if config.query else []
    if config.senders and not any(_WILDCARDS & {*sender} for sender in config.senders):
        terms.append("{" + " ".join(f'from:"{sender.removeprefix("@")}"' for sender in config.senders) + "}")
    begins = [since] if since is not None else []
    if config.since is not None:
        begins.append(datetime.combine(config.since, time(), UTC))
    if begins:
        # A day earlier: Gmail's search is not exact about time, `fit` is.
        terms.append(f"after:{max(0, int(max(begins).timestamp()) - _DAY_S)}")
    return " ".join(terms) or None


def oldest_first(mails: Sequence[Mail]) -> list[Mail]:
    """In the order in which they were received."""
    return sorted(mails, key=lambda mail: (mail.received, len(mail.id), mail.id))


def _is_from(address: str, sender: str) -> bool:
    wanted = sender.lower()
    return fnmatchcase(address, f"*{wanted}" if wanted.startswith("@") else wanted)


def _text(head: Head, name: str) -> str:
    """A header, decoded, without control characters."""
    given = next((each.value for each in head.payload.headers if each.name.lower() == name), "")
    with suppress(MessageError, LookupError, ValueError):  # shown as it is then
        given = str(make_header(decode_header(given)))
    return "".join(character if character.isprintable() else " " for character in given).strip()[:_LONGEST]
