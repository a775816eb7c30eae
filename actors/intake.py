"""Deliveries on their way into the tables: judged by their mappings first, then stored together in one transaction."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from actors import failure_alerts, metrics
from actors.mappings import BadDefinition, Template, UnknownMapping, needs_conversions, with_conversions
from actors.rounds import Delivery
from actors.run import JobRun
from actors.telemetry import span
from db.engine import SessionFactory
from db.models import IngestRun
from db.record_writes import UnknownReference
from db.records import codes as known_codes
from db.repositories import alerts, jobs, rejected_rows, sources, targets
from ingestion.errors import IngestionError, WrongColumns
from ingestion.ingest import Ingested, Progress, ingest, ingest_rows
from ingestion.limits import Limits
from ingestion.mapping import Mapping as FieldMapping
from ingestion.net_cancellations import net_cancellations
from ingestion.parse_records import parse_records
from ingestion.targets import TARGETS
from ingestion.validate import KnownCodes

log = structlog.get_logger(__name__)

TemplateOf = Callable[[str], Awaitable[Template]]


@dataclass(slots=True)
class Judged:
    """A delivery and what came of reading it: rows (`taken`), nothing new since `earlier`, or an `error`."""

    delivery: Delivery
    mapping: FieldMapping | None = None
    taken: Ingested | None = None
    earlier: IngestRun | None = None
    error: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def state(self) -> str:
        """As its run is recorded."""
        return "failed" if self.error else "unchanged" if self.earlier is not None else "done"


class Codes:
    """Codes that rows may refer to, and units of items: those stored, and those that deliveries judged before bring."""

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions
        self._stored: dict[str, pl.Series] = {}
        self._brought: dict[str, list[pl.Series]] = {}
        self._rows: list[tuple[str, pl.DataFrame]] = []
        self._conversions: KnownCodes | None = None

    async def known(self, mapping: FieldMapping) -> KnownCodes:
        """All that the fields of the mapping's table refer to."""
        tables = TARGETS[mapping.target].references()
        if lacking := tables - self._stored.keys():
            async with self._sessions() as session:
                for table, codes in (await known_codes(session, lacking)).items():
                    self._stored[table] = pl.Series(codes, dtype=pl.String)
        known = KnownCodes(
            **{table: pl.concat([self._stored[table], *self._brought.get(table, ())]) for table in tables}
        )
        if not needs_conversions(mapping):
            return known
        if self._conversions is None:
            async with self._sessions() as session:
                self._conversions = await with_conversions(session, KnownCodes())
        stored = self._conversions
        known = known.beside(item_units=stored.item_units, supplier_items=stored.supplier_items)
        for table, rows in self._rows:
            known = known.after(table, rows)
        return known

    def add(self, taken: Ingested) -> None:
        """What these rows bring once they are stored."""
        target = TARGETS[taken.target]
        brought = [("items", taken.new_items["code"])]
        if target.key == ("code",):
            brought.append((target.name, taken.rows["code"]))
        brought += [(spec.refers_to, taken.rows[name]) for name, spec in target.fields.items() if spec.creates]
        self._rows += [
            (table, rows)
            for table, rows in (("items", taken.new_items), (taken.target, taken.rows))
            if table in ("items", "unit_conversions", "supplier_terms") and rows.height
        ]
        for table, codes in brought:
            self._brought.setdefault(table, []).append(codes.drop_nulls().unique())


class Intake:
    """Judges and stores deliveries of one source for one attempt of a job. `rows` have been read in it so far."""

    def __init__(self, run: JobRun, source: str, limits: Limits, rejected_share_alert: float) -> None:
        self._run = run
        self._source = source
        self._limits = limits
        self._rejected_share_alert = rejected_share_alert
        self._codes = Codes(run.sessions)
        self.rows = 0

    async def judge(self, delivery: Delivery, template_of: TemplateOf, tell: Progress) -> Judged:
        """Read a delivery with its mapping. What is wrong with it as a whole is its `error`: nothing is raised."""
        judged = Judged(delivery, error=delivery.problem)
        if judged.error:
            return judged
        try:
            template = await template_of(delivery.name)
            judged.mapping = mapping = template.mapping
            _refuse_uncounted(delivery, mapping)
            if delivery.records is None:
                judged.earlier = await self._earlier(delivery, template)
            if judged.earlier is None:
                known = await self._codes.known(mapping)
                with span("read", mapping=mapping.name, bytes=len(delivery.content)):
                    judged.taken = await self._run.in_thread(self._read, delivery, mapping, known, tell)
                self._codes.add(judged.taken)
                if delivery.records is None:  # rows of a stream were counted as they came
                    self.rows += judged.taken.read
        except (IngestionError, UnknownMapping, BadDefinition) as error:
            log.warning("delivery refused", delivery=delivery.name, reason=str(error))
            judged.error = str(error)
        return judged

    def _read(self, delivery: Delivery, mapping: FieldMapping, known: KnownCodes, tell: Progress) -> Ingested:
        if delivery.records is None:
            return ingest(delivery.content, delivery.name, mapping, known, self._limits, tell)
        try:
            parsed = parse_records(delivery.records, self._limits, mapping.parse_options())
            return ingest_rows(parsed, mapping, known, delivery.name, tell)
        except IngestionError as error:
            raise error.in_file(delivery.name) from error.__cause__

    async def _earlier(self, delivery: Delivery, template: Template) -> IngestRun | None:
        """The run that has taken this very content through this mapping, if it is the last word of the mapping."""
        async with self._run.sessions() as session:
            earlier = await sources.earlier_run(
                session, delivery.sha256, template.mapping.name, since=template.changed_at
            )
            if earlier is not None and await sources.later_run_exists(session, earlier):
                return None
            return earlier

    async def store(
        self, judged: Sequence[Judged], progress: float, also: Callable[[AsyncSession], Awaitable[None]]
    ) -> None:
        """Rows, rejected rows, run records and what `also` stores (a source's state), in one transaction.

        Raises:
            Superseded: a later attempt owns the job; nothing was stored.
        """
        records: list[IngestRun] = []
        async with self._run.sessions.begin() as session:
            for each in judged:
                records.append(await self._store(session, each))
            await also(session)
            # Last, so that nobody who looks at the job or asks it to stop waits for the rows.
            await jobs.report_progress(session, self._run.job_id, self._run.attempt, progress, "stored", "")
        for record in records:
            _count(record)

    async def _store(self, session: AsyncSession, judged: Judged) -> IngestRun:
        if judged.taken is not None and not judged.error:
            await self._store_rows(session, judged)
        record = self._record(judged, await self._keep(session, judged))
        await sources.add_run(session, record)
        if judged.taken is not None and record.state == "done":
            await rejected_rows.store(session, record.id, judged.taken.rejected)
            subject = f"{self._source} {record.mapping}"
            finding = failure_alerts.rejected_rows(record, self._rejected_share_alert)
            await alerts.settle_one(session, failure_alerts.REJECTED_ROWS, subject, finding)
        return record

    async def _store_rows(self, session: AsyncSession, judged: Judged) -> None:
        """Merge the rows. A value that no column can hold is this delivery's fault, and stops no other."""
        assert judged.taken is not None
        assert judged.mapping is not None
        try:
            with span("store rows", rows=judged.taken.taken, target=judged.taken.target):
                async with session.begin_nested():
                    await store_rows(session, judged.taken, judged.mapping.name, **_of_records(judged.delivery))
        except UnknownReference as error:
            judged.error = f"{judged.delivery.name}: {error}, which was deleted meanwhile; read it again"
        except DBAPIError as error:
            if not is_refused_value(error):
                raise
            judged.error = f"{judged.delivery.name}: the database refused a value: {_first_line(error)}."

    async def _keep(self, session: AsyncSession, judged: Judged) -> uuid.UUID | None:
        """Keep a file's bytes, and rows that were refused as a whole, so that both can be read again."""
        state = "failed" if judged.error else "ingested"
        delivery = judged.delivery
        if delivery.file_id is not None:
            await sources.settle_file(session, delivery.file_id, state)
            return delivery.file_id
        if delivery.records is not None and not judged.error:
            return None
        file = delivery.as_file()
        return await sources.put_file(
            session,
            source=self._source,
            name=file.name,
            sha256=file.sha256,
            content=file.content,
            mapping=None,
            state=state,
            origin=file.origin,
        )

    def _record(self, judged: Judged, file_id: uuid.UUID | None) -> IngestRun:
        counts: dict[str, Any] = {}
        if judged.taken is not None and not judged.error:
            counts = counts_of(judged.taken)
        note: str | None = judged.error or None
        if judged.earlier is not None and not judged.error:
            counts = {"read": judged.earlier.read, "merged": judged.earlier.read}
            when = f"{judged.earlier.finished_at:%Y-%m-%d %H:%M} UTC"
            note = f"the same content was taken on {when} as run {judged.earlier.id}"
        return IngestRun(
            id=uuid7(),
            job_id=self._run.job_id,
            source_file_id=file_id,
            source=self._source,
            file=judged.delivery.name,
            mapping=judged.mapping.name if judged.mapping else "",
            target=judged.mapping.target if judged.mapping else "",
            state=judged.state,
            error=note,
            started_at=judged.started_at,
            # Of the transaction's beginning otherwise, the same for all runs of a round.
            finished_at=datetime.now(UTC),
            **counts,
        )


def counts_of(taken: Ingested) -> dict[str, Any]:
    """The columns of a run record that the rows decide."""
    return {
        "read": taken.read,
        "taken": taken.taken,
        "merged": taken.merged,
        "rejected": taken.rejected_count,
        "parked": taken.parked_count,
        "numbers_are_plain": taken.numbers_are_plain,
    }


def _refuse_uncounted(delivery: Delivery, mapping: FieldMapping) -> None:
    """A stream may bring one document's lines in several readings, and some of them again: counting them is no use."""
    if delivery.records is not None and not delivery.is_snapshot and mapping.counts_lines:
        raise WrongColumns(
            "invoice lines of a stream need a number of their own: map the column that numbers them",
            file=delivery.name,
            field="line",
        )


def _of_records(delivery: Delivery) -> Mapping[str, bool]:
    """A file of a snapshot table is the whole truth of its feed; rows of a stream are so only if they say so."""
    return {} if delivery.records is None else {"is_whole": delivery.is_snapshot}


async def store_rows(
    session: AsyncSession, taken: Ingested, feed: str, *, is_whole: bool = True, adds: bool = False
) -> None:
    """Store accepted rows; demand of invoice-line feeds is derived anew for the items they touch.

    `is_whole`: of tables that a feed tells whole (stock, open orders), what these rows lack is gone. `adds`: invoice
    lines that are counted within their document are further ones beside those that are stored.
    """
    if not taken.new_items.is_empty():
        await targets.store(session, "items", taken.new_items, feed=feed)
    if taken.rows.is_empty() and taken.rejected_count:
        return  # a snapshot in which every row is wrong says nothing about what is gone
    rows = taken.rows
    if adds and taken.counts_lines and not rows.is_empty():
        rows = await targets.numbered_on(session, rows, feed=feed)
    await targets.store(session, taken.target, rows, feed=feed, is_whole=is_whole)
    if taken.target == "sales_lines" and not taken.rows.is_empty():
        lines = await targets.read_sales_lines(session, taken.rows["item"], feed=feed)
        demand = await asyncio.to_thread(net_cancellations, lines)
        await targets.replace_demand(session, taken.rows["item"], demand, feed=feed)


def is_refused_value(error: DBAPIError) -> bool:
    """Whether a value does not fit its column (out of range, a check broken), which no further attempt will change."""
    sqlstate = str(getattr(error.orig, "sqlstate", ""))
    return sqlstate.startswith("22") or sqlstate in {"23502", "23514"}


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0].rpartition(">: ")[2]


def _count(record: IngestRun) -> None:
    rows: dict[metrics.Outcome, int] = {
        "read": record.read or 0,
        "taken": record.taken or 0,
        "merged": record.merged or 0,
        "rejected": record.rejected or 0,
    }
    seconds = (record.finished_at - record.started_at).total_seconds() if record.state == "done" else None
    metrics.file_read(record.target or "unknown", record.state, rows, seconds)
