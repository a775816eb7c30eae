"""Takes secrets out of what is logged or traced: by a field's name, by their shape in a text, by their value."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
# Shorter values would also be found in harmless words: they are looked for as whole words, the shortest not at all.
SHORTEST_SECRET = 8
SHORTEST_WORD = 4
# The oldest are forgotten: what is in use is told again each time it is used.
MOST_VALUES = 2000
DEEPEST = 6

_NAMES = re.compile(
    r"(passw(or)?d|secret|token|authori[sz]ation|cookie|api[_-]?key|private[_-]?key|credential|ticket)", re.IGNORECASE
)
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host, the user kept: it tells who could not log in
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/]+@", re.IGNORECASE), rf"\1:{REDACTED}@"),
    (re.compile(r"\b(bearer|basic|digest)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), REDACTED),  # a JSON web token
    (
        re.compile(
            r"(?P<name>[\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key|ticket|cookie|authorization)[\w-]*"
            r"[\"']?\s*[=:]\s*[bB]?[\"']?)(?!\[redacted\]|bearer|basic|digest)[^\s\"'&,;)}]+",
            re.IGNORECASE,
        ),
        rf"\g<name>{REDACTED}",
    ),
)
# One cheap look tells that none of the shapes can be there, which is so for nearly every text.
_SUSPECT = re.compile(r"://|eyJ|bearer|basic|digest|passw|secret|token|key|ticket|cookie|authorization", re.IGNORECASE)


class _Known:
    """Values never to be printed: in the order they were last told, and the longest first, as one may hold another."""

    told: dict[str, None] = {}  # noqa: RUF012 - replaced, never changed: threads may be reading it
    longest_first: tuple[str, ...] = ()


def remember_secrets(*values: str) -> None:
    """Never print these values again, wherever and however quoted they turn up."""
    fresh = dict.fromkeys(each for value in values for each in _spellings(value) if len(each) >= SHORTEST_WORD)
    if not fresh:
        return
    kept = [value for value in _Known.told if value not in fresh]
    _Known.told = dict.fromkeys([*kept, *fresh][-MOST_VALUES:])
    _Known.longest_first = tuple(sorted(_Known.told, key=len, reverse=True))


def _spellings(value: str) -> Iterator[str]:
    """A value as it is, and as URLs, Python, JSON and base64 write it; of several lines also each long one."""
    yield value
    yield from (quote(value, safe="", errors="replace"), quote_plus(value, errors="replace"))
    yield quote(value, errors="replace")
    yield from (repr(value)[1:-1], json.dumps(value)[1:-1])
    encoded = value.encode(errors="replace")
    if len(encoded) >= SHORTEST_SECRET:
        yield base64.b64encode(encoded).decode()
    if "\n" in value:
        yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= 2 * SHORTEST_SECRET)


def redact_known(text: str) -> str:
    """The text without the values told to `remember_secrets`; nothing is judged by its shape."""
    for value in _Known.longest_first:
        if value in text:
            whole = re.escape(value) if len(value) >= SHORTEST_SECRET else rf"(?<!\w){re.escape(value)}(?!\w)"
            text = re.sub(whole, REDACTED, text)
    return text


def redact_text(text: str) -> str:
    """The text without secrets."""
    text = redact_known(text)
    if _SUSPECT.search(text) is None:
        return text
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return text


def redact(name: str, value: Any, depth: int = 0) -> Any:
    """The value of a field without secrets; what is nested deeper than `DEEPEST` is left out."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    if _NAMES.search(name):
        return REDACTED
    nested = isinstance(value, Mapping | list | tuple | set | frozenset)
    if not nested:
        return redact_text(str(value))
    if depth >= DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): redact(str(key), each, depth + 1) for key, each in value.items()}
    return [redact("", each, depth + 1) for each in value]
