"""What the values of a file's columns look like: how numbers and dates are written, and which codes are known."""

import re
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from ingestion.convert import date_of, is_false, is_true, number
from ingestion.known import KnownCodes
from ingestion.targets import FIRST_DATE, LAST_DATE

SAMPLE_ROWS = 5_000
MOST_DISTINCT = 2_000
_FEW = 100
_NEARLY_ALL = 0.98
_MOSTLY = 0.8
# (decimal, thousands), plainest first.
_STYLES = ((".", ""), (",", ""), (".", ","), (",", "."), (",", " "), (".", " "), (".", "'"), (",", "'"))
_DAY_FIRST = ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y")
# With dots nobody writes the month first.
_MONTH_FIRST = {
    fmt: fmt.replace("%d", "?").replace("%m", "%d").replace("?", "%m") for fmt in _DAY_FIRST if "." not in fmt
}
_YEAR_FIRST = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
_NAMED_MONTHS = ("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%y", "%d. %b %Y", "%d. %B %Y")
_FORMATS = (*_YEAR_FIRST, *_DAY_FIRST, *_MONTH_FIRST.values(), *_NAMED_MONTHS)
_TIME = re.compile(r"^(?P<day>.*\d)(?P<gap>[ T])\d{1,2}:\d{2}(?P<seconds>:\d{2})?$")


@dataclass(frozen=True, slots=True)
class DateReading:
    """How dates are written.

    other: a second format that reads every value too, some (such as `example`) as other days; narrower: the one of the
    two by which the days lie much closer together, if either; why: what the choice between them was made by.
    """

    format: str
    with_time: str
    share: float
    other: str = ""
    example: str = ""
    narrower: str = ""
    why: str = ""

    @property
    def formats(self) -> tuple[str, ...]:
        """For a mapping: with the time of day first, where there is one."""
        return (self.with_time, self.format) if self.with_time else (self.format,)


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How numbers are written throughout a file. other: (decimal, thousands) that reads them all too, differently."""

    decimal: str = "."
    thousands: str = ""
    other: tuple[str, str] | None = None
    example: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """Facts of a column's sample: how many values are filled, and the first distinct ones; shares are of these.

    few: they in lower case where they are few, as choices are. known: table -> share of known codes.
    """

    filled: int
    texts: pl.Series
    few: tuple[str, ...] = ()
    numbers: float = 0.0
    wholes: float = 0.0
    largest: float = 0.0
    booleans: float = 0.0
    date: DateReading | None = None
    known: Dict[str, float] | None = None
    supplier_codes: float = 0.0

    def known_share(self, table: str) -> float:
        """Share of values that are known codes of a table."""
        return (self.known or {}).get(table, 0.0)


def look_at(
    columns: Sequence[pl.Series], known: KnownCodes, *, plain: bool, delimiter: str
) -> tuple[list[ColumnValues], NumberStyle]:
    """Facts of each column (texts, null where empty) and the style of the file's numbers."""
    texts = [_distinct(column) for column in columns]
    dates = [_date_reading(each, plain=plain) for each in texts]
    candidates = [each for each, date in zip(texts, dates, strict=True) if date is None]
    style = NumberStyle() if plain else _number_style(candidates, delimiter)
    settled = _settled(dates, style)
    tables = {name: known.of(name) for name in ("items", "suppliers", "warehouses", "work_centres", "units")}
    tables = {name: codes for name, codes in tables.items() if codes.len()}
    facts = [
        _facts(column, distinct, date, style, tables, known, plain=plain)
        for column, distinct, date in zip(columns, texts, settled, strict=True)
    ]
    return facts, style


def _distinct(column: pl.Series) -> pl.Series:
    stripped = column.cast(pl.String).str.strip_chars().drop_nulls()
    return stripped.filter(stripped != "").unique(maintain_order=True).head(MOST_DISTINCT).alias("t")


def _share(texts: pl.Series, test: pl.Expr) -> float:
    found = texts.to_frame().select(test.fill_null(value=False).mean()).item()
    return float(found or 0.0)


def _facts(
    column: pl.Series,
    texts: pl.Series,
    date: DateReading | None,
    style: NumberStyle,
    tables: Dict[str, pl.Series],
    known: KnownCodes,
    *,
    plain: bool,
) -> ColumnValues:
    filled = column.len() - column.null_count()
    if texts.is_empty():
        return ColumnValues(0, texts)
    text = pl.col("t")
    value = number(text, style.decimal, style.thousands, plain=plain)
    codes = {name: _share(texts, text.is_in(listed.implode())) for name, listed in tables.items()}
    suppliers = known.supplier_items["code"]
    return ColumnValues(
        filled,
        texts,
        few=tuple(texts.str.to_lowercase()) if texts.len() <= _FEW else (),
        numbers=_share(texts, value.is_not_null()),
        wholes=_share(texts, value == value.floor()),
        largest=float(texts.to_frame().select(value.abs().max()).item() or 0.0),
        booleans=_share(texts, is_true(text) | is_false(text)),
        date=date,
        known=codes,
        supplier_codes=_share(texts, text.is_in(suppliers.implode())) if suppliers.len() else 0.0,
    )


# -- numbers ---------------------------------------------------------------------------------------------------------


def _number_style(columns: Sequence[pl.Series], delimiter: str) -> NumberStyle:
    """The style that reads the most; where several read as much and not the same, what else speaks for one."""
    shares: dict[tuple[str, str], float] = {}
    texts = pl.concat([c for c in columns if _reads(c, *_best_of(c)) >= _MOSTLY] or [pl.Series("t", [], pl.String)])
    if texts.is_empty():
        return NumberStyle()
    for style in _STYLES:
        shares[style] = _reads(texts, *style)
    best = max(shares.values())
    tied = [style for style in _STYLES if shares[style] >= best - 1e-9]
    picked = tied[0]
    for other in tied[1:]:
        values = texts.to_frame().with_columns(
            a=number(pl.col("t"), *picked, plain=False), b=number(pl.col("t"), *other, plain=False)
        )
        apart = values.filter(pl.col("a") != pl.col("b"))["t"]
        if apart.len():
            return _undecided(picked, other, apart, delimiter)
    return NumberStyle(*picked)


def _best_of(texts: pl.Series) -> tuple[str, str]:
    return max(_STYLES, key=lambda style: _reads(texts, *style))


def _reads(texts: pl.Series, decimal: str, thousands: str) -> float:
    return _share(texts, number(pl.col("t"), decimal, thousands, plain=False).is_not_null()) if texts.len() else 0.0


def _undecided(plain: tuple[str, str], grouped: tuple[str, str], texts: pl.Series, delimiter: str) -> NumberStyle:
    """`1,234` is 1.234 by the plain style and 1234 by the grouped one."""
    example = str(texts[0])
    leading_zero = texts.str.contains(r"^[+-]?0[.,]").any()
    usual = {",": ";", ".": ","}[plain[0]]
    if leading_zero:
        picked, why = plain, "a number begins with 0"
    elif delimiter == usual:
        picked, why = plain, f"files with '{delimiter}' between columns usually have decimal '{plain[0]}'"
    else:
        picked, why = grouped, "every such number has three digits after it"
    return NumberStyle(*picked, other=grouped if picked == plain else plain, example=example, why=why)


# -- dates -----------------------------------------------------------------------------------------------------------


def _date_reading(texts: pl.Series, *, plain: bool) -> DateReading | None:
    """The format nearly all values have, not settled yet where day and month can be swapped; None if it is no date."""
    if texts.is_empty() or _share(texts, pl.col("t").str.contains(r"[0-9].{4}") & ~_is_text(pl.col("t"))) < _MOSTLY:
        return None
    time = _TIME.match(str(texts[0]))
    suffix = "" if time is None else f"{time['gap']}%H:%M" + (":%S" if time["seconds"] else "")
    days = texts.str.replace(r"[ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$", "") if suffix else texts
    shares = {fmt: _plausible(days, fmt) for fmt in _FORMATS}
    best = max(shares, key=lambda fmt: shares[fmt])
    if shares[best] < _MOSTLY:
        return None
    swapped = _MONTH_FIRST.get(best, "")
    if plain and best == "%Y-%m-%d":
        suffix = ""
    reading = DateReading(best, best + suffix if suffix else "", shares[best])
    if not swapped or shares[swapped] < _NEARLY_ALL * shares[best]:
        return reading
    apart = days.filter(days.to_frame().select(_day(best) != _day(swapped)).to_series())
    if apart.is_empty():
        return reading
    return replace(reading, other=swapped, example=str(apart[0]), narrower=_narrower(days, best, swapped))


def _is_text(text: pl.Expr) -> pl.Expr:
    """Longer than any date with time and month in words."""
    return text.str.len_chars() > 40


def _plausible(days: pl.Series, fmt: str) -> float:
    if fmt == "%Y%m%d":
        days = days.filter(days.str.contains(r"^[0-9]{8}$")) if days.str.contains(r"^[0-9]{8}$").all() else days.clear()
    elif "%y" in fmt and not days.str.contains(r"[./-][0-9]{2}$|-[0-9]{2}$").any():
        return 0.0
    return _share(days, _day(fmt).is_between(FIRST_DATE, LAST_DATE)) if days.len() else 0.0


def _day(fmt: str) -> pl.Expr:
    return date_of(pl.col("t"), (fmt,))


def _narrower(days: pl.Series, one: str, other: str) -> str:
    """The format by which the days lie much closer together, which is mostly the right one; "" if neither."""
    spans = {}
    for fmt in (one, other):
        read = days.to_frame().select(_day(fmt).alias("d"))["d"].drop_nulls()
        spans[fmt] = (read.max() - read.min()).days if read.len() > 1 else 0  # type: ignore[operator,union-attr]
    near, far = sorted(spans, key=lambda fmt: spans[fmt])
    return near if spans[near] * 3 < spans[far] else ""


def _settled(dates: Sequence[DateReading | None], style: NumberStyle) -> list[DateReading | None]:
    """Day or month first, decided: by another column that leaves no doubt, by how close days lie, else day first."""
    sure = {each.format in _DAY_FIRST for each in dates if each is not None and not each.other and _can_swap(each)}
    return [_decided(each, sure, style) if each is not None and each.other else each for each in dates]


def _can_swap(reading: DateReading) -> bool:
    return reading.format in _DAY_FIRST or reading.format in _MONTH_FIRST.values()


def _decided(reading: DateReading, sure: set[bool], style: NumberStyle) -> DateReading:
    if len(sure) == 1:
        day_first, why = next(iter(sure)), "as in another column of this file"
    elif reading.narrower:
        day_first, why = reading.narrower in _DAY_FIRST, "so the days lie closer together"
    elif style.decimal == ",":
        day_first, why = True, "as is usual with a decimal comma"
    else:
        day_first, why = True, "as is usual outside the United States"
    if day_first == (reading.format in _DAY_FIRST):
        return replace(reading, why=why)
    timed = reading.with_time.replace(reading.format, reading.other) if reading.with_time else ""
    return replace(reading, format=reading.other, with_time=timed, other=reading.format, why=why)
