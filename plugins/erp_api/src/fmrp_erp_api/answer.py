"""What the API answered: its body, read within bounds, and what a refusal says in words."""

import html
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from fmrp_erp_api.rate_limits import asked_wait_s, http_date
from fmrp_sdk import ConnectorError, FatalError, RetriableError

_MIB = 1 << 20
_MAX_RATIO = 200
"""Unpacked to packed bytes; repetitive JSON comes to some 30, a bomb to 1,000."""
_TOLD = 200
_TEXTS_AT = ("title", "detail", "message", "error_description", "error", "errors", "fault", "value", "Message")
_LINK = re.compile(r"<([^>]*)>([^<]*)")
_RELATION = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]+)\"|([^\s;,\"]+))", re.IGNORECASE)
_COME_BACK = {408, 425, 429, 500, 502, 503, 504}


class Refused(FatalError):
    """The API understood and refused; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not a refusal. `asked` names the request for people, without its parameters."""

    asked: str
    status: int
    url: httpx.URL
    headers: httpx.Headers
    body: bytes
    next_link: str | None

    @property
    def at(self) -> datetime:
        """The time of it by the source's clock, or by ours where it tells none."""
        return http_date(self.headers.get("date")) or datetime.now(UTC)

    @property
    def last_modified(self) -> datetime | None:
        """When the source says the content last changed."""
        return http_date(self.headers.get("last-modified"))


async def read_answer(response: httpx.Response, asked: str, url: httpx.URL, max_bytes: int) -> Answer:
    """The whole answer. RetriableError: it was cut off. FatalError: it is larger than allowed."""
    body = await _read_body(response, asked, max_bytes)
    return Answer(asked, response.status_code, url, response.headers, body, _next_link(response.headers))


def _next_link(headers: httpx.Headers) -> str | None:
    """The address in the Link header (RFC 8288) that is, perhaps among others, the next page's; None: it has none.

    Not by httpx, which cuts an address at a semicolon.
    """
    for address, parameters in _LINK.findall(headers.get("link", "")):
        relation = _RELATION.search(parameters)
        if relation is not None and "next" in (relation.group(1) or relation.group(2)).lower().split():
            return str(address).strip()
    return None


async def _read_body(response: httpx.Response, asked: str, max_bytes: int) -> bytes:
    # Unpacked here and not by httpx, which would hand over what one packed chunk unpacks to, however much.
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise FatalError(f"{asked}: the answer is packed as {packing[:20]!r}; only gzip and deflate were offered")
    unpack = _Unpacker(asked) if packing not in ("", "identity") else None
    body, packed = bytearray(), 0
    async for chunk in response.aiter_raw():
        packed += len(chunk)
        body += unpack(chunk, max_bytes + 1 - len(body)) if unpack else chunk
        if len(body) > max_bytes:
            raise FatalError(
                f"{asked}: the answer is larger than {max_bytes:,} bytes; ask for smaller pages, or raise "
                "max_response_bytes"
            )
        if len(body) > max(_MIB, packed * _MAX_RATIO):
            raise FatalError(f"{asked}: the answer unpacks to more than {_MAX_RATIO} times its size and was refused")
    if unpack and packed and not unpack.is_complete:
        raise RetriableError(f"{asked}: the answer was cut off")
    return bytes(body)


class _Unpacker:
    """gzip or deflate, in one or several members, never more than asked for at a time."""

    def __init__(self, asked: str) -> None:
        self._asked = asked
        self._stream = zlib.decompressobj(wbits=47)

    @property
    def is_complete(self) -> bool:
        return self._stream.eof

    def __call__(self, chunk: bytes, at_most: int) -> bytes:
        found = bytearray()
        try:
            while chunk and len(found) < at_most:
                if self._stream.eof:
                    self._stream = zlib.decompressobj(wbits=47)
                found += self._stream.decompress(chunk, at_most - len(found))
                chunk = self._stream.unconsumed_tail or self._stream.unused_data
        except zlib.error:
            raise RetriableError(f"{self._asked}: the answer's packing is damaged") from None
        return bytes(found)


def refusal(answer: Answer, clean: Callable[[str], str]) -> ConnectorError:
    """The error that an answer of status 300 and above stands for."""
    status = answer.status
    wait_s = asked_wait_s(status, answer.headers, answer.at)
    said = clean(_message(answer))
    said = f' and says "{said}"' if said else ""
    if status in _COME_BACK or (status == 403 and wait_s is not None):
        what = "asks to wait" if wait_s is not None else "cannot answer now"
        return RetriableError(f"{answer.asked}: the API {what} (status {status}){said}", wait_s)
    advice = {
        400: "does not take the request; check params, paging and cursor",
        401: "does not accept the log-in; check auth",
        403: "does not allow this account to read it; give it the right at the source",
        404: "knows no such address; check base_url and path",
    }.get(status, "refuses the request")
    return Refused(f"{answer.asked}: the API {advice} (status {status}){said}", status)


def _message(answer: Answer) -> str:
    """What the server says itself, out of JSON, a web page's title or plain text; empty where it says nothing."""
    text = answer.body[:20_000].decode(errors="replace")
    try:
        return " - ".join(_texts(json.loads(text), 3)[:2])
    except (ValueError, RecursionError):
        pass
    if "<" in text:
        title = re.search(r"<title[^>]*>([^<]{1,500})", text, re.IGNORECASE)
        return html.unescape(title.group(1)) if title else ""
    return text if answer.headers.get("content-type", "").startswith("text/plain") else ""


def _texts(value: Any, depth: int) -> list[str]:
    """The messages in an error of whichever of the usual shapes."""
    if isinstance(value, str):
        return [value]
    if depth and isinstance(value, list):
        return [text for each in value[:2] for text in _texts(each, depth - 1)]
    if depth and isinstance(value, dict):
        return [text for name in _TEXTS_AT if name in value for text in _texts(value[name], depth - 1)]
    return []


def clean_text(text: str, secrets: set[str]) -> str:
    """The text on one line, short, printable, with none of the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= _TOLD else line[: _TOLD - 3] + "..."
