"""The files attached to a mail, by names that are safe to show and to keep; for connectors of mailboxes."""

import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import policy
from email.errors import MessageError
from email.message import Message
from email.parser import BytesHeaderParser
from fnmatch import fnmatchcase

from fmrp_sdk.errors import SkippableError
from fmrp_sdk.types import DATA_FILES

_LONGEST_NAME = 200
# Real mails have three levels or four, some tens of parts, and headers of some kilobytes. Anybody may send one that has
# not, and the standard library would need minutes and gigabytes for it: so mails are split here, in linear time.
_DEEPEST = 20
_MOST_PARTS = 1_000
_MOST_HEADERS = 2 << 20
_LONGEST_HEADER = 4_096
# What the library takes for a header that it understands grows with the square of its length.
_MOST_EFFORT = 4 * _LONGEST_HEADER**2
_STRUCTURE = re.compile(
    rb"^content-(?:type|disposition|transfer-encoding)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE
)
# How the standard library's parser of headers fails on some.
_UNREADABLE = (MessageError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]+")
_NO_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a mail."""

    name: str
    content: bytes


def attachments(message: bytes, patterns: Sequence[str] = DATA_FILES) -> list[Attachment]:
    """The attachments of a mail (RFC 5322) whose names fit a pattern, also of mails within it, in their order.

    Names lose their folders and control characters; equal ones are told apart by a number.

    Raises:
        SkippableError: the mail is nested deeper, or has more parts or headers, than any real one.
    """
    found: list[Attachment] = []
    names: dict[str, int] = {}
    for headers, body in _Splitting().parts(message, 0):
        name = file_name(headers)
        if name is None or not any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns):
            continue
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            stem, dot, ending = name.partition(".")
            name = f"{stem} ({names[name]}){dot}{ending}"
        found.append(Attachment(name, _decoded(headers, body)))
    return found


def header(message: Message, name: str) -> str:
    """A header as text without control characters; empty where it is missing or cannot be read.

    One too long to be real comes cut, as it was sent.
    """
    given = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    if len(given) > _LONGEST_HEADER:
        return _UNSAFE.sub(" ", given[:_LONGEST_HEADER]).encode("ascii", "replace").decode().strip()
    try:
        value = str(message.get(name, ""))
    except _UNREADABLE:
        return ""
    return _UNSAFE.sub(" ", value).strip()


def file_name(part: Message) -> str | None:
    """The name a part is attached under, without folders and control characters; None for one without a name."""
    try:
        given = part.get_filename()
    except _UNREADABLE:
        return None
    if not given:
        return None
    name = _UNSAFE.sub("", given.replace("\\", "/").rsplit("/", 1)[-1]).strip(". ")
    if len(name) > _LONGEST_NAME:
        stem, dot, ending = name.rpartition(".")
        name = f"{stem[: _LONGEST_NAME - len(ending) - 1]}{dot}{ending[:20]}"
    return name or None


class _Splitting:
    """Splits one mail, within bounds that hold for all its parts together."""

    def __init__(self) -> None:
        self._parts_left = _MOST_PARTS
        self._headers_left = _MOST_HEADERS
        self._effort_left = _MOST_EFFORT

    def parts(self, content: bytes, depth: int) -> Iterator[tuple[Message, bytes]]:
        """Headers and body, as sent, of each part that has no parts itself."""
        if depth > _DEEPEST:
            raise SkippableError(f"the mail is nested more than {_DEEPEST} levels deep")
        self._parts_left -= 1
        if self._parts_left < 0:
            raise SkippableError(f"the mail has more than {_MOST_PARTS:,} parts")
        headers, body = self._headers(content)
        kind, boundary = _kind_of(headers)
        if kind.startswith("multipart/") and boundary:
            for part in _between(boundary, body):
                yield from self.parts(part, depth + 1)
        elif kind in ("message/rfc822", "message/global"):
            yield from self.parts(_decoded(headers, body), depth + 1)
        else:
            yield headers, body

    def _headers(self, content: bytes) -> tuple[Message, bytes]:
        # Looked for no further than headers may reach.
        blank = _BLANK_LINE.search(content, 0, min(len(content), self._headers_left + 4))
        end, begin = blank.span() if blank else (len(content), len(content))
        self._headers_left -= end
        if self._headers_left < 0:
            raise SkippableError(f"the mail has more than {_MOST_HEADERS:,} bytes of headers")
        head = content[:end]
        for match in _STRUCTURE.finditer(head):
            length = len(match[0])
            self._effort_left -= length**2
            if length > _LONGEST_HEADER or self._effort_left < 0:
                raise SkippableError(f"the mail has headers on its parts of more than {_LONGEST_HEADER:,} characters")
        try:
            return BytesHeaderParser(policy=policy.default).parsebytes(head), content[begin:]
        except _UNREADABLE as error:
            raise SkippableError("the mail has headers on its parts that cannot be read") from error


def _kind_of(headers: Message) -> tuple[str, str]:
    """The content type, in lower case, and the boundary between its parts; empty where it cannot be read."""
    try:
        return headers.get_content_type(), headers.get_boundary("")
    except _UNREADABLE:
        return "", ""


def _between(boundary: str, body: bytes) -> Iterator[bytes]:
    """What stands between the lines of a boundary (RFC 2046, section 5.1.1); the closing one may be missing."""
    line = re.escape(boundary.encode("utf-8", "surrogateescape"))
    begin: int | None = None
    for match in re.finditer(rb"^--" + line + rb"(--)?[ \t]*\r?$", body, re.MULTILINE):
        if begin is not None:
            end = match.start() - 1
            yield body[begin : end - 1 if body[end - 1 : end] == b"\r" else end]
        if match[1]:
            return
        begin = match.end() + 1
    if begin is not None:
        yield body[begin:]


def _decoded(headers: Message, body: bytes) -> bytes:
    """A body as it was before it was made fit for mail."""
    encoding = header(headers, "Content-Transfer-Encoding").lower()
    if encoding == "base64":
        digits = body.partition(b"=")[0].translate(None, _NO_BASE64)
        if len(digits) % 4 == 1:
            raise SkippableError("an attachment of the mail is torn: its base64 ends within a byte")
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if "uu" in encoding:
        headers.set_payload(body.decode("ascii", "surrogateescape"))
        content = headers.get_payload(decode=True)
        return content if isinstance(content, bytes) else b""
    return body
