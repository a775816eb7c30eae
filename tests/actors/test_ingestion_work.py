"""Sources are read file by file; no file takes another down, and no crash takes a row twice."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel
from queue_world import claim, get, perform, run_of, scalar, start
from sqlalchemy import select, text

from actors import intake
from actors.ingestion import IngestionWork, UnknownSource
from actors.mappings import UnknownMapping
from actors.owner import Connections, Outcome
from actors.run import JobRun
from actors.uploads import start_upload
from db.models import IngestRun, Job, RejectedRow, SavedMapping, Source
from db.repositories import mappings, sources
from fmrp_sdk import Batch, FatalError, FileBatch, RetriableError, SkippableError
from fmrp_sdk.loader import LoadedConnector
from settings import Settings

RULES = [
    {"pattern": "items*", "mapping": "erp_items"},
    {"pattern": "stock*", "mapping": "erp_stock"},
    {"pattern": "demand*", "mapping": "erp_demand"},
    {"pattern": "bom*", "mapping": "erp_bom_lines"},
]
ITEMS = "code,name,kind\nB1,Bike,finished\nW1,Wheel,component\n"
STOCK = "item;warehouse;on_hand\nB1;main;4,5\nW1;main;10\n"
DEMAND = "item,day,quantity,revenue\nB1,2026-11-02,3,30\nW1,2026-11-02,5,\nB1,2026-11-03,1,10\n"
RUN = ("file", "state", "read", "taken", "merged", "rejected")


class Killed(BaseException):
    """The process dies here: nothing catches this."""


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A watched folder."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
async def source(connections: Connections, inbox: Path) -> str:
    """A source that watches it."""
    await put_source(connections, "inbox", config={"path": str(inbox), "min_age_s": 0})
    return "inbox"


async def put_source(connections: Connections, code: str, connector: str = "folder", **rest: Any) -> None:
    async with connections.sessions.begin() as session:
        await sources.put(
            session, Source(**{"code": code, "name": code, "connector": connector, "rules": RULES, **rest})
        )


def drop(inbox: Path, *, age_s: float = 0, **files: str | bytes) -> None:
    """Put files into the folder; `_` before the ending is a dot."""
    for name, content in files.items():
        path = inbox / ".".join(name.rsplit("_", 1))
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        then = datetime.now(UTC).timestamp() - 60 - age_s
        os.utime(path, (then, then))


async def ingest(
    connections: Connections, source: str = "inbox", work: IngestionWork | None = None
) -> tuple[Outcome, Job]:
    """One ingestion of the source, in one attempt."""
    job = await start(connections, "ingest", {"source": source})
    outcome = await perform(connections, work or IngestionWork(connections), job.id)
    if outcome.end != "done":  # as the dispatcher would, so that the next one may run
        async with connections.sessions.begin() as session:
            await session.execute(text("UPDATE job SET state = 'failed' WHERE id = :id"), {"id": job.id})
    return outcome, await get(connections, job.id)


async def runs(connections: Connections, job: Job) -> list[IngestRun]:
    """The job's runs, in the order they were made."""
    async with connections.sessions() as session:
        return list(
            (
                await session.execute(select(IngestRun).where(IngestRun.job_id == job.id).order_by(IngestRun.id))
            ).scalars()
        )


async def counts(connections: Connections) -> dict[str, int]:
    tables = ("item", "stock", "demand")
    return {table: await scalar(connections, f"SELECT count(*) FROM {table}") for table in tables}


def bomb() -> bytes:
    """A small archive that unpacks to far more."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("[Content_Types].xml", "<Types/>")
        made.writestr("xl/workbook.xml", "<w/>")
        made.writestr("xl/worksheets/sheet1.xml", b" " * 80_000_000)
    return out.getvalue()


async def test_files_are_taken_in_the_order_of_the_rules_whatever_their_age(
    connections: Connections, inbox: Path, source: str
) -> None:
    drop(inbox, age_s=900, demand_csv=DEMAND)
    drop(inbox, age_s=500, stock_csv=STOCK)
    drop(inbox, items_csv=ITEMS)
    outcome, job = await ingest(connections)
    assert outcome.end == "done"
    assert [run.file for run in await runs(connections, job)] == ["items.csv", "stock.csv", "demand.csv"]
    assert await counts(connections) == {"item": 2, "stock": 2, "demand": 3}
    assert job.result == {"files": 3, "failed_files": 0, "read": 7, "taken": 7, "merged": 0, "rejected": 0}
    assert job.message == "7 of 7 rows taken"
    # The roll-ups are up to date, in continuous aggregates too: a reader need not ask demand itself.
    assert await scalar(connections, "SELECT count(*) FROM rollup_pending") == 0
    for table in ("demand_week", "demand_month"):
        assert await scalar(connections, f"SELECT sum(quantity) FROM {table}") == await scalar(
            connections, "SELECT sum(quantity) FROM demand"
        )


async def test_rejected_rows_are_kept_with_line_and_reason_and_all_rows_are_accounted_for(
    connections: Connections, inbox: Path, source: str
) -> None:
    drop(inbox, items_csv=ITEMS, demand_csv=DEMAND + "NOPE,2026-11-03,1,1\nB1,someday,1,1\n")
    _, job = await ingest(connections)
    run = (await runs(connections, job))[1]
    assert (run.read, run.taken, run.merged, run.rejected) == (5, 3, 0, 2)
    async with connections.sessions() as session:
        rejected = (await session.execute(select(RejectedRow).order_by(RejectedRow.line))).scalars().all()
    assert [(row.line, row.field) for row in rejected] == [(5, "item"), (6, "day")]
    assert "unknown item 'NOPE'" in rejected[0].reason
    assert '"someday"' in rejected[1].raw


async def test_an_unchanged_file_is_not_read_again(connections: Connections, inbox: Path, source: str) -> None:
    drop(inbox, items_csv=ITEMS)
    await ingest(connections)
    outcome, job = await ingest(connections)
    assert outcome.end == "done"
    assert await runs(connections, job) == []
    assert job.message == "nothing new"
    drop(inbox, items_csv=ITEMS + "W2,Tyre,component\n")
    _, job = await ingest(connections)
    assert [run.taken for run in await runs(connections, job)] == [3]


BROKEN = {
    "demand_csv": (b"color,size\nred,5\n", "item"),
    "demand_xlsx": (bomb(), "unpack"),
    "demand2_csv": (b"item,day,quantity\nB1,2026-11-02,\xff\xfe\x81\n", "demand2.csv"),
    "demand3_csv": (b"", "demand3.csv"),
    # Sound by every rule of the file, and nothing once it is rounded to the column's six places.
    "bom_csv": (b"parent,component,quantity_per\nB1,W1,0.0000001\n", "the database refused a value"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_file_gets_a_clear_error_and_the_others_are_taken(
    connections: Connections, inbox: Path, source: str, name: str
) -> None:
    content, words = BROKEN[name]
    drop(inbox, items_csv=ITEMS, demand9_csv=DEMAND, **{name: content})
    outcome, job = await ingest(connections)
    assert outcome.end == "done"
    broken = next(run for run in await runs(connections, job) if run.file == ".".join(name.rsplit("_", 1)))
    assert (broken.state, broken.read, broken.taken) == ("failed", 0, 0)
    assert broken.file in (broken.error or "")
    assert words in (broken.error or "")
    assert await counts(connections) == {"item": 2, "stock": 0, "demand": 3}
    assert job.result is not None
    assert (job.result["files"], job.result["failed_files"], job.result["taken"]) == (3, 1, 5)
    # It is on record, and does not come up again every morning.
    _, again = await ingest(connections)
    assert await runs(connections, again) == []


async def test_a_broken_snapshot_leaves_the_old_one_standing(
    connections: Connections, inbox: Path, source: str
) -> None:
    drop(inbox, items_csv=ITEMS, stock_csv=STOCK)
    await ingest(connections)
    drop(inbox, stock_csv="color;size\nred;5\n")
    _, job = await ingest(connections)
    assert [run.state for run in await runs(connections, job)] == ["failed"]
    assert (await counts(connections))["stock"] == 2


async def test_a_file_without_a_rule_is_refused_by_name(connections: Connections, inbox: Path, source: str) -> None:
    drop(inbox, items_csv=ITEMS, strange_csv="a,b\n1,2\n")
    outcome, job = await ingest(connections)
    assert outcome.end == "done"
    strange = next(run for run in await runs(connections, job) if run.file == "strange.csv")
    assert strange.state == "failed"
    assert strange.error == "mapping: no rule of the source fits the file's name"


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("sources.put_file", 1),
        ("sources.put_file", 3),
        ("targets.store", 2),
        ("sources.add_run", 1),
        ("rejected_rows.store", 3),
        ("sources.move_state", 1),
        ("jobs.report_progress", 1),
        ("JobRun.finish", 1),
    ],
)
async def test_an_attempt_after_a_crash_takes_every_row_once(
    connections: Connections, inbox: Path, source: str, monkeypatch: pytest.MonkeyPatch, place: str, call: int
) -> None:
    drop(inbox, items_csv=ITEMS, stock_csv=STOCK, demand_csv=DEMAND + "NOPE,2026-11-03,1,1\n")
    owner, name = place.split(".")
    target = JobRun if owner == "JobRun" else getattr(intake, owner)
    real, seen = getattr(target, name), []

    async def dies(*args: Any, **kwargs: Any) -> Any:
        # Progress is also stored beside the work, at times of its own: what counts is the one in the rows' transaction.
        if name != "report_progress" or "stored" in args:
            seen.append(1)
            if len(seen) == call:
                raise Killed
        return await real(*args, **kwargs)

    job = await start(connections, "ingest", {"source": source})
    with monkeypatch.context() as patch:
        patch.setattr(target, name, dies)
        with pytest.raises(Killed):
            await perform(connections, IngestionWork(connections), job.id)
    assert (await get(connections, job.id)).state == "running"
    assert (await perform(connections, IngestionWork(connections), job.id)).end == "done"
    ended = await get(connections, job.id)
    assert (ended.state, ended.attempts) == ("done", 2)
    assert ended.result == {"files": 3, "failed_files": 0, "read": 8, "taken": 7, "merged": 0, "rejected": 1}
    found = [tuple(getattr(run, field) for field in RUN) for run in await runs(connections, ended)]
    assert found == [
        ("items.csv", "done", 2, 2, 0, 0),
        ("stock.csv", "done", 2, 2, 0, 0),
        ("demand.csv", "done", 4, 3, 0, 1),
    ]
    assert await counts(connections) == {"item": 2, "stock": 2, "demand": 3}
    assert await scalar(connections, "SELECT count(*) FROM rejected_row") == 1


async def test_a_superseded_attempt_moves_neither_files_nor_the_sources_state(
    connections: Connections, inbox: Path, source: str
) -> None:
    drop(inbox, items_csv=ITEMS)
    job = await start(connections, "ingest", {"source": source})
    old = await run_of(connections, await claim(connections, job.id))
    await claim(connections, job.id)
    from db.repositories.jobs import Superseded

    with pytest.raises(Superseded):
        await IngestionWork(connections).perform(old)
    assert await scalar(connections, "SELECT count(*) FROM source_file") == 0
    assert await scalar(connections, "SELECT state::text FROM source") == "{}"


# -- connectors that misbehave ---------------------------------------------------------------------------------------


class NoConfig(BaseModel):
    """Nothing to configure."""


class FakeConnector:
    """Offers two files; what happens on the way is the test's."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "fake"
    version: ClassVar[str] = "1"
    config_model: ClassVar[type[BaseModel]] = NoConfig
    fault: ClassVar[Exception | None] = None

    def read(self, config: Any, state: Any) -> Iterator[Batch]:
        done = (state or {}).get("done", 0)
        for number, (name, content) in enumerate([("items.csv", ITEMS), ("stock.csv", STOCK)], start=1):
            if number <= done:
                continue
            if number == 2 and self.fault and not isinstance(self.fault, SkippableError):
                raise self.fault
            now = datetime.now(UTC)
            yield Batch(
                FileBatch(name, 10, now, 1000, lambda n=number, c=content: self._open(n, c)),
                {"version": 1, "done": number},
            )

    def _open(self, number: int, content: str) -> io.BytesIO:
        if number == 2 and self.fault:
            raise self.fault
        return io.BytesIO(content.encode())


async def with_connector(connections: Connections, fault: Exception | None) -> IngestionWork:
    """A source of a connector with that fault, and the work that knows it."""
    await put_source(connections, "remote", connector="fake")
    connector = type("Faulty", (FakeConnector,), {"fault": fault})
    work = IngestionWork(connections)
    loaded = LoadedConnector("fake", "1", "tests", "fake", connector)
    work._plugins = replace(work._plugins, connectors=MappingProxyType({"fake": loaded}))
    return work


async def test_a_file_the_connector_cannot_give_is_on_record_and_the_others_are_taken(connections: Connections) -> None:
    work = await with_connector(connections, SkippableError("stock.csv: larger than the limit of 1,000 bytes"))
    outcome, job = await ingest(connections, "remote", work)
    assert outcome.end == "done"
    found = [(run.file, run.state, run.error) for run in await runs(connections, job)]
    assert ("stock.csv", "failed", "stock.csv: larger than the limit of 1,000 bytes") in found
    assert ("items.csv", "done", None) in found
    assert await scalar(connections, "SELECT state->>'done' FROM source") == "2"


@pytest.mark.parametrize(
    ("fault", "passing"), [(FatalError("wrong password"), False), (RetriableError("host down"), True)]
)
async def test_a_connectors_error_fails_the_job_for_good_or_for_now(
    connections: Connections, fault: Exception, passing: bool
) -> None:
    work = await with_connector(connections, fault)
    outcome, _ = await ingest(connections, "remote", work)
    assert (outcome.end, outcome.error, outcome.passing) == ("failed", str(fault), passing)
    # What came before is stored, and the next time goes on after it.
    assert await scalar(connections, "SELECT state->>'done' FROM source") == "1"
    assert (await counts(connections))["item"] == 2
    outcome, job = await ingest(connections, "remote", await with_connector(connections, None))
    assert outcome.end == "done"
    assert [run.file for run in await runs(connections, job)] == ["stock.csv"]


async def test_a_missing_connector_is_named(connections: Connections) -> None:
    await put_source(connections, "sap", connector="sap_rfc")
    outcome, _ = await ingest(connections, "sap")
    assert outcome.error == "source sap: connector 'sap_rfc' is not installed"


async def test_a_required_connector_that_is_missing_stops_the_start(
    connections: Connections, settings: Settings
) -> None:
    demanding = Connections(settings.model_copy(update={"required_connectors": ("sap_rfc",)}), "test")
    try:
        with pytest.raises(UnknownSource, match="required connector 'sap_rfc' is not available"):
            IngestionWork(demanding)
    finally:
        await demanding.close()


async def test_bringing_a_source_up_to_date_keeps_where_it_was(
    connections: Connections, inbox: Path, source: str
) -> None:
    drop(inbox, items_csv=ITEMS)
    await ingest(connections)
    await put_source(connections, "inbox", config={"path": str(inbox), "min_age_s": 0, "patterns": ["*.csv"]})
    _, job = await ingest(connections)
    assert await runs(connections, job) == []


# -- uploads ---------------------------------------------------------------------------------------------------------


async def upload(
    connections: Connections, name: str, content: str | bytes, mapping: str = "erp_items"
) -> tuple[Outcome, Job]:
    raw = content.encode() if isinstance(content, str) else content
    async with connections.sessions.begin() as session:
        job, _ = await start_upload(session, name, raw, mapping, requested_by="anna", max_attempts=4)
    outcome = await perform(connections, IngestionWork(connections), job.id)
    if outcome.end != "done":
        async with connections.sessions.begin() as session:
            await session.execute(text("UPDATE job SET state = 'failed' WHERE id = :id"), {"id": job.id})
    return outcome, await get(connections, job.id)


async def test_the_same_content_uploaded_again_is_unchanged(connections: Connections) -> None:
    assert (await upload(connections, "items.csv", ITEMS))[0].end == "done"
    outcome, job = await upload(connections, "renamed.csv", ITEMS)
    assert outcome.end == "done"
    (run,) = await runs(connections, job)
    assert (run.state, run.read, run.taken, run.merged) == ("unchanged", 2, 0, 2)
    assert "the same content was taken on" in (run.error or "")


async def test_old_content_is_news_again_after_another_file(connections: Connections) -> None:
    for content in (ITEMS, ITEMS.replace("Bike", "Tricycle"), ITEMS):
        await upload(connections, "items.csv", content)
    assert await scalar(connections, "SELECT name FROM item WHERE code = 'B1'") == "Bike"


async def test_content_with_rejected_rows_is_tried_again_since_the_plant_may_know_more_now(
    connections: Connections,
) -> None:
    _, job = await upload(connections, "demand.csv", DEMAND, "erp_demand")
    assert [run.rejected for run in await runs(connections, job)] == [3]
    await upload(connections, "items.csv", ITEMS)
    _, job = await upload(connections, "demand.csv", DEMAND, "erp_demand")
    assert [(run.state, run.taken) for run in await runs(connections, job)] == [("done", 3)]


async def test_a_broken_upload_fails_its_job_with_the_reason(connections: Connections) -> None:
    outcome, job = await upload(connections, "items.csv", "color,size\nred,5\n")
    assert (outcome.end, outcome.passing) == ("failed", False)
    assert "items.csv" in (outcome.error or "")
    assert [run.state for run in await runs(connections, job)] == ["failed"]
    assert await counts(connections) == {"item": 0, "stock": 0, "demand": 0}


async def test_an_upload_with_an_unknown_mapping_is_refused_before_anything_is_kept(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        with pytest.raises(UnknownMapping, match="mapping: there is none named 'mine'"):
            await start_upload(session, "x.csv", b"x", "mine", requested_by="anna", max_attempts=4)
    assert await scalar(connections, "SELECT count(*) FROM source_file") == 0


async def test_an_upload_whose_attempt_died_before_its_end_is_not_taken_twice(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connections.sessions.begin() as session:
        upload = start_upload(session, "items.csv", ITEMS.encode(), "erp_items", requested_by="anna", max_attempts=4)
        job, _ = await upload

    async def dies(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(JobRun, "finish", dies)
        with pytest.raises(Killed):
            await perform(connections, IngestionWork(connections), job.id)
    assert (await perform(connections, IngestionWork(connections), job.id)).end == "done"
    assert [(run.state, run.taken) for run in await runs(connections, job)] == [("done", 2)]


async def save_mapping(connections: Connections, header: str) -> None:
    """A mapping of the plant's own, `ours`, that finds codes under this header."""
    columns = {"code": {"names": [header]}, "name": {"names": ["Text"]}, "kind": {"constant": "component"}}
    definition = {"target": "items", "columns": columns}
    async with connections.sessions.begin() as session:
        if (saved := await mappings.find(session, "ours", lock=True)) is None:
            session.add(SavedMapping(name="ours", definition=definition))
        else:
            saved.definition = definition


async def test_a_mapping_of_ones_own_is_used_at_once_by_uploads_and_sources(
    connections: Connections, inbox: Path
) -> None:
    work = IngestionWork(connections)  # begun before there was such a mapping
    await save_mapping(connections, "Article")
    _, job = await upload(connections, "own.csv", "Article,Text\nX1,Pump\n", "ours")
    assert [(run.state, run.taken, run.mapping) for run in await runs(connections, job)] == [("done", 1, "ours")]
    rules = [{"pattern": "own*", "mapping": "ours"}]
    await put_source(connections, "inbox", config={"path": str(inbox), "min_age_s": 0}, rules=rules)
    drop(inbox, own_csv="Article,Text\nX2,Seal\n")
    _, job = await ingest(connections, work=work)
    assert [(run.state, run.taken, run.mapping) for run in await runs(connections, job)] == [("done", 1, "ours")]


async def test_the_same_content_is_news_once_its_mapping_was_changed(connections: Connections) -> None:
    content = "Article,Text,Number\nX1,Pump,N1\n"
    await save_mapping(connections, "Article")
    for _ in range(2):
        _, job = await upload(connections, "own.csv", content, "ours")
    assert [run.state for run in await runs(connections, job)] == ["unchanged"]
    await save_mapping(connections, "Number")
    _, job = await upload(connections, "own.csv", content, "ours")
    assert [(run.state, run.taken) for run in await runs(connections, job)] == [("done", 1)]
    assert await scalar(connections, "SELECT count(*) FROM item WHERE code = 'N1'") == 1


async def test_a_source_deleted_after_its_job_was_asked_for_is_read_no_more(
    connections: Connections, source: str
) -> None:
    job = await start(connections, "ingest", {"source": source})
    async with connections.sessions.begin() as session:
        await session.execute(text("UPDATE source SET deleted_at = now() WHERE code = :code"), {"code": source})
        assert await sources.readable_codes(session) == []
    outcome = await perform(connections, IngestionWork(connections), job.id)
    assert (outcome.end, outcome.error, outcome.passing) == ("failed", "source: no source with code 'inbox'", False)
