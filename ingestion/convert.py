"""From the file's columns to typed fields: names, lookups, number and date formats. Every step is vectorised.

Frames here hold `@line` (Int64, the line in the file), `field` (typed, null where empty or unreadable) and
`@text:field` (the cleaned text, null where empty), so that a reason can show what stood there.
"""

import re

import polars as pl

from ingestion.errors import WrongColumns
from ingestion.formula_text import unmarked
from ingestion.mapping import Column, Mapping
from ingestion.table import Parsed, header_key
from ingestion.targets import DTYPES, TARGETS, Kind, literal

LINE = "@line"
_TRUE = ("true", "yes", "y", "t", "1", "x", "on")
_FALSE = ("false", "no", "n", "f", "0", "-", "off")
_PLAIN_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_ISO_TIMES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d")
_LARGEST_WHOLE = 2.0**53
_NO_BREAK_SPACES = "\u00a0\u202f"


def text_of(field: str) -> str:
    """Name of the column with a field's cleaned text."""
    return f"@text:{field}"


def to_fields(parsed: Parsed, mapping: Mapping, file_name: str) -> pl.DataFrame:
    """All fields of the target and all extra columns of the mapping, typed. WrongColumns: a needed one is missing."""
    sources = _sources(parsed, mapping, file_name)
    names = [*TARGETS[mapping.target].fields, *(n for n in mapping.columns if n not in TARGETS[mapping.target].fields)]
    texts = [pl.col("line").alias(LINE)]
    for field in names:
        column, source = mapping.columns.get(field), sources.get(field)
        empty = pl.lit(None, dtype=pl.String)
        expr = _text(pl.col(source), column, mapping) if source is not None and column is not None else empty
        texts.append(expr.alias(text_of(field)))
    frame = parsed.frame.select(texts)
    return frame.with_columns(
        _typed(field, mapping, plain=parsed.numbers_are_plain, filled=field in sources).alias(field) for field in names
    )


def _sources(parsed: Parsed, mapping: Mapping, file_name: str) -> dict[str, str]:
    """The frame column (c0..) of each field the file has."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(parsed.columns):
        places.setdefault(header_key(name), []).append(place)
    sources: dict[str, str] = {}
    missing: list[str] = []
    for field, column in mapping.columns.items():
        named = next((header_key(name) for name in column.names if header_key(name) in places), None)
        if named is None:
            if column.constant is None and column.default is None and _needs_column(field, mapping):
                missing.append(f"'{field}' (as {' or '.join(repr(name) for name in column.names)})")
            continue
        if len(places[named]) > 1:
            twice = parsed.columns[places[named][1]]
            raise WrongColumns(
                f"the header names '{twice}' {len(places[named])} times",
                file=file_name,
                line=parsed.header_line or None,
                field=field,
                expected="each column once",
            )
        sources[field] = f"c{places[named][0]}"
    if missing:
        found = ", ".join(repr(name) for name in parsed.columns[:30])
        raise WrongColumns(
            f"the header lacks {', '.join(missing)}; it names {found}",
            file=file_name,
            line=parsed.header_line or None,
            expected=f"the columns of mapping '{mapping.name}'",
        )
    return sources


def _needs_column(field: str, mapping: Mapping) -> bool:
    spec = TARGETS[mapping.target].fields.get(field)
    return mapping.is_required(field) and (spec is None or spec.default is None)


def _text(source: pl.Expr, column: Column, mapping: Mapping) -> pl.Expr:
    """Strip, unmark, upper, values, the mapping's own lookup; an empty text is null."""
    text = source.str.strip_chars() if column.strip else source
    if column.unmark:
        text = unmarked(text)
    if column.upper:
        text = text.str.to_uppercase()
    for table in (column.values, mapping.lookups.get(column.lookup or "")):
        if table:
            lookup = {key.casefold(): value for key, value in table.items()}
            text = text.str.to_lowercase().replace_strict(lookup, default=text, return_dtype=pl.String)
    return pl.when(text != "").then(text)


def _typed(field: str, mapping: Mapping, *, plain: bool, filled: bool) -> pl.Expr:
    """The field's value: constant, else what the text says, else the default where the text is empty."""
    kind = mapping.kind_of(field)
    column = mapping.columns.get(field, Column(constant=None))
    spec = TARGETS[mapping.target].fields.get(field)
    if column.constant is not None:
        return pl.lit(literal(kind, column.constant), dtype=DTYPES[kind])
    default = literal(kind, column.default)
    target = TARGETS[mapping.target]
    # A file without the column says nothing of it: what is stored stays, and a new row gets the table's default.
    if default is None and spec is not None and (field in target.key or (filled and not mapping.partial)):
        default = spec.default
    fallback = pl.lit(default, dtype=DTYPES[kind])
    if not filled:
        return fallback
    text = pl.col(text_of(field))
    value = _value(text, kind, column, mapping, plain=plain)
    if spec is not None and spec.zero_is_empty:
        value = pl.when(value != 0).then(value)
    return pl.when(text.is_null()).then(fallback).otherwise(value)


def _value(text: pl.Expr, kind: Kind, column: Column, mapping: Mapping, *, plain: bool) -> pl.Expr:
    """The text as `kind`; null where it is none. A factor without a unit is in it, a unit is not (`resolve`)."""
    if kind in (Kind.NUMBER, Kind.WHOLE):
        value = number(text, mapping.decimal, mapping.thousands, plain=plain)
        if column.factor is not None and column.unit is None:
            value = value * column.factor
        if kind is Kind.NUMBER:
            return value
        return (
            pl.when((value == value.floor()) & (value.abs() <= _LARGEST_WHOLE)).then(value).cast(pl.Int64, strict=False)
        )
    if kind is Kind.DATE:
        formats = column.date_formats or mapping.date_formats
        return date_of(text, (*_ISO_TIMES, *formats) if plain else formats)
    if kind is Kind.BOOLEAN:
        return pl.when(is_true(text)).then(statement=True).when(is_false(text)).then(statement=False)
    if kind is Kind.CHOICE:
        return text.str.to_lowercase()
    return text


def number(text: pl.Expr, decimal: str, thousands: str, *, plain: bool) -> pl.Expr:
    """A text as Float64, null where it is no finite number written this way.

    Thousands must stand in groups of three: with thousands "," the text "1,5" is no number, rather than 15.
    plain: values typed in a workbook come with a decimal point; these are tried first.
    """
    point = re.escape(decimal)
    group = "[" + re.escape(thousands) + (_NO_BREAK_SPACES if thousands == " " else "") + "]" if thousands else ""
    whole = f"([0-9]+|[0-9]{{1,3}}({group}[0-9]{{3}})+)" if thousands else "[0-9]+"
    pattern = f"^[+-]?({whole}({point}[0-9]*)?|{point}[0-9]+)([eE][+-]?[0-9]+)?$"
    written = text.str.replace_all(group, "") if thousands else text
    if decimal != ".":
        written = written.str.replace(decimal, ".", literal=True)
    value = pl.when(text.str.contains(pattern)).then(written).cast(pl.Float64, strict=False)
    if plain:
        typed = pl.when(text.str.contains(_PLAIN_NUMBER)).then(text).cast(pl.Float64, strict=False)
        value = pl.coalesce(typed, value)
    return pl.when(value.is_finite()).then(value)


def is_true(text: pl.Expr) -> pl.Expr:
    """Whether a text is one of the words for yes."""
    return text.str.to_lowercase().is_in(_TRUE)


def is_false(text: pl.Expr) -> pl.Expr:
    """Whether a text is one of the words for no."""
    return text.str.to_lowercase().is_in(_FALSE)


def date_of(text: pl.Expr, formats: tuple[str, ...]) -> pl.Expr:
    """A text as Date by the first format that fits all of it; times of day are dropped."""
    tries: list[pl.Expr] = []
    for fmt in formats:
        if re.search(r"%[-_0]?[HIklMSTRrXfspPcZz.+]", fmt):
            tries.append(text.str.strptime(pl.Datetime("us"), fmt, strict=False).dt.date())
        else:
            tries.append(text.str.strptime(pl.Date, fmt, strict=False))
    return pl.coalesce(tries)
