"""The kinds of job: which actor owns each, and what may wait or run at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    `owner` is the name of the actor that runs it; None for a parent, which only chains its `steps` (kind, parameters).
    With `coalesce`, a request made while an equal one still waits joins that one.
    """

    name: str
    owner: str | None
    steps: tuple[tuple[str, dict[str, Any]], ...] = ()
    coalesce: bool = True

    def key(self, parameters: dict[str, Any]) -> str:
        """What must not run twice at once: the kind, and for an ingestion its source."""
        if self.name == "ingest" and "source" in parameters:
            return f"ingest:{parameters['source']}"
        return self.name


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("ingest", owner="ingestion", coalesce=False),
        Kind("forecast", owner="forecasting"),
        Kind("plan", owner="planning"),
        Kind("day", owner=None, steps=(("ingest", {"source": "inbox"}), ("forecast", {}), ("plan", {}))),
    )
}
