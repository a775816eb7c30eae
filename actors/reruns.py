"""Rejected rows read again: those of one run, as somebody has corrected them, and those parked until what they refer to
is there."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog
from uuid_utils.compat import uuid7

from actors.intake import Codes, counts_of, store_rows
from actors.mappings import BadDefinition, UnknownMapping, find_mapping
from actors.run import JobRun
from db.models import IngestRun, RejectedRow
from db.repositories import jobs, rejected_rows, sources
from db.repositories.rejected_rows import RowsOf
from ingestion.errors import IngestionError
from ingestion.ingest import Ingested, ingest_rows
from ingestion.own_format import parsed_rows

log = structlog.get_logger(__name__)


class UnknownRun(ValueError):
    """No such run, or none whose rows can be read again."""


async def rerun(run: JobRun, run_id: uuid.UUID) -> None:
    """Read the open rows of a run again; one run record tells what came of them.

    Raises:
        UnknownRun: there is no such run.
        UnknownMapping, BadDefinition: its mapping is gone, or no longer sound.
        IngestionError: the rows lack a column that the mapping needs.
        ConnectionError: somebody changed one of them meanwhile; another attempt reads what they are by then.
    """
    async with run.sessions() as session:
        record = await sources.find_run(session, run_id)
        if record is None or not record.mapping:
            raise UnknownRun(f"run {run_id}: there is none whose rows can be read again")
        if await sources.has_settled(session, run.job_id):
            return  # an earlier attempt of this job stored everything and died before it could say so
        rows = await rejected_rows.open_of_run(session, run_id)
    of = RowsOf(record.source, record.mapping, record.numbers_are_plain)
    again = await _judge(run, of, rows, record.file)
    if again is not None and not await _store(run, of, *again, file=record.file, rerun_of=run_id):
        raise ConnectionError("somebody changed a rejected row while it was read again")


async def rerun_parked(run: JobRun) -> int:
    """Read all parked rows again; returns how many were taken. What is still wrong stays as it is."""
    async with run.sessions() as session:
        groups = await rejected_rows.parked(session)
    count = 0
    for of in groups:
        async with run.sessions() as session:
            rows = await rejected_rows.parked_of(session, of)
        try:
            again = await _judge(run, of, rows, "parked rows")
        except (IngestionError, UnknownMapping, BadDefinition) as error:
            log.warning("parked rows stay", source=of.source, mapping=of.mapping, reason=str(error))
            continue
        if again is None or again[1].taken + again[1].merged == 0:
            continue
        run.report(0.97, "taking parked rows", f"{again[1].taken:,} rows")
        if await _store(run, of, *again, file="parked rows"):
            count += again[1].taken
    return count


async def _judge(
    run: JobRun, of: RowsOf, rows: Sequence[RejectedRow], name: str
) -> tuple[Sequence[RejectedRow], Ingested] | None:
    """The rows that have values, and what is made of them."""
    valued = [(row, values) for row in rows if (values := rejected_rows.values_of(row)) is not None]
    if not valued:
        return None
    async with run.sessions() as session:
        mapping = (await find_mapping(session, of.mapping)).mapping
    known = await Codes(run.sessions).known(mapping)
    parsed = parsed_rows([values for _, values in valued], numbers_are_plain=of.numbers_are_plain)
    taken = await run.in_thread(ingest_rows, parsed, mapping, known, name)
    return [row for row, _ in valued], taken


async def _store(
    run: JobRun,
    of: RowsOf,
    rows: Sequence[RejectedRow],
    taken: Ingested,
    *,
    file: str,
    rerun_of: uuid.UUID | None = None,
) -> bool:
    """Rows, run record and what the rows are by now, in one transaction; False: they were changed meanwhile."""
    record = IngestRun(
        id=uuid7(),
        job_id=run.job_id,
        source=of.source,
        file=file,
        mapping=of.mapping,
        target=taken.target,
        state="done",
        started_at=datetime.now(UTC),
        rerun_of=rerun_of,
        **counts_of(taken),
    )
    async with run.sessions.begin() as session:
        await sources.add_run(session, record)
        still_wrong = taken.rejected.rename({"line": "place"}).select("place", "field", "reason", "parked")
        if not await rejected_rows.judge_again(session, record.id, rows, still_wrong):
            await session.rollback()
            return False
        await store_rows(session, taken, of.mapping, is_whole=False, adds=True)
        await jobs.report_progress(session, run.job_id, run.attempt, 0.98, "stored", file)
    return True
