"""What a source delivers, gathered into rounds: as much as is stored in one transaction, with the state after it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from actors.readings import SourceReading
from actors.redact import redact_known
from fmrp_sdk import ConnectorError, FatalError, FileBatch, RecordsBatch, SkippableError, State
from ingestion.archive import is_archive, members
from ingestion.errors import IngestionError
from ingestion.limits import Limits

# A round ends once it holds as much: one transaction stays short, and a killed process repeats little.
MOST_BYTES = 32 << 20
MOST_FILES = 100
MOST_ROWS = 200_000


@dataclass(slots=True)
class Delivery:
    """A file, a member of an archive, or rows of one stream. `problem` says why it cannot be taken.

    `file_id` is that of an upload, whose bytes are kept already.
    """

    name: str
    content: bytes = b""
    records: pl.DataFrame | None = None
    is_snapshot: bool = False
    problem: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    file_id: uuid.UUID | None = None

    @property
    def sha256(self) -> str:
        """Hash of the content, by which a file is known again."""
        return hashlib.sha256(self.content).hexdigest()

    def as_file(self) -> Delivery:
        """Rows as a file that can be kept and read again; a file as it is."""
        if self.records is None:
            return self
        out = io.BytesIO()
        self.records.write_parquet(out)
        return Delivery(f"{self.name}.parquet", out.getvalue(), problem=self.problem, origin=self.origin)


@dataclass(slots=True)
class Round:
    """Deliveries in the order they came and the state after them. `ended_by`: what ended the reading, if an error did.

    `is_last`: there is no more, for whatever reason. `rows` counts those of streams; files are not read yet.
    """

    deliveries: list[Delivery] = field(default_factory=list)
    state: State | None = None
    ended_by: ConnectorError | None = None
    is_last: bool = False
    bytes: int = 0
    rows: int = 0

    def add(self, delivery: Delivery) -> None:
        """One more file, or rows; rows of the stream that came just before are one delivery with them."""
        last = self.deliveries[-1] if self.deliveries else Delivery("")
        if delivery.records is not None and last.records is not None and last.name == delivery.name:
            last.records = pl.concat([last.records, delivery.records], how="diagonal_relaxed")
        else:
            self.deliveries.append(delivery)
        self.bytes += len(delivery.content)
        self.rows += 0 if delivery.records is None else delivery.records.height

    @property
    def is_full(self) -> bool:
        """Whether it is time to store it."""
        return self.bytes >= MOST_BYTES or len(self.deliveries) >= MOST_FILES or self.rows >= MOST_ROWS


async def gather(
    source: SourceReading, after: State | None, limits: Limits, tell: Callable[[str, int, int], None]
) -> Round:
    """The next round after a state. `tell` hears of each batch: its name, and how many batches and rows came before it.

    A snapshot is never cut: its rows are stored together, as only then is it known what is gone. A connector's error
    ends the round, not what came before it.
    """
    found = Round()
    count = 0
    within_snapshot = False
    try:
        while within_snapshot or not found.is_full:
            batch = await source.next_batch(after)
            if batch is None:
                found.is_last = True
                break
            content = batch.content
            if content is None:
                found.state = batch.state
                continue
            tell(content.name if isinstance(content, FileBatch) else content.stream, count, found.rows)
            count += 1
            for delivery in await _delivered(source, content, limits):
                found.add(delivery)
            within_snapshot = isinstance(content, RecordsBatch) and content.is_snapshot and not content.is_last
            _refuse_endless(found, limits)
            if not within_snapshot:
                found.state = batch.state
    except ConnectorError as error:
        found.ended_by, found.is_last = error, True
    if within_snapshot:
        found.deliveries.pop()  # half a snapshot says nothing of what is gone
    return found


async def _delivered(source: SourceReading, content: FileBatch | RecordsBatch, limits: Limits) -> list[Delivery]:
    if isinstance(content, RecordsBatch):
        return [Delivery(content.stream, records=_frame(content), is_snapshot=content.is_snapshot)]
    try:
        whole = await source.content(content)
    except SkippableError as error:
        return [Delivery(content.name, problem=redact_known(str(error)), origin=content.origin)]
    # Unpacking an archive takes seconds, in which others are to be served.
    return await asyncio.to_thread(unpacked, content.name, whole, limits, content.origin)


def _frame(content: RecordsBatch) -> pl.DataFrame:
    try:
        return pl.DataFrame(content.records)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise FatalError(
            f"{content.stream}: its records cannot be read ({error});"
            " each column needs a name of its own and a plain type"
        ) from error


def unpacked(name: str, content: bytes, limits: Limits, origin: Mapping[str, str] | None = None) -> list[Delivery]:
    """A file as one delivery, an archive as one for each member; one that cannot be unpacked says why."""
    origin = dict(origin or {})
    if not is_archive(content):
        return [Delivery(name, content, origin=origin)]
    try:
        return [Delivery(f"{name}/{each.name}", each.content, origin=origin) for each in members(content, name, limits)]
    except IngestionError as error:
        return [Delivery(name, content, problem=str(error), origin=origin)]


def _refuse_endless(found: Round, limits: Limits) -> None:
    last = found.deliveries[-1] if found.deliveries else None
    if last is not None and last.records is not None and last.records.height > limits.max_rows:
        raise FatalError(
            f"{last.name}: more than {limits.max_rows:,} rows in one snapshot; have the stream read by a cursor column"
        )
