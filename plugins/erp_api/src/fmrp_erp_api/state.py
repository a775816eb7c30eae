"""How far each stream was read."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError

from fmrp_erp_api.auth_config import Strict
from fmrp_sdk import FatalError

VERSION = 1
MAX_RECENT = 10_000
"""Rows of one stream remembered so that they are not given again."""
Fingerprint = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Unfinished(Strict):
    """A reading cut off: where its next page is, the highest cursor met so far, and when it began."""

    position: str
    highest: str | None = None
    began: AwareDatetime


class Snapshot(Strict):
    """What a list read whole was: a fingerprint of its content, and what the API gave to ask whether it changed.

    `request` is the fingerprint of what was asked, as the API's answer holds for that alone.
    """

    content: Fingerprint
    request: Fingerprint
    etag: str | None = None
    last_modified: str | None = None


class StreamState(Strict):
    """How far one stream was read.

    columns: met so far; cursor: as the source writes it; recent: fingerprint of a row's key to that of its content, for
    rows at or after the cursor less the overlap; request: fingerprint of what was asked for all this.
    """

    columns: tuple[str, ...] = ()
    cursor: str | None = None
    request: Fingerprint | None = None
    recent: dict[Fingerprint, Fingerprint] = Field(default_factory=dict)
    unfinished: Unfinished | None = None
    snapshot: Snapshot | None = None


class ApiState(Strict):
    """The whole state, never changed in place."""

    version: Literal[1] = 1
    streams: dict[str, StreamState] = Field(default_factory=dict)

    @classmethod
    def load(cls, state: Mapping[str, Any] | None, names: Iterable[str]) -> Self:
        """From what was stored, for the streams there still are. FatalError for a state this version cannot read."""
        if not state:
            return cls()
        if state.get("version") != VERSION:
            raise FatalError(
                f"the stored state has version {state.get('version')!r}, this connector reads version {VERSION}"
            )
        try:
            found = cls.model_validate(state)
        except ValidationError as error:
            place = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
            raise FatalError(
                f"the stored state is damaged at {place}; reset the source to read everything again"
            ) from None
        return cls(streams={name: found.streams[name] for name in names if name in found.streams})

    def of(self, name: str) -> StreamState:
        """How far this stream was read; nothing yet for one that is new."""
        return self.streams.get(name, StreamState())

    def with_stream(self, name: str, state: StreamState) -> Self:
        """This state, with another for one stream."""
        return self.model_copy(update={"streams": {**self.streams, name: state}})

    def dump(self) -> dict[str, Any]:
        """JSON-ready form."""
        return self.model_dump(mode="json", exclude_none=True)
