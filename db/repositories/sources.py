"""Sources, the files they delivered, and the runs that read those files."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, delete, or_, select, text, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer
from uuid_utils.compat import uuid7

from db.models import IngestRun, Source, SourceFile
from db.paging import Order, Rows

RUNS_ORDER = Order({"finished_at": IngestRun.finished_at, "file": IngestRun.file}, "-finished_at", IngestRun.id)
# Uploads by hand belong to this source; no connector of that name exists, so nothing is fetched for it.
UPLOAD = "upload"


class Moved(ConnectionError):
    """A source's state is not what the reading began with: another attempt may go on from what it is now."""


async def find(session: AsyncSession, key: str, *, lock: bool = False, deleted: bool | None = False) -> Source | None:
    """The source with that code, or else id: one that is there, a deleted one, or either (None)."""
    by_code = Source.code == key
    query = select(Source).where(or_(by_code, cast(Source.id, Text) == key.lower())).order_by(by_code.desc()).limit(1)
    if deleted is not None:
        query = query.where(Source.deleted_at.is_not(None) if deleted else Source.deleted_at.is_(None))
    return (await session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()


def statement(*, connectors: Sequence[str] = (), active: bool | None = None, search: str | None = None) -> Rows:
    """Sources that are not deleted, by connector and whether they are read; `search` looks into code and name."""
    query = select(Source).where(Source.deleted_at.is_(None))
    if connectors:
        query = query.where(Source.connector.in_(connectors))
    if active is not None:
        query = query.where(Source.active == active)
    if search:
        query = query.where(
            or_(Source.code.icontains(search, autoescape=True), Source.name.icontains(search, autoescape=True))
        )
    return query


async def with_deleted(session: AsyncSession) -> Sequence[str]:
    """Codes of all sources, the deleted ones among them."""
    return (await session.execute(select(Source.code).order_by(Source.code))).scalars().all()


async def using(session: AsyncSession, mapping: str) -> Sequence[str]:
    """Codes of the sources whose rules name that mapping."""
    query = select(Source.code).where(Source.rules.contains([{"mapping": mapping}]), Source.deleted_at.is_(None))
    return (await session.execute(query.order_by(Source.code))).scalars().all()


async def readable_codes(session: AsyncSession) -> Sequence[str]:
    """Codes of the active sources that a connector reads."""
    query = select(Source.code).where(Source.active, Source.connector != UPLOAD, Source.deleted_at.is_(None))
    query = query.order_by(Source.code)
    return (await session.execute(query)).scalars().all()


async def is_read(session: AsyncSession, code: str) -> bool:
    """Whether jobs of that source have something to do: it is active and not deleted, or takes the uploads."""
    query = select(Source.id).where(Source.code == code, Source.active, Source.deleted_at.is_(None))
    return code == UPLOAD or (await session.execute(query)).first() is not None


async def put(session: AsyncSession, source: Source) -> None:
    """Create the source, or bring its connector, config and rules up to date; its resume state is kept.

    What people have changed or deleted since is theirs: it stays as it is.
    """
    existing = await find(session, source.code, lock=True, deleted=None)
    if existing is None:
        session.add(source)
        return
    if existing.revision > 1:
        return
    for name in ("name", "connector", "config", "rules"):
        # A source made without one of these leaves it None until it is flushed: it says nothing about what is stored.
        if (value := getattr(source, name)) is not None:
            setattr(existing, name, value)


async def put_file(
    session: AsyncSession,
    *,
    source: str,
    name: str,
    sha256: str,
    content: bytes,
    mapping: str | None = None,
    state: str = "received",
    origin: Mapping[str, str] | None = None,
) -> uuid.UUID:
    """Keep a file's bytes; the same file delivered again by the same source is the same row, in a new state."""
    values = {"mapping": mapping, "state": state, "origin": dict(origin or {})}
    query = (
        insert(SourceFile)
        .values(id=uuid7(), source=source, name=name, sha256=sha256, size=len(content), content=content, **values)
        .on_conflict_do_update(index_elements=["source", "name", "sha256"], set_=values)
        .returning(SourceFile.id)
    )
    return (await session.execute(query)).scalar_one()


async def read_file(session: AsyncSession, file_id: uuid.UUID) -> SourceFile | None:
    """A file with its content."""
    query = select(SourceFile).where(SourceFile.id == file_id).options(undefer(SourceFile.content))
    return (await session.execute(query)).scalar_one_or_none()


async def settle_file(session: AsyncSession, file_id: uuid.UUID, state: str) -> None:
    """Mark a file ingested or failed."""
    await session.execute(update(SourceFile).where(SourceFile.id == file_id).values(state=state))


async def add_run(session: AsyncSession, run: IngestRun) -> None:
    """Keep the record of a run; it takes the place of a failed one of the same job, file and mapping."""
    await session.execute(
        delete(IngestRun).where(
            IngestRun.job_id == run.job_id,
            IngestRun.source_file_id == run.source_file_id,
            IngestRun.mapping == run.mapping,
            IngestRun.state == "failed",
        )
    )
    session.add(run)
    await session.flush()


async def has_settled(session: AsyncSession, job_id: uuid.UUID) -> bool:
    """Whether an earlier attempt of this job has stored what it was to take."""
    query = select(IngestRun.id).where(IngestRun.job_id == job_id, IngestRun.state != "failed").limit(1)
    return (await session.execute(query)).scalar_one_or_none() is not None


async def move_state(session: AsyncSession, code: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Move a source's resume state on.

    Raises:
        Moved: it is no longer what it was before, or the source is gone.
    """
    query = (
        update(Source)
        .where(Source.code == code, Source.state == before, Source.deleted_at.is_(None))
        .values(state=after)
        .returning(Source.id)
    )
    if (await session.execute(query)).scalar_one_or_none() is None:
        raise Moved(f"source {code}: it was reset or changed while it was read; reading begins anew")


async def earlier_run(
    session: AsyncSession, sha256: str, mapping: str, *, since: datetime | None = None
) -> IngestRun | None:
    """The newest run, begun after `since`, that took this very content through that mapping with nothing left to
    correct."""
    query = (
        select(IngestRun)
        .join(SourceFile, SourceFile.id == IngestRun.source_file_id)
        .where(
            SourceFile.sha256 == sha256,
            IngestRun.mapping == mapping,
            IngestRun.state == "done",
            IngestRun.rejected == 0,
            true() if since is None else IngestRun.started_at > since,
        )
        .order_by(IngestRun.finished_at.desc())
        .limit(1)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def later_run_exists(session: AsyncSession, run: IngestRun) -> bool:
    """Whether the same mapping has taken another file since, so that the old content is news again."""
    query = select(IngestRun.id).where(
        IngestRun.mapping == run.mapping, IngestRun.state == "done", IngestRun.finished_at > run.finished_at
    )
    return (await session.execute(query.limit(1))).scalar_one_or_none() is not None


def runs_statement(source: str | None = None) -> Rows:
    """Runs, of one source or of all."""
    return select(IngestRun).where(IngestRun.source == source) if source else select(IngestRun)


async def find_run(session: AsyncSession, run_id: uuid.UUID) -> IngestRun | None:
    """The run with that id."""
    return await session.get(IngestRun, run_id)


async def totals(session: AsyncSession, job_id: uuid.UUID) -> dict[str, int]:
    """Rows read, taken, merged and rejected by all runs of a job, and how many files failed."""
    row = (
        await session.execute(
            text(
                "SELECT count(*) AS files, count(*) FILTER (WHERE state = 'failed') AS failed_files,"
                " coalesce(sum(read), 0) AS read, coalesce(sum(taken), 0) AS taken,"
                " coalesce(sum(merged), 0) AS merged, coalesce(sum(rejected), 0) AS rejected"
                " FROM ingest_run WHERE job_id = :job_id"
            ),
            {"job_id": job_id},
        )
    ).one()
    return {name: int(value) for name, value in row._mapping.items()}
