"""The one door: a file's bytes and a mapping in, rows to store and rows rejected out. Nothing is stored here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl

from ingestion.clean import items_to_create, one_row_per_key
from ingestion.convert import LINE, to_fields
from ingestion.errors import IngestionError
from ingestion.limits import Limits
from ingestion.mapping import Mapping
from ingestion.parse import parse
from ingestion.resolve import resolve
from ingestion.table import MALFORMED_SCHEMA, Parsed
from ingestion.targets import TARGETS
from ingestion.validate import KnownCodes, split_rows

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Ingested:
    """What a file came to. read == taken + merged + rejected_count, always.

    rows: the target's columns and dtypes, file order; lines: where each stood (i64). new_items: items to create before
    the rows, columns of items. rejected: line (i64, in the file, unique), field, reason, raw (the row as JSON), parked
    (Boolean: its only fault is that something it names is not there yet, and the mapping parks such rows), by line;
    parked_count of them are parked. numbers_are_plain: as in `Parsed`, for those who read the rejected rows again.
    counts_lines: as in `Mapping`.
    """

    target: str
    grain: str
    rows: pl.DataFrame
    new_items: pl.DataFrame
    rejected: pl.DataFrame
    read: int
    taken: int
    merged: int
    rejected_count: int
    lines: pl.Series = field(default_factory=lambda: pl.Series("line", dtype=pl.Int64))
    numbers_are_plain: bool = False
    parked_count: int = 0
    counts_lines: bool = False


def ingest(
    content: bytes,
    file_name: str,
    mapping: Mapping,
    known: KnownCodes | None = None,
    limits: Limits | None = None,
    on_progress: Progress | None = None,
) -> Ingested:
    """Parses, maps, validates and cleans one file.

    `on_progress` is told the share done (0 to 1) and the step; what it raises ends the reading. IngestionError: the
    file as a whole is refused; a row that breaks a rule only rejects itself.
    """
    tell = on_progress or _silent
    try:
        tell(0.0, "parse")
        # Told again while it waits for a reader: whoever listens may raise to end that.
        parsed = parse(
            content, file_name, limits or Limits(), mapping.parse_options(), still_wanted=lambda: tell(0.0, "parse")
        )
        return ingest_rows(parsed, mapping, known, file_name, on_progress)
    except IngestionError as error:
        raise error.in_file(file_name) from error.__cause__


def ingest_rows(
    parsed: Parsed,
    mapping: Mapping,
    known: KnownCodes | None = None,
    file_name: str = "",
    on_progress: Progress | None = None,
) -> Ingested:
    """Maps, validates and cleans a table of texts, wherever it comes from. See `ingest`."""
    tell = on_progress or _silent
    known = known or KnownCodes()
    target = TARGETS[mapping.target]
    tell(0.4, "map")
    fields = resolve(to_fields(parsed, mapping, file_name), mapping, known)
    tell(0.6, "validate")
    good, broken = split_rows(fields, mapping, known)
    del fields
    tell(0.8, "clean")
    kept, merged = one_row_per_key(good, target)
    rejected = rejected_rows(parsed, broken)
    rows = kept.select(pl.col(name).cast(dtype) for name, dtype in target.schema().items())
    result = Ingested(
        target=target.name,
        grain=mapping.grain or target.grain,
        rows=rows,
        lines=kept[LINE].cast(pl.Int64).alias("line"),
        new_items=items_to_create(kept, mapping, known),
        rejected=rejected,
        read=parsed.read,
        taken=rows.height,
        merged=merged,
        rejected_count=rejected.height,
        numbers_are_plain=parsed.numbers_are_plain,
        parked_count=int(rejected["parked"].sum()),
        counts_lines=mapping.counts_lines,
    )
    tell(1.0, "done")
    return result


def rejected_rows(parsed: Parsed, broken: pl.DataFrame) -> pl.DataFrame:
    """Rows that broke a rule (`validate.BROKEN`; none is parked unless it says so) with what stood in the file, and
    those malformed to begin with."""
    names = [column for column in parsed.frame.columns if column != "line"]
    labels = _labels(parsed.columns)
    raw = pl.struct(pl.col(name).alias(label) for name, label in zip(names, labels, strict=True)).struct.json_encode()
    is_parked = pl.lit(value=False)
    rows = (
        broken.with_columns(parked=pl.col("parked") if "parked" in broken.columns else is_parked)
        .join(parsed.frame, on="line", how="left")
        .with_columns(raw=raw)
        .select(pl.col(name).cast(dtype) for name, dtype in (*MALFORMED_SCHEMA.items(), ("parked", pl.Boolean)))
    )
    return pl.concat([rows, parsed.malformed.with_columns(parked=is_parked)]).sort("line")


def _labels(columns: Sequence[str]) -> list[str]:
    """Header names made unique, as a row is shown by name: 'Qty', 'Qty (2)', and 'column 4' for a nameless one."""
    labels: list[str] = []
    for place, name in enumerate(columns, start=1):
        label, count = name or f"column {place}", 1
        while label in labels:
            count += 1
            label = f"{name or f'column {place}'} ({count})"
        labels.append(label)
    return labels


def _silent(_share: float, _step: str) -> None:
    """Nobody listens."""
