"""A table's own format: each field by its name, in a file as we export it or in rows of JSON.

Rows change what is stored by their key. Nothing else must be there: what is missing or empty keeps what is stored.
"""

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from ingestion.mapping import Column, Mapping
from ingestion.table import MALFORMED_SCHEMA, Parsed, header_key
from ingestion.targets import TARGETS

_DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S")


@lru_cache(maxsize=64)
def own_mapping(target: str, *, from_a_file: bool = True) -> Mapping:
    """The mapping of a table's own format. Cells of files lose blanks around them and the mark of `formula_text`."""
    fields = TARGETS[target].fields
    return Mapping(
        name=target,
        description="each field by its own name",
        target=target,
        encoding="auto",
        date_formats=_DATES,
        partial=True,
        columns={name: Column(names=(name,), strip=from_a_file, unmark=from_a_file) for name in fields},
    )


def other_columns(parsed: Parsed, mapping: Mapping) -> list[str]:
    """Headers that name no field of the mapping, as written, in the order of the file."""
    known = {header_key(name) for column in mapping.columns.values() for name in column.names}
    return [name for name in parsed.columns if name and header_key(name) not in known]


def parsed_rows(rows: Sequence[Dict[str, Any]], *, numbers_are_plain: bool = True) -> Parsed:
    """Rows of plain values as a file of texts; `line` is the place in the list, from 1. See `Parsed`."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: dict[str, pl.Series] = {"line": pl.Series(range(1, len(rows) + 1), dtype=pl.Int64)}
    for place, name in enumerate(names):
        columns[f"c{place}"] = pl.Series([_text(row.get(name)) for row in rows], dtype=pl.String)
    malformed = pl.DataFrame(schema=MALFORMED_SCHEMA)
    frame = pl.DataFrame(columns)
    return Parsed(frame, tuple(names), malformed, "json", "utf-8", "", 0, numbers_are_plain=numbers_are_plain)


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
