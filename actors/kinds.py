"""The kinds of job: which actor owns each, and what may wait or run at the same time, and for how long."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from db.repositories.sources import UPLOAD

if TYPE_CHECKING:
    from actors.owner import Connections, Work

MAINTENANCE = "maintenance"
SOURCE = "source"
# What else somebody writes for a source's code names no actor.
_CODE = re.compile(r"[\w-]{1,60}")


@dataclass(frozen=True)
class Stage:
    """Jobs of a parent that run side by side; the next stage begins when all of them have ended.

    A `tolerant` stage is passed when at least one of its jobs is done. With `each_source`, one job is made for every
    source that a connector reads, its code as the parameter `source`.
    """

    kind: str
    tolerant: bool = False
    each_source: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    `owner` is the name of the actor that runs it; None for a parent, which only leads through its `stages`.
    With `by_source` each source has an actor of its own (see `owner_of`), and no kind of another owner goes there.
    With `coalesce`, a request made while an equal one still waits joins that one (see `joins`). `keyed` kinds run one
    at a time (see `key`). At most `concurrency` jobs of the kind run at once in the whole system (0: any number). An
    attempt that takes longer than `timeout_s` is ended; one that does not stop within `cancel_grace_s` of being asked
    loses its process.
    """

    name: str
    owner: str | None
    stages: tuple[Stage, ...] = ()
    coalesce: bool = True
    keyed: bool = True
    concurrency: int = 0
    timeout_s: float = 3600.0
    cancel_grace_s: float = 10.0
    by_source: bool = False

    def key(self, parameters: dict[str, Any]) -> str | None:
        """What must not run twice at once: the kind, and for an ingestion its source. None: nothing."""
        if not self.keyed:
            return None
        if self.by_source and "source" in parameters:
            return f"{self.name}:{parameters['source']}"
        return self.name

    def joins(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a request joins an equal one that waits. An upload never does: each brings a file of its own."""
        return self.coalesce and (not self.by_source or "source" in parameters)

    def owner_of(self, parameters: Mapping[str, Any]) -> str | None:
        """Name of the actor for a job: `owner`, or one for each source (`source:inbox`); uploads share one."""
        if not self.by_source:
            return self.owner
        code = parameters.get("source")
        is_code = isinstance(code, str) and _CODE.fullmatch(code) is not None
        return f"{self.owner}:{code if is_code else UPLOAD}"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("ingest", owner=SOURCE, by_source=True, concurrency=4, timeout_s=1800.0),
        Kind("forecast", owner="forecasting"),
        Kind("plan", owner="planning", timeout_s=1800.0),
        Kind("tidy", owner=MAINTENANCE, timeout_s=900.0),
        Kind(
            "day",
            owner=None,
            stages=(Stage("ingest", tolerant=True, each_source=True), Stage("forecast"), Stage("plan")),
        ),
    )
}
"""All kinds this process knows; work modules add theirs."""

WORKS: dict[str, Callable[[Connections], Work]] = {}
"""Work that work modules bring, by owner."""


def owner_families() -> set[str]:
    """Owners of which there is one for each source."""
    return {kind.owner for kind in KINDS.values() if kind.by_source and kind.owner is not None}


def load_work_modules(names: Sequence[str]) -> None:
    """Add the kinds and works of these modules (`KINDS`: Kinds, `WORKS`: owner to factory). Loading twice is harmless.

    Raises:
        ValueError: a module has neither, or one of its kinds or owners is there already with another meaning.
    """
    for name in names:
        module = importlib.import_module(name)
        for kind in _declared(module, "KINDS", ()):
            if KINDS.setdefault(kind.name, kind) != kind:
                raise ValueError(f"{name}: there is another kind {kind.name!r} already")
        for owner, factory in dict(_declared(module, "WORKS", {})).items():
            if WORKS.setdefault(owner, factory) is not factory:
                raise ValueError(f"{name}: there is another owner {owner!r} already")


def _declared(module: ModuleType, name: str, default: Any) -> Any:
    if not hasattr(module, "KINDS") and not hasattr(module, "WORKS"):
        raise ValueError(f"{module.__name__}: expected KINDS or WORKS in a work module")
    return getattr(module, name, default)
