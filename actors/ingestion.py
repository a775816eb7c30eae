"""The ingestion actor's work, in two durable steps: fetch what a source offers, then take in what waits.

A fetched file and the connector's new state are stored in one transaction; a file's rows, rejected rows and run record
in another. So a kill at any moment loses nothing and takes nothing twice.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from actors import failure_alerts, metrics
from actors.connectors import load_installed, problem_of
from actors.mappings import BadDefinition, Template, UnknownMapping, find_mapping, shipped
from actors.owner import Connections
from actors.redact import redact_known
from actors.run import JobRun
from actors.secrets import opened
from actors.telemetry import span
from db import rollups
from db.models import IngestRun, Source, SourceFile
from db.records import codes as known_codes
from db.repositories import alerts, jobs, sources, targets
from db.repositories.alerts import Finding
from fmrp_sdk import FileBatch, LoadReport, SkippableError, State
from ingestion.errors import IngestionError
from ingestion.ingest import Ingested, ingest
from ingestion.limits import Limits
from ingestion.mapping import Mapping
from ingestion.net_cancellations import net_cancellations
from ingestion.targets import TARGETS
from ingestion.validate import KnownCodes

log = structlog.get_logger(__name__)


class UnknownSource(ValueError):
    """No such source, file or connector."""


class IngestionWork:
    """Reads sources and files into the database through the pure ingestion room."""

    name = "ingestion"

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        metrics.prepare_ingestion({mapping.target for mapping in shipped().values()})
        self._plugins: LoadReport = load_installed()
        settings = connections.settings
        self._limits = replace(Limits(), max_bytes=settings.upload_max_bytes)
        for name in settings.required_connectors:
            if name not in self._plugins.connectors:
                raise UnknownSource(f"required connector {name!r} is not available: {self._plugins.failures}")

    async def perform(self, run: JobRun) -> None:
        """Parameters: `source` (code), or `source_file_id` and `mapping` for one uploaded file."""
        if "source_file_id" in run.parameters:
            await self._take_upload(run)
        else:
            await self._read_source(run, str(run.parameters.get("source", "")))
        # Also after an earlier attempt that stored its rows and died: it has left what to do.
        await rollups.refresh(self._connections.engine)
        async with run.sessions() as session:
            totals = await sources.totals(session, run.job_id)
        source = str(run.parameters.get("source") or sources.UPLOAD)

        async def store(session: AsyncSession) -> None:
            if totals["files"]:  # a refused file is not read again: nothing new says nothing about it
                await alerts.settle_one(session, failure_alerts.REFUSED_FILES, source, refused_files(source, totals))
            await failure_alerts.job_succeeded(session, run.kind, run.parameters)

        await run.finish(totals, describe(totals), store)

    async def _take_upload(self, run: JobRun) -> None:
        file_id = uuid.UUID(run.parameters["source_file_id"])
        async with run.sessions() as session:
            file = await sources.read_file(session, file_id)
            settled = await sources.settled_run(session, run.job_id, file_id)
            template = None if settled else await find_mapping(session, str(run.parameters["mapping"]))
        if file is None:
            raise UnknownSource(f"no stored file {file_id}")
        if template is None:
            return  # an earlier attempt of this job stored everything and died before it could say so
        await self._take_in(run, file, template, 0.0, 1.0)

    async def _read_source(self, run: JobRun, code: str) -> None:
        async with run.sessions() as session:
            source = await sources.find(session, code)
        if source is None:
            raise UnknownSource(f"source: no source with code {code!r}")
        await self._fetch(run, source)
        async with run.sessions() as session:
            waiting = await sources.waiting_files(session, code)
        ordered = sorted(waiting, key=lambda file: (rule_of(source.rules, file.name)[0], file.name))
        for index, header in enumerate(ordered):
            done, share = 0.1 + 0.85 * index / len(ordered), 0.85 / len(ordered)
            async with run.sessions() as session:
                file = await sources.read_file(session, header.id)
            if file is None:
                continue
            try:
                template = await self._ruled(run, source, file.name)
                await self._take_in(run, file, template, done, share)
            except (IngestionError, UnknownMapping, BadDefinition) as error:
                # The fault of one file is on its record; the source's other files are taken all the same.
                log.warning("file refused", file=file.name, reason=str(error))
                if not isinstance(error, IngestionError):
                    await self._record_failure(run, file, "", "", str(error))

    async def _ruled(self, run: JobRun, source: Source, file_name: str) -> Template:
        """The mapping that the source's rules give a file."""
        name = rule_of(source.rules, file_name)[1]
        if not name:
            raise UnknownMapping("mapping: no rule of the source fits the file's name")
        async with run.sessions() as session:
            return await find_mapping(session, name)

    async def _fetch(self, run: JobRun, source: Source) -> None:
        loaded = self._plugins.connectors.get(source.connector)
        if loaded is None:
            raise UnknownSource(f"source {source.code}: {problem_of(self._plugins, source.connector)}")
        connector = loaded.connector()
        config = opened(source.config, loaded.connector, source.code, self._connections.settings)
        batches: Any = connector.read(config, source.state or None)
        count = 0
        while (batch := await run.in_thread(next, batches, None)) is not None:
            count += 1
            assert isinstance(batch.content, FileBatch)
            run.report(0.1 * (1 - 0.9**count), "fetching", batch.content.name)
            await self._keep(run, source, batch.content, batch.state)

    async def _keep(self, run: JobRun, source: Source, file: FileBatch, state: State) -> None:
        try:
            content, problem = await file.read(), ""
        except SkippableError as error:
            content, problem = b"", redact_known(str(error))
        digest = hashlib.sha256(content).hexdigest()
        async with run.sessions.begin() as session:
            # Fences this attempt: raises Superseded, and nothing of this transaction stays.
            await jobs.report_progress(session, run.job_id, run.attempt, 0.05, "fetching", file.name)
            file_id = await sources.put_file(
                session, source=source.code, name=file.name, sha256=digest, content=content, mapping=None
            )
            stored = await sources.find(session, source.code, lock=True)
            if stored is not None:
                stored.state = dict(state)
            if problem:
                await sources.settle_file(session, file_id, "failed")
                record = _run_row(run, source.code, file.name, file_id, "", "", "failed", error=problem)
                await sources.add_run(session, record)

    async def _take_in(self, run: JobRun, file: SourceFile, template: Template, done: float, share: float) -> None:
        started, mapping = datetime.now(UTC), template.mapping
        run.report(done, "reading", file.name)
        async with run.sessions() as session:
            earlier = await sources.earlier_run(session, file.sha256, mapping.name, since=template.changed_at)
            if earlier is not None and await sources.later_run_exists(session, earlier):
                earlier = None
            codes = await known_codes(session, TARGETS[mapping.target].references()) if earlier is None else {}
        if earlier is not None:
            await self._record_unchanged(run, file, mapping, earlier)
            return
        taken = await self._read(run, file, mapping, KnownCodes(**codes), done, share)
        run.report(done + share * 0.8, "storing", f"{file.name}: {taken.taken} rows")
        await self._store_file(run, file, mapping, taken, started, done + share * 0.8)
        metrics.file_read(
            taken.target,
            "done",
            {"read": taken.read, "taken": taken.taken, "merged": taken.merged, "rejected": taken.rejected_count},
            (datetime.now(UTC) - started).total_seconds(),
        )

    async def _read(
        self, run: JobRun, file: SourceFile, mapping: Mapping, known: KnownCodes, done: float, share: float
    ) -> Ingested:
        def tell(fraction: float, message: str) -> None:
            run.report(done + share * 0.7 * fraction, "reading", f"{file.name}: {message}")

        try:
            with span("read file", mapping=mapping.name, bytes=file.size):
                return await run.in_thread(ingest, file.content, file.name, mapping, known, self._limits, tell)
        except IngestionError as error:
            await self._record_failure(run, file, mapping.name, mapping.target, str(error))
            raise

    async def _store_file(
        self, run: JobRun, file: SourceFile, mapping: Mapping, taken: Ingested, started: datetime, progress: float
    ) -> None:
        record = _run_row(
            run,
            file.source,
            file.name,
            file.id,
            mapping.name,
            taken.target,
            "done",
            read=taken.read,
            taken=taken.taken,
            merged=taken.merged,
            rejected=taken.rejected_count,
            started_at=started,
        )
        try:
            with span("store rows", rows=taken.taken, target=taken.target):
                await self._store(run, file, mapping, taken, record, progress)
        except DBAPIError as error:
            if not is_refused_value(error):
                raise
            # A value that no column can hold is this file's fault: it must not stop the source's other files.
            refusal = IngestionError(f"the database refused a value: {_first_line(error)}", file=file.name)
            await self._record_failure(run, file, mapping.name, mapping.target, str(refusal))
            raise refusal from error

    async def _store(
        self, run: JobRun, file: SourceFile, mapping: Mapping, taken: Ingested, record: IngestRun, progress: float
    ) -> None:
        async with run.sessions.begin() as session:
            await jobs.report_progress(session, run.job_id, run.attempt, progress, "storing", file.name)
            await store_rows(session, taken, mapping.name)
            await sources.add_run(session, record)
            await sources.store_rejected(session, record.id, taken.rejected)
            await sources.settle_file(session, file.id, "ingested")
            subject = f"{file.source} {mapping.name}"
            limit = self._connections.settings.rejected_share_alert
            await alerts.settle_one(session, failure_alerts.REJECTED_ROWS, subject, rejected_rows(record, limit))

    async def _record_unchanged(self, run: JobRun, file: SourceFile, mapping: Mapping, earlier: IngestRun) -> None:
        note = f"the same content was taken on {earlier.finished_at:%Y-%m-%d %H:%M} UTC as run {earlier.id}"
        async with run.sessions.begin() as session:
            await jobs.report_progress(session, run.job_id, run.attempt, 0.9, "unchanged", file.name)
            record = _run_row(
                run, file.source, file.name, file.id, mapping.name, mapping.target, "unchanged",
                read=earlier.read, merged=earlier.read, error=note,
            )  # fmt: skip
            await sources.add_run(session, record)
            await sources.settle_file(session, file.id, "ingested")
        metrics.file_read(mapping.target, "unchanged", {"read": earlier.read, "merged": earlier.read})

    async def _record_failure(self, run: JobRun, file: SourceFile, mapping: str, target: str, error: str) -> None:
        async with run.sessions.begin() as session:
            await jobs.report_progress(session, run.job_id, run.attempt, 0.0, "refused", file.name)
            record = _run_row(run, file.source, file.name, file.id, mapping, target, "failed", error=error)
            await sources.add_run(session, record)
            await sources.settle_file(session, file.id, "failed")
        metrics.file_read(target or "unknown", "failed", {})


def describe(totals: dict[str, int]) -> str:
    """What came of an ingestion, in a few words."""
    if not totals["files"]:
        return "nothing new"
    text = f"{totals['taken']:,} of {totals['read']:,} rows taken"
    if totals["rejected"]:
        text += f", {totals['rejected']:,} rejected"
    return text + (f", {totals['failed_files']} files refused" if totals["failed_files"] else "")


def rejected_rows(record: IngestRun, limit: float) -> Finding | None:
    """What is wrong when more than `limit` of a file's rows were rejected."""
    share = record.rejected / record.read if record.read else 0.0
    if share <= limit:
        return None
    severity = "critical" if share > 0.5 else "warning"
    text = f"{record.file}: {record.rejected:,} of {record.read:,} rows rejected ({share:.0%})"
    return Finding(severity, text, record.source)


def refused_files(source: str, totals: dict[str, int]) -> Finding | None:
    """What is wrong when files of a source were refused as a whole."""
    if not totals["failed_files"]:
        return None
    return Finding("critical", f"{source}: {totals['failed_files']} files refused: see the runs of this source", source)


async def store_rows(session: AsyncSession, taken: Ingested, feed: str) -> None:
    """Store one file's accepted rows; demand of invoice-line feeds is derived anew for the items they touch."""
    if not taken.new_items.is_empty():
        await targets.store(session, "items", taken.new_items, feed=feed)
    if taken.rows.is_empty() and taken.rejected_count:
        return  # a snapshot in which every row is wrong says nothing about what is gone
    await targets.store(session, taken.target, taken.rows, feed=feed)
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


def rule_of(rules: Sequence[dict[str, Any]], file_name: str) -> tuple[int, str]:
    """Position and mapping of the first rule whose pattern fits the file's name; after all of them when none does."""
    for position, rule in enumerate(rules):
        if fnmatch.fnmatch(file_name.lower(), str(rule["pattern"]).lower()):
            return position, str(rule["mapping"])
    return len(rules), ""


def _run_row(
    run: JobRun, source: str, file: str, file_id: uuid.UUID, mapping: str, target: str, state: str, **rest: Any
) -> IngestRun:
    rest.setdefault("started_at", datetime.now(UTC))
    return IngestRun(
        id=uuid7(),
        job_id=run.job_id,
        source_file_id=file_id,
        source=source,
        file=file,
        mapping=mapping,
        target=target,
        state=state,
        **rest,
    )
