"""Rejected rows: kept with the run that judged them, read again as they stood or as somebody has corrected them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from db.copy import driver_of, stage
from db.models import IngestRun, RejectedRow
from db.paging import Order, Rows

IN_RUN = Order({"line": RejectedRow.line}, "line", RejectedRow.id)
# Ids count on in time, and within a run in the order of its file.
IN_ALL = Order({"id": RejectedRow.id}, "-id", RejectedRow.id)
# So many are read again at once; what is left over waits for the next time.
MOST_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class RowsOf:
    """Rows that are read again together: of one source and mapping, and of one way to write numbers."""

    source: str
    mapping: str
    numbers_are_plain: bool


async def store(session: AsyncSession, run_id: uuid.UUID, rejected: pl.DataFrame) -> None:
    """Keep rejected rows (line, field, reason, raw, parked), one a line, by COPY."""
    driver = await driver_of(session)
    columns = ["line", "field", "reason", "raw", "parked"]
    rows = rejected.unique("line", keep="first", maintain_order=True)
    records = [(run_id, uuid7(), *row) for row in rows.select(columns).iter_rows()]
    await driver.copy_records_to_table("rejected_row", records=records, columns=["run_id", "id", *columns])


def of_run(run_id: uuid.UUID) -> Rows:
    """Rejected rows that came from a run, or that it was the last to look at."""
    return select(RejectedRow).where(_of_run(run_id))


def _of_run(run_id: uuid.UUID) -> ColumnElement[bool]:
    return or_(RejectedRow.run_id == run_id, RejectedRow.judged_by == run_id)


def of_all(
    *,
    source: str | None = None,
    mapping: str | None = None,
    run_id: uuid.UUID | None = None,
    state: str | None = None,
    parked: bool | None = None,
    search: str | None = None,
) -> Rows:
    """Rejected rows of all runs, each with its run, as far as the filters say."""
    query = select(RejectedRow, IngestRun).join(IngestRun, IngestRun.id == RejectedRow.run_id)
    wanted = {
        IngestRun.source: source,
        IngestRun.mapping: mapping,
        RejectedRow.state: state,
        RejectedRow.parked: parked,
    }
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    if run_id is not None:
        query = query.where(_of_run(run_id))
    if search:
        texts = (RejectedRow.reason, RejectedRow.raw, RejectedRow.field)
        query = query.where(or_(*(column.icontains(search, autoescape=True) for column in texts)))
    return query


async def of_job(session: AsyncSession, job_id: uuid.UUID, limit: int) -> Sequence[RejectedRow]:
    """The first rejected rows of a job's runs."""
    query = (
        select(RejectedRow)
        .join(IngestRun, IngestRun.id == RejectedRow.run_id)
        .where(IngestRun.job_id == job_id)
        .order_by(RejectedRow.run_id, RejectedRow.line)
        .limit(limit)
    )
    return (await session.execute(query)).scalars().all()


async def find(session: AsyncSession, row_id: uuid.UUID, *, lock: bool = False) -> tuple[RejectedRow, IngestRun] | None:
    """One rejected row and the run it came from; `lock` holds the row until this transaction ends."""
    query = of_all().where(RejectedRow.id == row_id)
    found = (await session.execute(query.with_for_update(of=RejectedRow) if lock else query)).one_or_none()
    return None if found is None else (found[0], found[1])


async def dismiss(session: AsyncSession, ids: Sequence[uuid.UUID]) -> Sequence[uuid.UUID]:
    """Let open rows be; returns which of them were open."""
    query = (
        update(RejectedRow)
        .where(RejectedRow.id.in_(ids), RejectedRow.state == "open")
        .values(state="dismissed", revision=RejectedRow.revision + 1)
        .returning(RejectedRow.id)
    )
    return (await session.execute(query)).scalars().all()


async def open_of_run(session: AsyncSession, run_id: uuid.UUID) -> Sequence[RejectedRow]:
    """The open rows that came from a run, or that a run of rejected rows was the last to look at."""
    query = of_run(run_id).where(RejectedRow.state == "open").order_by(RejectedRow.run_id, RejectedRow.line)
    return (await session.execute(query.limit(MOST_ROWS))).scalars().all()


async def parked(session: AsyncSession) -> Sequence[RowsOf]:
    """Whose rows are parked."""
    query = (
        select(IngestRun.source, IngestRun.mapping, IngestRun.numbers_are_plain)
        .join(RejectedRow, RejectedRow.run_id == IngestRun.id)
        .where(RejectedRow.parked, RejectedRow.state == "open")
        .distinct()
        .order_by(IngestRun.source, IngestRun.mapping)
    )
    return [RowsOf(*row) for row in await session.execute(query)]


async def parked_of(session: AsyncSession, of: RowsOf) -> Sequence[RejectedRow]:
    """Its parked rows, oldest first."""
    query = (
        select(RejectedRow)
        .join(IngestRun, IngestRun.id == RejectedRow.run_id)
        .where(
            RejectedRow.parked,
            RejectedRow.state == "open",
            IngestRun.source == of.source,
            IngestRun.mapping == of.mapping,
            IngestRun.numbers_are_plain == of.numbers_are_plain,
        )
        .order_by(IngestRun.finished_at, RejectedRow.run_id, RejectedRow.line)
    )
    return (await session.execute(query.limit(MOST_ROWS))).scalars().all()


async def judge_again(
    session: AsyncSession, run_id: uuid.UUID, rows: Sequence[RejectedRow], still_wrong: pl.DataFrame
) -> bool:
    """Record what a run has made of `rows`: all taken, but `still_wrong` (place from 1, field, reason, parked).

    False, and nothing is recorded: one of them was changed, or taken by another run, meanwhile.
    """
    frame = pl.DataFrame(
        {
            "place": pl.Series(range(1, len(rows) + 1), dtype=pl.Int64),
            "run": pl.Series([str(row.run_id) for row in rows], dtype=pl.String),
            "line": pl.Series([row.line for row in rows], dtype=pl.Int64),
            "revision": pl.Series([row.revision for row in rows], dtype=pl.Int64),
        }
    ).join(still_wrong.select("place", "field", "reason", "parked"), on="place", how="left")
    await stage(session, "judged", frame)
    held = await session.execute(
        text(
            "SELECT 1 FROM rejected_row r JOIN judged j ON r.run_id = j.run::uuid AND r.line = j.line"
            " AND r.revision = j.revision WHERE r.state = 'open' ORDER BY r.run_id, r.line FOR UPDATE OF r"
        )
    )
    if len(held.all()) < len(rows):
        return False
    await session.execute(
        text(
            "UPDATE rejected_row r SET state = CASE WHEN j.field IS NULL THEN 'taken' ELSE 'open' END,"
            " field = coalesce(j.field, r.field), reason = coalesce(j.reason, r.reason),"
            " parked = coalesce(j.parked, r.parked), judged_by = :run_id, revision = r.revision + 1"
            " FROM judged j WHERE r.run_id = j.run::uuid AND r.line = j.line"
        ),
        {"run_id": run_id},
    )
    return True


def values_of(row: RejectedRow) -> dict[str, Any] | None:
    """Header to text, as corrected or as it stood; None for a row that was no record at all, and is not corrected."""
    if row.corrected is not None:
        return dict(row.corrected)
    # One without a field at fault did not fit the header: only its text is known.
    return json.loads(row.raw) if row.field else None
