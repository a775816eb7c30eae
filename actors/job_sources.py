"""The source a job names: it must be there and switched on, and goes by its code from then on."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from actors.kinds import KINDS, Kind
from db.repositories import sources


class UnknownSource(ValueError):
    """No such source or file, or none that a connector here reads."""


class SourceOff(ValueError):
    """The source is switched off for now."""


async def named_source(session: AsyncSession, kind: Kind, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters as a job of that kind keeps them: a source given by its id becomes its code.

    So equal jobs are told to be equal, and no process is made for a source that is not there.

    Raises:
        UnknownSource: there is none of that code or id, or it takes uploads only.
        SourceOff: nobody wants it read.
    """
    if not kind.by_source or "source" not in parameters:
        return parameters
    asked = parameters["source"]
    source = await sources.find(session, asked) if isinstance(asked, str) else None
    if source is None or source.code == sources.UPLOAD:
        known = ", ".join(await sources.readable_codes(session)) or "none"
        raise UnknownSource(f"parameters.source: there is no source {asked!r} to read; there are: {known}")
    if not source.active:
        raise SourceOff(f"parameters.source: the source {source.code} is switched off; switch it on first")
    return {**parameters, "source": source.code}


async def schedulable(session: AsyncSession, kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The same for what is to be started later, a parent's steps included: a source may be switched on by then.

    Raises:
        UnknownSource: as above.
    """
    with suppress(SourceOff):
        parameters = await named_source(session, KINDS[kind], parameters)
    steps = {stage.kind for stage in KINDS[kind].stages}
    of_steps = {name: await schedulable(session, name, each) for name, each in parameters.items() if name in steps}
    return {**parameters, **of_steps}
