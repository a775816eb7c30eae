"""The files attached to a mail, by names that are safe to show and to keep; for connectors of mailboxes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import policy
from email.errors import MessageError
from email.message import EmailMessage, Message
from email.parser import BytesParser
from fnmatch import fnmatchcase

from fmrp_sdk.errors import SkippableError

PATTERNS = ("*.csv", "*.csv.gz", "*.tsv", "*.txt", "*.xlsx", "*.xlsm", "*.xls", "*.ods", "*.zip", "*.pdf", "*.jsonl")
"""What attachments of data are usually called."""

_LONGEST_NAME = 200
# Mails within mails, and multiparts within multiparts: real ones have three levels or four.
_DEEPEST = 20
_MOST_PARTS = 1_000
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a mail."""

    name: str
    content: bytes


def attachments(message: bytes, patterns: Sequence[str] = PATTERNS) -> list[Attachment]:
    """The attachments of a mail (RFC 5322) whose names fit a pattern, also of mails within it, in their order.

    Names lose their folders and control characters; equal ones are told apart by a number.

    Raises:
        SkippableError: the mail is nested deeper, or of more parts, than any real one.
    """
    try:
        parsed = BytesParser(policy=policy.default).parsebytes(message)
    except RecursionError as error:
        raise SkippableError(f"the mail is nested more than {_DEEPEST} levels deep") from error
    found: list[Attachment] = []
    names: dict[str, int] = {}
    for count, part in enumerate(_parts(parsed, 0)):
        if count > _MOST_PARTS:
            raise SkippableError(f"the mail has more than {_MOST_PARTS:,} parts")
        name = file_name(part)
        if name is None or not any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns):
            continue
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            stem, dot, ending = name.partition(".")
            name = f"{stem} ({names[name]}){dot}{ending}"
        content = part.get_payload(decode=True)
        found.append(Attachment(name, content if isinstance(content, bytes) else b""))
    return found


def header(message: Message, name: str) -> str:
    """A header as text without control characters; empty where it is missing or cannot be read."""
    try:
        value = str(message.get(name, ""))
    except (MessageError, ValueError, LookupError, IndexError):
        return ""
    return _UNSAFE.sub(" ", value).strip()


def file_name(part: Message) -> str | None:
    """The name a part is attached under, without folders and control characters; None for one without a name."""
    try:
        given = part.get_filename()
    except (MessageError, ValueError, LookupError, IndexError):
        return None
    if not given:
        return None
    name = _UNSAFE.sub("", given.replace("\\", "/").rsplit("/", 1)[-1]).strip(". ")
    if len(name) > _LONGEST_NAME:
        stem, dot, ending = name.rpartition(".")
        name = f"{stem[: _LONGEST_NAME - len(ending) - 1]}{dot}{ending[:20]}"
    return name or None


def _parts(message: Message, depth: int) -> Iterator[Message]:
    """The leaves of a mail."""
    if depth > _DEEPEST:
        raise SkippableError(f"the mail is nested more than {_DEEPEST} levels deep")
    if not message.is_multipart():
        yield message
        return
    for part in message.get_payload():
        if isinstance(part, (EmailMessage, Message)):
            yield from _parts(part, depth + 1)
