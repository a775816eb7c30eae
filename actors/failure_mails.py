"""What administrators are written when work has failed for good, and when it goes well again. Pure: facts in, text out.

One mail when nothing more is tried, one when it works again, none in between. The mail says which source, what
happened, what to do and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from actors.redact import REDACTED, redact, redact_text

LONGEST_ERROR = 2000
# Of a source's secrets. Shorter values would also be found in harmless words.
SHORTEST_SECRET = 4

_WORK = {"ingest": "reading", "forecast": "The forecast", "plan": "The plan", "tidy": "Tidying up"}


@dataclass(frozen=True)
class Mail:
    """A mail's subject, one line, and its text."""

    subject: str
    body: str


@dataclass(frozen=True)
class SourceFacts:
    """The source that was read. `config` tells its secrets, which no mail holds."""

    code: str
    name: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """A job that nothing more is tried for. `attempts` counts those that failed or were lost.

    `next_run_at`: when its schedule starts the next one, if there is any.
    """

    job_id: str
    kind: str
    error: str
    attempts: int
    at: datetime
    requested_by: str
    is_held: bool = False
    source: SourceFacts | None = None
    next_run_at: datetime | None = None
    time_zone: str = "UTC"


def wrong(failure: Failure, url: str) -> Mail:
    """Nothing more is tried. `url` is the dashboard's address."""
    what, source = _what(failure.kind, failure.source), failure.source
    tried = "once" if failure.attempts == 1 else f"{failure.attempts} times"
    following = (
        f"The schedule starts it anew on {_when(failure.next_run_at, failure.time_zone)}."
        if failure.next_run_at is not None
        else "Nothing starts it again by itself."
    )
    body = [
        f"{what} has failed, and no further attempt of this job follows.",
        *((f"Source: {_line(source.name)} (code {source.code})",) if source else ()),
        "",
        "What happened",
        *(f"  {line}" for line in _error_lines(failure)),
        "",
        f"Tried {tried}; the last attempt ended on {_when(failure.at, failure.time_zone)}.",
        f"Asked for by {_line(failure.requested_by)}; job {failure.job_id}.",
        following,
        "",
        "What to do",
        *(f"  {number}. {step}" for number, step in enumerate(_steps(failure, url), start=1)),
        "",
        "The job is kept as a dead letter until it is run again. However often this fails from now on, no further mail"
        " comes about it; one comes when it works again.",
    ]
    return Mail(f"{what} has failed", "\n".join(body) + "\n")


def well(kind: str, source: SourceFacts | None, at: datetime, time_zone: str, url: str) -> Mail:
    """What an earlier mail told of is over."""
    what = _what(kind, source)
    body = f"{what} works again since {_when(at, time_zone)}. There is nothing to do.\n\nJobs: {url}/jobs\n"
    return Mail(f"{what} works again", body)


def _what(kind: str, source: SourceFacts | None) -> str:
    work = _WORK.get(kind, f"A job of kind {kind}")
    if source is None:
        return work if kind != "ingest" else "Reading a source"
    return f"Reading {_line(source.name)}" if kind == "ingest" else f"{work} of {_line(source.name)}"


def _steps(failure: Failure, url: str) -> list[str]:
    again = f"Let it run again: Retry on {url}/jobs, or POST /api/v1/jobs/{failure.job_id}/retry."
    if failure.is_held:
        return ["Look into the log of the process that it took down, and mend the cause.", again]
    if failure.source is None:
        return ["Mend what the message names.", again]
    check = f"POST /api/v1/sources/{failure.source.code}/check says whether it can be reached and logged in to."
    return [
        f"See whether the source is up, and mend what the message names. {check}",
        f"{again} It goes on where it was: nothing is lost or taken twice.",
    ]


def _error_lines(failure: Failure) -> list[str]:
    error = redact_text(failure.error)
    for secret in _secrets(failure.source.config if failure.source else {}):
        error = error.replace(secret, REDACTED)
    if len(error) > LONGEST_ERROR:
        error = f"{error[:LONGEST_ERROR]} ... (the whole of it: GET /api/v1/jobs/{failure.job_id})"
    return [_line(line) for line in error.splitlines() if line.strip()] or ["no reason given"]


def _secrets(config: Mapping[str, Any]) -> list[str]:
    """Values of a source's config that its fields' names call secret, the longest first."""
    found: list[str] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            found += _secrets(value)
        elif isinstance(value, str) and len(value) >= SHORTEST_SECRET and redact(name, value) == REDACTED:
            found.append(value)
    return sorted(found, key=len, reverse=True)


def _when(moment: datetime, time_zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(time_zone)):%Y-%m-%d %H:%M} ({time_zone})"


def _line(text: str) -> str:
    """On one line, without what a terminal or a mail's header takes for more than text."""
    return "".join(each if each.isprintable() else " " for each in text).strip()
