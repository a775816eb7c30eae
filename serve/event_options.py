"""What a client of the events may ask for, in the query of its handshake or request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from actors.events import id_key
from serve.event_topics import EVERYTHING, Topics, WrongTopic

Frames = Literal["single", "batch", "sse"]
PACE_MS = (20, 2000)
DEFAULT_PACE_MS = 200
_SOCKET_FRAMES = get_args(Frames)[:2]
_SNAPSHOT = {"true": True, "false": False}


class WrongOption(ValueError):
    """A query parameter says nothing we know; the message names it."""


@dataclass(frozen=True)
class Options:
    """What a client asks for. `after`: the last id it has; without one it begins with a snapshot, unless it wants none.

    `is_elastic`: it named no pace, so it waits only while others keep the proxy busy.
    """

    topics: Topics = EVERYTHING
    after: str | None = None
    is_snapshot: bool = True
    pace_s: float = DEFAULT_PACE_MS / 1000
    is_elastic: bool = True
    frames: Frames = "single"

    @classmethod
    def parse(cls, query: Mapping[str, str], topics: Sequence[str]) -> Options:
        """Read a socket's query; `topics`: every value of `topic`, which may be there several times.

        Raises:
            WrongOption: a value is none of those allowed.
        """
        frames = query.get("frames", "single")
        if frames not in _SOCKET_FRAMES:
            raise WrongOption("frames: expected single or batch")
        options = cls(frames="batch" if frames == "batch" else "single")
        return options.asked(query.get("after"), query.get("snapshot"), query.get("pace_ms"), topics)

    def asked(self, after: str | None, snapshot: str | None, pace_ms: str | None, topics: Sequence[str]) -> Options:
        """These, with what a client named.

        Raises:
            WrongOption: a value is none of those allowed.
        """
        try:
            known = Topics.parse(topics)
            if after is not None:
                id_key(after)
        except WrongTopic as error:
            raise WrongOption(str(error)) from error
        except ValueError as error:
            raise WrongOption("after: not an event id") from error
        if snapshot is not None and snapshot not in _SNAPSHOT:
            raise WrongOption("snapshot: expected true or false")
        options = replace(self, topics=known, after=after, is_snapshot=_SNAPSHOT[snapshot or "true"])
        if pace_ms is None:
            return options
        if not (pace_ms.isascii() and pace_ms.isdigit() and PACE_MS[0] <= int(pace_ms[:5]) <= PACE_MS[1]):
            raise WrongOption(f"pace_ms: expected {PACE_MS[0]} to {PACE_MS[1]}")
        return replace(options, pace_s=int(pace_ms) / 1000, is_elastic=False)
