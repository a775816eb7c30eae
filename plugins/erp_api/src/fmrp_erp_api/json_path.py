"""JSONPath (RFC 9535)."""

from functools import lru_cache
from typing import Any

from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError
from jsonpath.segments import JSONPathChildSegment
from jsonpath.selectors import Filter, NameSelector

from fmrp_sdk import FatalError

_ENVIRONMENT = JSONPathEnvironment(strict=True)
_NAMES_TOLD = 20


def check_path(path: str) -> str:
    """The path itself. ValueError: it is none."""
    try:
        _compiled(path)
    except JSONPathError as error:
        # Only the first argument: the library's full text fails for some errors at a path's end.
        reason = error.args[0] if error.args else "unknown reason"
        raise ValueError(f"{path!r} is no JSONPath such as '$.data[*]': {reason}") from None
    return path


def has_filter(path: str) -> bool:
    """Whether the path leaves out elements by a condition."""
    return any(isinstance(each, Filter) for segment in _compiled(path).segments for each in segment.selectors)


def find_all(path: str, document: Any) -> list[Any]:
    """Every value at the path. FatalError: it cannot be followed here, as the answer is nested too deep."""
    try:
        return _found(_compiled(path), document)
    except JSONPathError as error:
        raise FatalError(f"JSONPath {path!r} cannot be followed in the answer: {error.args[0]}") from None


def why_nothing(path: str, document: Any) -> str | None:
    """What there is instead of what the path names; None where it rightly finds nothing: no element, or null.

    Names the keys that are there, as they are: to be cleaned by whoever tells them.
    """
    segments = _compiled(path).segments
    for count in range(len(segments) - 1, -1, -1):
        reached = JSONPath(env=_ENVIRONMENT, segments=segments[:count])
        nodes = _found(reached, document)
        if nodes:
            break
    else:
        return None
    are_elements = not any(isinstance(each, NameSelector) for each in segments[count].selectors)
    if are_elements and any(node is None or isinstance(node, list | dict) for node in nodes):
        return None
    return f"{reached} holds {described(nodes[0])}"


def described(value: Any) -> str:
    """What a value is, for people: an object by its keys, the others by their kind."""
    if isinstance(value, dict):
        names = ", ".join(str(name)[:50] for name in list(value)[:_NAMES_TOLD])
        return f"{names}{', ...' if len(value) > _NAMES_TOLD else ''}" if value else "an object without anything in it"
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    return {str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def find_one(path: str, document: Any) -> Any:
    """The first value at the path; None where there is none."""
    names = _names(path)
    if names is None:
        return next(iter(find_all(path, document)), None)
    # Most columns are plain names; walking them is twenty times as fast.
    for name in names:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _found(path: JSONPath, document: Any) -> list[Any]:
    if isinstance(document, str):  # the library would take it for JSON that is still to be read
        return [] if path.segments else [document]
    return path.findall(document)


@lru_cache(maxsize=1024)
def _compiled(path: str) -> JSONPath:
    found = _ENVIRONMENT.compile(path)
    assert isinstance(found, JSONPath)  # compounds are no part of RFC 9535
    return found


@lru_cache(maxsize=1024)
def _names(path: str) -> tuple[str, ...] | None:
    """The names of a path that holds nothing else, such as $.address.city."""
    names = []
    for segment in _compiled(path).segments:
        if not isinstance(segment, JSONPathChildSegment) or len(segment.selectors) != 1:
            return None
        (selector,) = segment.selectors
        if not isinstance(selector, NameSelector):
            return None
        names.append(selector.name)
    return tuple(names)
