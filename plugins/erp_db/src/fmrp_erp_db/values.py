"""Cursor and key values: kept as text, exactly; compared, and moved back by the lag."""

import math
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from fmrp_sdk import FatalError

Scalar = int | Decimal | str | bytes | datetime | date | uuid.UUID
_DAY_S = 86_400
# Text that sorts as the time it tells: what SQLite, and many an ERP in CHAR columns, keep.
_TIME_TEXTS = (
    (re.compile(r"\d{8}"), "%Y%m%d"),
    (re.compile(r"\d{14}"), "%Y%m%d%H%M%S"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "%Y-%m-%d"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "%Y-%m-%d %H:%M"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "%Y-%m-%d %H:%M:%S"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3,6}"), "%Y-%m-%d %H:%M:%S.%f"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"), "%Y-%m-%dT%H:%M:%S"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "%Y-%m-%dT%H:%M:%SZ"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}"), "%Y-%m-%dT%H:%M:%S.%f"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z"), "%Y-%m-%dT%H:%M:%S.%fZ"),
)
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (int, "int"),
    (Decimal, "decimal"),
    (str, "text"),
    ((bytes, bytearray, memoryview), "bytes"),
    (datetime, "datetime"),  # before date, which it is too
    (date, "date"),
    (uuid.UUID, "uuid"),
)
_READERS: dict[str, Any] = {
    "int": int,
    "decimal": Decimal,
    "text": str,
    "bytes": bytes.fromhex,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": uuid.UUID,
}


def kind_of(value: object, column: str) -> str:
    """The kind of a cursor or key value. FatalError for one by which rows cannot be put in a lasting order."""
    if value is None:
        raise FatalError(f"column {column!r} is empty in a row; the key and the cursor need a value in every row")
    for types, kind in _KINDS:
        if isinstance(value, types) and not (isinstance(value, Decimal) and not value.is_finite()):
            return kind
    if isinstance(value, (float, Decimal)):
        raise FatalError(
            f"column {column!r} holds floating-point numbers, or NaN, which cannot be compared exactly; in a query, "
            "CAST it to a decimal, or choose another key or cursor"
        )
    raise FatalError(
        f"column {column!r} holds values of type {type(value).__name__}, which cannot be a key or cursor; choose "
        "another, or CAST it to text in a query"
    )


def to_json(value: object, column: str) -> dict[str, str]:
    """A value as {kind: text}, losing nothing."""
    kind = kind_of(value, column)
    match value:
        case bool():
            text = str(int(value))
        case datetime() | date():
            text = value.isoformat()
        case bytes() | bytearray() | memoryview():
            text = bytes(value).hex()
        case _:
            text = str(value)
    return {kind: text}


def from_json(stored: object) -> Scalar:
    """What `to_json` gave. FatalError for anything else."""
    if isinstance(stored, Mapping) and len(stored) == 1:
        ((kind, text),) = stored.items()
        if kind in _READERS and isinstance(text, str):
            try:
                return _READERS[kind](text)  # type: ignore[no-any-return]
            except (ValueError, ArithmeticError):
                pass
    raise FatalError(f"the stored state is damaged at the value {stored!r}; reset the source to read all again")


def parse_start(text: str, like: object, column: str) -> Scalar:
    """The configured start as a value of the cursor's kind. FatalError: it is none."""
    kind = kind_of(like, column)
    try:
        start: Scalar = _READERS[kind](text)
    except (ValueError, ArithmeticError):
        raise FatalError(f"start: {text!r} is no value of column {column!r}, whose last one is {like!s}") from None
    if isinstance(like, datetime) and isinstance(start, datetime):
        zone = UTC if like.tzinfo else None
        start = start.replace(tzinfo=zone) if (start.tzinfo is None) != (like.tzinfo is None) else start
    return start


def moved_back(value: Scalar, lag: float, column: str) -> Scalar:
    """`value` less the lag; never below the smallest there is. FatalError: the kind knows no distance."""
    moved: Scalar = value
    if isinstance(value, datetime):
        moved = value - min(timedelta(seconds=lag), value - datetime.min.replace(tzinfo=value.tzinfo))
    elif isinstance(value, date):
        moved = value - min(timedelta(days=_whole_days(lag)), value - date.min)
    elif isinstance(value, int):
        moved = value - math.ceil(lag)
    elif isinstance(value, Decimal):
        moved = value - Decimal(str(lag))
    elif isinstance(value, str):
        moved = _text_moved_back(value, lag, column)
    elif lag:
        raise FatalError(f"lag: column {column!r} of {type(value).__name__} knows no distance; set lag to 0")
    return moved


def _whole_days(lag_s: float) -> int:
    """A day's rows come until its end, so that at least the last day is read again."""
    return max(1, math.ceil(lag_s / _DAY_S))


def _text_moved_back(value: str, lag: float, column: str) -> str:
    for shape, layout in _TIME_TEXTS:
        if shape.fullmatch(value):
            try:
                at = datetime.strptime(value, layout)  # noqa: DTZ007 - text in, text of the same zone out
            except ValueError:
                break
            days = layout in ("%Y%m%d", "%Y-%m-%d")
            back = timedelta(days=_whole_days(lag)) if days else timedelta(seconds=lag)
            moved = (at - min(back, at - datetime(1000, 1, 1))).strftime(layout)  # noqa: DTZ001 - as above
            if (dot := value.rfind(".")) >= 0:  # as many digits as there were: text is compared as text
                digits = len(value.rstrip("Z")) - dot - 1
                moved = moved[: dot + 1 + digits] + ("Z" if value.endswith("Z") else "")
            return moved
    if lag:
        raise FatalError(
            f"lag: column {column!r} holds the text {value[:40]!r}, which is no time in a form that sorts, such as "
            "2024-01-31 08:00:00 or 20240131; set lag to 0, or choose another cursor"
        )
    return value


def lies_before(value: Scalar, bound: Scalar) -> bool:
    """Whether `value` is less than `bound`; False for kinds that do not compare (then more is read again, not less)."""
    try:
        return bool(value < bound)  # type: ignore[operator]
    except TypeError:
        return False
