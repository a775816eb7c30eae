"""The ingestion actor's work: read a source round by round, or take one upload.

What a round brings is stored with the connector's new state in one transaction, so a kill at any moment loses nothing
and takes nothing twice. Only then does the connector mark at its source what was taken.
"""

from __future__ import annotations

import fnmatch
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from actors import failure_alerts, metrics
from actors.connectors import load_installed, problem_of
from actors.file_limits import file_limits
from actors.intake import Intake, Judged
from actors.job_sources import UnknownSource
from actors.mappings import Template, UnknownMapping, find_mapping, shipped
from actors.owner import Connections
from actors.readings import SourceReading, reading
from actors.reruns import rerun, rerun_parked
from actors.rounds import Delivery, Round, gather, unpacked
from actors.run import JobRun
from actors.secrets import opened
from db import rollups
from db.models import Source
from db.repositories import alerts, sources
from fmrp_sdk import Connector, ConnectorError, LoadReport, State
from ingestion.errors import IngestionError

log = structlog.get_logger(__name__)

# Of a job's progress: what reading a source's files takes of a round, before they are stored.
GATHERING = 0.2
JUDGING = 0.8


class IngestionWork:
    """Reads sources and files into the database through the pure ingestion room."""

    name = "ingestion"

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        metrics.prepare_ingestion({mapping.target for mapping in shipped().values()})
        self._plugins: LoadReport = load_installed()
        settings = connections.settings
        self._limits = file_limits(settings)
        for name in settings.required_connectors:
            if name not in self._plugins.connectors:
                raise UnknownSource(f"required connector {name!r} is not available: {problem_of(self._plugins, name)}")

    async def perform(self, run: JobRun) -> None:
        """Parameters: `source` (code), `source_file_id` and `mapping` for one uploaded file, or `rerun_of` (a run)."""
        if "source_file_id" in run.parameters:
            await self._take_upload(run)
        elif "rerun_of" in run.parameters:
            await rerun(run, uuid.UUID(run.parameters["rerun_of"]))
        else:
            await self._read_source(run, str(run.parameters.get("source", "")))
        await rerun_parked(run)
        # Also after an earlier attempt that stored its rows and died: it has left what to do.
        await rollups.refresh(self._connections.engine)
        async with run.sessions() as session:
            totals = await sources.totals(session, run.job_id)
        source = str(run.parameters.get("source") or sources.UPLOAD)

        async def store(session: AsyncSession) -> None:
            if totals["files"]:  # a refused file is not read again: nothing new says nothing about it
                finding = failure_alerts.refused_files(source, totals)
                await alerts.settle_one(session, failure_alerts.REFUSED_FILES, source, finding)
            await failure_alerts.job_succeeded(session, run.kind, run.parameters, self._connections.settings)

        await run.finish(totals, describe(totals), store)

    # -- uploads -----------------------------------------------------------------------------------------------------

    async def _take_upload(self, run: JobRun) -> None:
        file_id = uuid.UUID(run.parameters["source_file_id"])
        async with run.sessions() as session:
            file = await sources.read_file(session, file_id)
            if file is not None and await sources.has_settled(session, run.job_id):
                return  # an earlier attempt of this job stored everything and died before it could say so
            template = await find_mapping(session, str(run.parameters["mapping"]))
        if file is None:
            raise UnknownSource(f"no stored file {file_id}")

        async def template_of(_name: str) -> Template:
            return template

        deliveries = await run.in_thread(unpacked, file.name, file.content, self._limits)
        if len(deliveries) == 1 and deliveries[0].name == file.name:
            deliveries[0].file_id = file_id
        intake = self._intake(run, file.source)
        judged = await self._judge(run, intake, deliveries, template_of, 0.0, JUDGING)

        async def settle(session: AsyncSession) -> None:
            await sources.settle_file(session, file_id, "failed" if all(each.error for each in judged) else "ingested")

        await intake.store(judged, 0.9, settle)
        if all(each.error for each in judged):
            # Whoever uploads a file waits for it: its fault is the job's.
            raise IngestionError(judged[0].error.removesuffix("."))

    # -- sources -----------------------------------------------------------------------------------------------------

    async def _read_source(self, run: JobRun, code: str) -> None:
        async with run.sessions() as session:
            source = await sources.find(session, code)
        if source is None:
            raise UnknownSource(f"source: no source with code {code!r}")
        connector, config = self._configured(source)
        state = dict(source.state)
        intake = self._intake(run, code)
        async with reading(connector, config, self._connections.settings.connector_patience_s) as at_source:
            if state:
                await at_source.settle(state)
            done, is_last = 0.0, False
            while not is_last:
                found = await self._gather(run, intake, at_source, state, done)
                is_last = found.is_last
                share = 0.95 - done if is_last else (0.95 - done) / 2
                state = await self._take_round(run, source, intake, found, state, (done, share))
                done += share
                if found.state is not None:
                    await self._settle(at_source, state, code)
                if found.ended_by is not None:
                    raise found.ended_by

    async def _gather(self, run: JobRun, intake: Intake, at_source: SourceReading, state: State, done: float) -> Round:
        def tell(name: str, count: int, rows: int) -> None:
            share = (0.95 - done) / 2 * GATHERING * (1 - 0.9**count)
            run.report(done + share, "fetching", name, rows=intake.rows + rows)

        found = await gather(at_source, state or None, self._limits, tell)
        intake.rows += found.rows
        return found

    async def _take_round(
        self,
        run: JobRun,
        source: Source,
        intake: Intake,
        found: Round,
        before: Mapping[str, Any],
        part: tuple[float, float],
    ) -> dict[str, Any]:
        """Judge and store a round; returns the source's state after it."""
        if found.state is None:
            return dict(before)
        after = dict(found.state)
        if not found.deliveries and after == before:
            return after
        done, share = part

        async def template_of(name: str) -> Template:
            mapping = rule_of(source.rules, name)[1]
            if not mapping:
                raise UnknownMapping("mapping: no rule of the source fits the file's name")
            async with run.sessions() as session:
                return await find_mapping(session, mapping)

        async def move(session: AsyncSession) -> None:
            await sources.move_state(session, source.code, dict(before), after)

        ordered = sorted(found.deliveries, key=lambda each: rule_of(source.rules, each.name)[0])
        begin = done + share * GATHERING
        judged = await self._judge(run, intake, ordered, template_of, begin, share * (JUDGING - GATHERING))
        run.report(done + share * JUDGING, "storing", source.name)
        await intake.store(judged, done + share, move)
        return after

    async def _settle(self, at_source: SourceReading, state: State, code: str) -> None:
        """Mark what is stored. It stays stored when that fails, and is marked before the next reading."""
        try:
            await at_source.settle(state)
        except ConnectorError as error:
            log.warning("taken, and not marked at the source", source=code, reason=str(error))

    def _configured(self, source: Source) -> tuple[type[Connector], BaseModel]:
        loaded = self._plugins.connectors.get(source.connector)
        if loaded is None:
            raise UnknownSource(f"source {source.code}: {problem_of(self._plugins, source.connector)}")
        return loaded.connector, opened(source.config, loaded.connector, source.code, self._connections.settings)

    # -- both --------------------------------------------------------------------------------------------------------

    def _intake(self, run: JobRun, source: str) -> Intake:
        return Intake(run, source, self._limits, self._connections.settings.rejected_share_alert)

    async def _judge(
        self,
        run: JobRun,
        intake: Intake,
        deliveries: Sequence[Delivery],
        template_of: Any,
        done: float,
        share: float,
    ) -> list[Judged]:
        """Read deliveries one after the other, in order: what one brings, the next may refer to."""
        judged: list[Judged] = []
        for place, delivery in enumerate(deliveries):
            begin, each = done + share * place / len(deliveries), share / len(deliveries)
            tell = partial(_tell, run, delivery.name, begin, each)
            judged.append(await intake.judge(delivery, template_of, tell))
            run.report(begin + each, "reading", delivery.name, rows=intake.rows)
        return judged


def _tell(run: JobRun, name: str, begin: float, share: float, fraction: float, step: str) -> None:
    run.report(begin + share * fraction, "reading", f"{name}: {step}")


def describe(totals: Mapping[str, int]) -> str:
    """What came of an ingestion, in a few words."""
    if not totals["files"]:
        return "nothing new"
    text = f"{totals['taken']:,} of {totals['read']:,} rows taken"
    if totals["rejected"]:
        text += f", {totals['rejected']:,} rejected"
    return text + (f", {totals['failed_files']} files refused" if totals["failed_files"] else "")


def rule_of(rules: Sequence[Mapping[str, Any]], name: str) -> tuple[int, str]:
    """Position and mapping of the first rule whose pattern fits; after all of them when none does.

    A pattern is held against the whole name and, for members of archives, against the part after the last slash.
    """
    names = {name.lower(), name.lower().rpartition("/")[2]}
    for position, rule in enumerate(rules):
        if fnmatch.filter(names, str(rule["pattern"]).lower()):
            return position, str(rule["mapping"])
    return len(rules), ""
