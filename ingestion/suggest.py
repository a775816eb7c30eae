"""A mapping suggested for a file nobody has described yet: which table it fills, and which column each field is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ingestion.column_fit import Candidate, FieldSuggestion, assign, table_scores
from ingestion.column_values import SAMPLE_ROWS, NumberStyle, look_at
from ingestion.decode import GZIP_MAGIC, gunzip
from ingestion.errors import WrongColumns
from ingestion.header_words import known_headers, matches, table_named
from ingestion.known import KnownCodes
from ingestion.limits import Limits
from ingestion.mapping import ENCODINGS, Mapping
from ingestion.parse import parse
from ingestion.suggested_mapping import Draft, drafted
from ingestion.table import Parsed, ParseOptions, header_key
from ingestion.targets import TARGETS

_MOST_HEADER_CHARS = 200
_MOST_COLUMNS = 100
_UNSURE_SCORE = 0.4
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN_TABLES = 5


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A mapping that is valid as it is, and how it was come to.

    score: how well the file fills the table, 0 to 1; tables: the best few with theirs. missing: fields the table needs
    and no column was found for. unused: headers of columns that fill nothing. warnings: what a person should look at.
    """

    mapping: Mapping
    score: float
    tables: tuple[tuple[str, float], ...]
    fields: tuple[FieldSuggestion, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    warnings: tuple[str, ...]
    file_format: str
    encoding: str
    delimiter: str
    sheet: str
    header_line: int


def suggest(
    content: bytes,
    file_name: str,
    known: KnownCodes | None = None,
    limits: Limits | None = None,
    target: str | None = None,
) -> Suggestion:
    """Looks at a file's headers and the first few thousand values. `target`: the table, where it is known.

    IngestionError: the file as a whole cannot be read.
    """
    known, limits = known or KnownCodes(), limits or Limits()
    try:
        parsed = parse(content, file_name, limits, ParseOptions("auto", fields=known_headers()))
    except WrongColumns:
        parsed = parse(content, file_name, limits, ParseOptions("auto"))
    return suggest_for(parsed, file_name, known, target, encoding=_encoding(content, parsed, limits))


def suggest_for(
    parsed: Parsed, file_name: str, known: KnownCodes, target: str | None = None, *, encoding: str = "utf-8"
) -> Suggestion:
    """The same of a table of texts. `encoding`: what the mapping is to say of it."""
    candidates, style = _candidates(parsed, known)
    tables = [target] if target is not None else list(TARGETS)
    assigned = {table: assign(table, candidates) for table in tables}
    ranked = table_scores(assigned, sum(bool(name) for name in parsed.columns), table_named(file_name))
    table, score = ranked[0]
    found = assigned[table]
    draft = Draft(parsed, table, found, candidates, style, known, encoding, file_name)
    mapping, missing, told = drafted(draft)
    named = {header_key(name) for column in mapping.columns.values() for name in column.names}
    warnings = [*_doubts(table, score, ranked, found), *_left_out(parsed.columns), *told]
    return Suggestion(
        mapping=mapping,
        score=score,
        tables=tuple(ranked[:_SHOWN_TABLES]),
        fields=tuple(found),
        missing=missing,
        unused=tuple(name for name in parsed.columns if name and header_key(name) not in named),
        warnings=tuple(warnings),
        file_format=parsed.file_format,
        encoding=encoding,
        delimiter=parsed.delimiter,
        sheet=parsed.sheet,
        header_line=parsed.header_line,
    )


def _candidates(parsed: Parsed, known: KnownCodes) -> tuple[list[Candidate], NumberStyle]:
    places = [place for place, name in enumerate(parsed.columns) if _is_usable(name, parsed.columns)][:_MOST_COLUMNS]
    sample = parsed.frame.head(SAMPLE_ROWS)
    columns = [sample.get_column(f"c{place}").cast(pl.String) for place in places]
    values, style = look_at(columns, known, plain=parsed.numbers_are_plain, delimiter=parsed.delimiter)
    found = [
        Candidate(place, parsed.columns[place], matches(parsed.columns[place]), facts)
        for place, facts in zip(places, values, strict=True)
    ]
    return found, style


def _is_usable(name: str, columns: Sequence[str]) -> bool:
    """Whether a mapping can name the column: it has a header of its own, of readable length."""
    key = header_key(name)
    is_single = sum(header_key(other) == key for other in columns) == 1
    return bool(key) and is_single and len(name) <= _MOST_HEADER_CHARS and _CONTROL.search(name) is None


def _left_out(columns: Sequence[str]) -> list[str]:
    names = dict.fromkeys(name for name in columns if header_key(name) and not _is_usable(name, columns))
    return [f"column {name[:60]!r} cannot be named: its header occurs twice, or is no plain text" for name in names]


def _doubts(
    table: str, score: float, ranked: Sequence[tuple[str, float]], found: Sequence[FieldSuggestion]
) -> list[str]:
    told = []
    if score < _UNSURE_SCORE:
        told.append(f"no table fits well; {table} fits best: say which one it is")
    elif len(ranked) > 1 and ranked[1][1] > 0.97 * score:
        told.append(f"the file may as well fill {ranked[1][0]}: say which one it is")
    if found and not any(reason.startswith("the header") for each in found for reason in each.reasons):
        told.append("no header is a word that is known here: columns are told by their values alone")
    return told


def _encoding(content: bytes, parsed: Parsed, limits: Limits) -> str:
    """The plainest of the encodings a mapping may name that reads the file as it was read; auto if there is none."""
    if parsed.file_format not in ("csv", "csv.gz") or parsed.encoding in ("utf-8", "utf-8-sig", "ascii"):
        return "utf-8"
    raw = gunzip(content, limits) if content.startswith(GZIP_MAGIC) else content
    try:
        text = raw.decode(parsed.encoding)
    except UnicodeError:
        return "auto"
    for encoding in ("cp1252", *ENCODINGS):
        try:
            if encoding != "auto" and raw.decode(encoding) == text:
                return encoding
        except UnicodeError:
            continue
    return "auto"
