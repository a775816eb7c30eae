"""JSONPath (RFC 9535)."""

from functools import lru_cache
from typing import Any

from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError
from jsonpath.segments import JSONPathChildSegment
from jsonpath.selectors import Filter, NameSelector

from fmrp_sdk import FatalError

_ENVIRONMENT = JSONPathEnvironment(strict=True)


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
        return _compiled(path).findall(document)
    except JSONPathError as error:
        raise FatalError(f"JSONPath {path!r} cannot be followed in the answer: {error.args[0]}") from None


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
