"""How long an API asks to be left alone: Retry-After, and the headers that tell how many requests are left."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

_DAY_S = 86_400.0
_PREFIXES = ("ratelimit-", "x-ratelimit-", "x-rate-limit-")
_NUMBER = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(?:[;,].*)?")
_LEFT = re.compile(r"(?:^|[;,\s])(?:r|remaining)=(\d{1,15})(?![\d.])")
_UNTIL = re.compile(r"(?:^|[;,\s])(?:t|reset)=(\d{1,15})(?![\d.])")


def http_date(text: str | None) -> datetime | None:
    """A time as HTTP writes it; None where it is none."""
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def asked_wait_s(status: int, headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds that a refusal asks to wait, a day at most; None: it asks for none. `now` is by the source's clock."""
    asked = headers.get("retry-after")
    wait_s = None if asked is None else _seconds(asked, now)
    if wait_s is None and status in (403, 429):
        wait_s = rest_s(headers, now)
    if wait_s is None and status == 429:
        # It is a limit that refuses, whether or not the answer says what is left.
        wait_s = max(_resets(headers, now), default=None)
    return wait_s


def rest_s(headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds until requests are taken again, a day at most, where the answer says that none is left; else None."""
    waits = []
    for prefix in _PREFIXES:
        left = _NUMBER.fullmatch(headers.get(f"{prefix}remaining", ""))
        if left is not None and float(left.group(1)) == 0:
            waits.append(_seconds(headers.get(f"{prefix}reset", ""), now))
    for limit in _limits(headers):
        left, until = _LEFT.search(limit), _UNTIL.search(limit)
        if left is not None and until is not None and int(left.group(1)) == 0:
            waits.append(_seconds(until.group(1), now))
    return max((each for each in waits if each is not None), default=None)


def _limits(headers: httpx.Headers) -> Iterator[str]:
    """The limits of a RateLimit header: several, each with r and t, or one whose parts are set apart by commas."""
    told = headers.get("ratelimit", "")[:2000]
    if "remaining=" in told:
        yield told
    else:
        yield from told.split(",")


def _resets(headers: httpx.Headers, now: datetime) -> Iterator[float]:
    for prefix in _PREFIXES:
        wait_s = _seconds(headers.get(f"{prefix}reset", ""), now)
        if wait_s is not None:
            yield wait_s


def _seconds(text: str, now: datetime) -> float | None:
    """A wait told as seconds, as a time in seconds or milliseconds since 1970, or as a date."""
    number = _NUMBER.fullmatch(text)
    if number is not None:
        wait_s = float(number.group(1))
        if wait_s > 1e11:
            wait_s /= 1000
        if wait_s > 1e9:
            wait_s -= now.timestamp()
    elif (until := http_date(text)) is not None:
        wait_s = (until - now).total_seconds()
    else:
        return None
    return min(max(wait_s, 0.0), _DAY_S)
