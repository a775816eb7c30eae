"""Takes secrets out of what is logged or traced: by a field's name, by their shape in a text, by their value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"
# Shorter values would also be found in harmless words.
SHORTEST_SECRET = 8
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

_values: set[str] = set()


def remember_secrets(*values: str) -> None:
    """Never print these values again, wherever they turn up."""
    _values.update(value for value in values if len(value) >= SHORTEST_SECRET)


def redact_text(text: str) -> str:
    """The text without secrets."""
    for value in _values:
        if value in text:
            text = text.replace(value, REDACTED)
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
