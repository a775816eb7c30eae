"""What a mail says of itself, and whether it is asked for."""

import hashlib
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from fnmatch import fnmatchcase

from fmrp_imap.config import ImapConfig
from fmrp_sdk.attachments import Attachment, header

log = logging.getLogger(__name__)

_UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)
_INTERNALDATE = re.compile(r"\s*(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d:\d\d:\d\d [+-]\d{4})")
# Of a From header, which tells of one sender, rarely of two.
_LONGEST_FROM = 4_096
_LONGEST_HEAD = 256 << 10


@dataclass(frozen=True, slots=True)
class Overview:
    """A mail as the server lists it: `size` in bytes, when it was received, and the lines on sender and subject."""

    uid: int
    size: int
    received: datetime
    headers: bytes

    @property
    def subject(self) -> str:
        """The subject as text, empty where there is none that can be read."""
        return told(_parsed(self.headers), "Subject")

    @property
    def senders(self) -> list[str]:
        """The addresses in From, in lower case."""
        parsed = BytesHeaderParser().parsebytes(self.headers)
        given = [str(value)[:_LONGEST_FROM] for value in parsed.get_all("From", [])]
        try:
            return [address.lower() for _, address in getaddresses(given) if address]
        except RecursionError:
            log.warning("the sender of mail %d cannot be read", self.uid)
            return []

    def fits(self, config: ImapConfig) -> bool:
        """Whether sender and subject are as the configuration asks."""
        if config.subject is not None and config.subject.casefold() not in self.subject.casefold():
            return False
        return not config.senders or any(
            fnmatchcase(address, f"*{wanted}" if wanted.startswith("@") else wanted)
            for wanted in (sender.lower() for sender in config.senders)
            for address in self.senders
        )


def received_at(internaldate: str) -> datetime:
    """The time of an INTERNALDATE such as '17-Jul-1996 02:44:25 -0700'; the epoch where there is none."""
    match = _INTERNALDATE.match(internaldate)
    if match is None:
        return _UNKNOWN_TIME
    try:
        return parsedate_to_datetime(" ".join(match.groups())).astimezone(UTC)
    except (ValueError, OverflowError):
        return _UNKNOWN_TIME


def origin_of(message: bytes, overview: Overview, folder: str) -> dict[str, str]:
    """Where the attachments of a mail come from, for people."""
    headers = _parsed(message)
    found = {
        "sender": told(headers, "From"),
        "subject": told(headers, "Subject"),
        "received": overview.received.isoformat(),
        "folder": folder,
        "message_id": told(headers, "Message-ID"),
    }
    return {name: text[:500] for name, text in found.items() if text}


def fingerprint_of(message: bytes, overview: Overview, found: list[Attachment]) -> str:
    """By what a mail is known again, whatever its UID: what it says of itself, and its attachments.

    One without a Message-ID is known again by its UID only: a sender who sends the same once more may mean it.
    """
    headers = _parsed(message)
    own = told(headers, "Message-ID") or f"{overview.uid} {overview.received.isoformat()}"
    parts = [own, *(told(headers, name) for name in ("Date", "From", "Subject"))]
    for attachment in found:
        parts += [attachment.name, hashlib.sha256(attachment.content).hexdigest()]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def told(headers: Message, name: str) -> str:
    """A header as text; empty, and logged, where the standard library fails on it."""
    try:
        return header(headers, name)
    except Exception as error:  # noqa: BLE001 - the library's parser fails on hostile headers in ways of its own
        log.warning("the header %s of a mail cannot be read (%s)", name, type(error).__name__)
        return ""


def _parsed(message: bytes) -> Message:
    head = message.partition(b"\r\n\r\n")[0][:_LONGEST_HEAD]
    return BytesHeaderParser(policy=policy.default).parsebytes(head)
