"""How far each stream was read, and which rows of its lag window were given."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from fmrp_erp_db.values import Scalar, from_json, to_json
from fmrp_sdk import FatalError

VERSION = 1
_DIGEST_BYTES = 12
MAX_KNOWN = 10_000
"""Rows of a lag window that are remembered per stream (160 kB of state). Older ones beyond it are given again."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """`upper`: newest cursor of the last reading. `after`: cursor and key of the last row, while that reading goes on.

    `tail`: digests of the last rows before `after`, which a reading from there meets again where they tie with it.
    `known`: digests of rows given that lie in the lag window. `identity` tells whether all this is about the same
    table, cursor and key as the configuration.
    """

    identity: str = ""
    upper: Scalar | None = None
    after: tuple[Scalar, ...] | None = None
    tail: tuple[bytes, ...] = ()
    known: tuple[bytes, ...] = ()

    def dump(self) -> dict[str, Any]:
        """JSON-ready form."""
        stored: dict[str, Any] = {"identity": self.identity}
        if self.upper is not None:
            stored["upper"] = to_json(self.upper, "cursor")
        if self.after is not None:
            stored["after"] = [to_json(value, "key") for value in self.after]
        return stored | {"tail": _packed(self.tail), "known": _packed(self.known[-MAX_KNOWN:])}

    @classmethod
    def load(cls, name: str, stored: object) -> Self:
        """From what was stored. FatalError: it is damaged."""
        if not isinstance(stored, Mapping) or not isinstance(stored.get("identity"), str):
            raise FatalError(f"the stored state is damaged at stream {name!r}; reset the source to read all again")
        after = stored.get("after")
        return cls(
            stored["identity"],
            from_json(stored["upper"]) if "upper" in stored else None,
            tuple(from_json(value) for value in after) if isinstance(after, list) else None,
            _unpacked(name, stored.get("tail", "")),
            _unpacked(name, stored.get("known", "")),
        )


@dataclass(frozen=True, slots=True)
class DbState:
    """All streams by name."""

    streams: Mapping[str, StreamState] = field(default_factory=dict)

    @classmethod
    def load(cls, state: Mapping[str, Any] | None) -> Self:
        """From what was stored; None and {} are the beginning. FatalError for a state this version cannot read."""
        if not state:
            return cls()
        version, streams = state.get("version"), state.get("streams")
        if version != VERSION:
            raise FatalError(f"the stored state has version {version!r}, this database connector reads {VERSION}")
        if not isinstance(streams, Mapping):
            raise FatalError("the stored state is damaged: 'streams' is missing; reset the source to read all again")
        return cls({str(name): StreamState.load(name, each) for name, each in streams.items()})

    def with_stream(self, name: str, stream: StreamState) -> "DbState":
        """This state, further on in one stream."""
        return DbState({**self.streams, name: stream})

    def only(self, names: Iterable[str]) -> "DbState":
        """This state without streams that are no longer configured."""
        kept = set(names)
        return DbState({name: each for name, each in self.streams.items() if name in kept})

    def dump(self) -> dict[str, Any]:
        """JSON-ready form."""
        stored = {name: each.dump() for name, each in sorted(self.streams.items())}
        return {"version": VERSION, "streams": stored}


def digest_of(row: Sequence[Any]) -> bytes:
    """Twelve bytes that tell rows apart, the same in every process: of 10,000 rows two are alike once in 10^21."""
    return hashlib.blake2b(repr(tuple(row)).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def _packed(digests: Iterable[bytes]) -> str:
    return base64.b64encode(b"".join(digests)).decode()


def _unpacked(name: str, text: object) -> tuple[bytes, ...]:
    try:
        packed = base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        packed = b"\0"
    if len(packed) % _DIGEST_BYTES:
        raise FatalError(f"the stored state is damaged at stream {name!r}; reset the source to read all again")
    return tuple(packed[at : at + _DIGEST_BYTES] for at in range(0, len(packed), _DIGEST_BYTES))
