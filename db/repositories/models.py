"""The model registry: versions are registered as challengers; one of a name is promoted and retires the one before."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from db.models import ModelVersion


class NotPromotable(Exception):
    """The version is the champion already, or retired. `stage` says which."""

    def __init__(self, version: ModelVersion) -> None:
        super().__init__(f"{version.name} version {version.version} is {version.stage}: only a challenger is promoted")
        self.stage = version.stage


async def register(
    session: AsyncSession,
    name: str,
    kind: str,
    *,
    artefact_uri: str | None = None,
    sha256: str | None = None,
    quantiles: Sequence[float] = (),
    data_from: date | None = None,
    data_to: date | None = None,
    metrics: Mapping[str, Any] | None = None,
    git_revision: str | None = None,
    job_id: uuid.UUID | None = None,
) -> ModelVersion:
    """Add the next version of that name as a challenger."""
    await _lock_name(session, name)
    newest = select(func.coalesce(func.max(ModelVersion.version), 0)).where(ModelVersion.name == name)
    version = ModelVersion(
        id=uuid7(),
        name=name,
        version=(await session.execute(newest)).scalar_one() + 1,
        kind=kind,
        artefact_uri=artefact_uri,
        sha256=sha256,
        quantiles=list(quantiles),
        data_from=data_from,
        data_to=data_to,
        metrics=dict(metrics or {}),
        git_revision=git_revision,
        job_id=job_id,
    )
    session.add(version)
    await session.flush()
    return version


async def find(session: AsyncSession, version_id: uuid.UUID) -> ModelVersion | None:
    """The version with that id."""
    return await session.get(ModelVersion, version_id)


async def champion(session: AsyncSession, name: str) -> ModelVersion | None:
    """The version of that name in use; None before the first promotion."""
    query = select(ModelVersion).where(ModelVersion.name == name, ModelVersion.stage == "champion")
    return (await session.execute(query)).scalar_one_or_none()


async def promote(session: AsyncSession, version: ModelVersion, verdict: str, who: str) -> None:
    """Make a challenger the champion of its name and retire the champion before it.

    Raises:
        NotPromotable: it is no challenger.
    """
    await _lock_name(session, version.name)
    await session.refresh(version)
    if version.stage != "challenger":
        raise NotPromotable(version)
    before = await champion(session, version.name)
    if before is not None:
        before.stage = "retired"
        await session.flush()
    version.stage, version.verdict, version.promoted_by = "champion", verdict, who
    version.promoted_at = (await session.execute(select(func.now()))).scalar_one()
    await session.flush()


async def keep_as_challenger(session: AsyncSession, version: ModelVersion, verdict: str) -> None:
    """Write down why a version was not promoted."""
    version.verdict = verdict
    await session.flush()


async def _lock_name(session: AsyncSession, name: str) -> None:
    """Let nobody else change versions of this name until this transaction ends."""
    key = {"key": f"fmrp-model-{name}"}
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), key)
