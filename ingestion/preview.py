"""What would become of a file, and what a person should know before it is taken in. Nothing is stored."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from ingestion.ingest import Ingested, ingest_rows
from ingestion.known import KnownCodes
from ingestion.limits import Limits
from ingestion.mapping import Mapping
from ingestion.own_format import other_columns
from ingestion.parse import parse
from ingestion.table import Parsed, header_key
from ingestion.targets import TARGETS


@dataclass(frozen=True, slots=True)
class Preview:
    """The file as it would be taken; unused: headers no field has; warnings: what a person should look at."""

    ingested: Ingested
    unused: tuple[str, ...]
    warnings: tuple[str, ...]


def preview(
    content: bytes, file_name: str, mapping: Mapping, known: KnownCodes | None = None, limits: Limits | None = None
) -> Preview:
    """The same reading as `ingest`. IngestionError: the file as a whole would be refused."""
    parsed = parse(content, file_name, limits or Limits(), mapping.parse_options())
    ingested = ingest_rows(parsed, mapping, known, file_name)
    return Preview(ingested, tuple(other_columns(parsed, mapping)), tuple(_warnings(parsed, mapping, ingested)))


def _warnings(parsed: Parsed, mapping: Mapping, found: Ingested) -> Iterator[str]:
    if not found.taken:
        yield "not one row would be taken"
    if found.merged:
        key = ", ".join(TARGETS[found.target].key)
        yield f"{found.merged:,} rows have the key ({key}) of a later row, which counts"
    if found.new_items.height:
        yield f"{found.new_items.height:,} items would be created"
    if found.parked_count:
        yield f"{found.parked_count:,} rows would be parked until what they name is there"
    places = {header_key(name): place for place, name in enumerate(parsed.columns)}
    filled = parsed.frame.select(pl.exclude("line").is_not_null().any()).row(0, named=True)
    for field, column in mapping.columns.items():
        there = [places[header_key(name)] for name in column.names if header_key(name) in places]
        if column.names and not there:
            yield f"the file has no column for {field}"
        elif there and not filled[f"c{there[0]}"]:
            yield f"the column for {field} is empty in every row"
