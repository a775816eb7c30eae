"""Daily demand to clean weekly series: the one place that decides what a week, a gap and a bad value are.

Weeks start on Monday and are named by it. Weekly frame: item str, week date, quantity f64; one row a week, no gaps.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

WEEKLY_SCHEMA = {"item": pl.String, "week": pl.Date, "quantity": pl.Float64}
# A feed that has reported up to Friday has reported a week: weekend demand of a plant is small, and waiting for
# Sunday would drop the newest week from every forecast made on a Saturday.
COMPLETE_FROM_WEEKDAY = 5  # ISO: Monday is 1, Friday is 5
# Below this many weeks each one counts more than the bias of a week not quite over.
KEEP_PARTIAL_BELOW = 8


@dataclass(frozen=True)
class Prepared:
    """Series ready for a model, and what had to be done to them.

    Attributes:
        series: weekly frame; per item contiguous, finite, >= 0, starting at the first demand (an item without any
            demand keeps its last week, so that it is still forecast).
        notes: item -> sentence naming each repair. Items without a repair are absent.
    """

    series: pl.DataFrame
    notes: dict[str, str]


def monday(day: date) -> date:
    """The Monday of the week that holds `day`."""
    return day - timedelta(days=day.weekday())


def weekly_series(demand: pl.DataFrame, ends: pl.DataFrame | date) -> pl.DataFrame:
    """Sum daily demand to weeks, zero-filled from each item's first observation to its feed's last week.

    Args:
        demand: item, day, quantity (further columns are ignored). Rows of one day are summed; days after the end are
            left out. Values that are missing, infinite or negative are passed on for `prepare` to repair and report.
        ends: the last day each series' feed has reported: one date for all, or a frame item, day. An item that the
            frame lacks ends on its own last observation.

    Returns:
        item, week, quantity, sorted by item and week. The last week is complete when the feed reaches its Friday;
        an incomplete one is dropped from series of 8 weeks or more and kept in shorter ones.
    """
    observed = demand.select("item", "day", pl.col("quantity").cast(pl.Float64))
    last_days = observed.group_by("item").agg(first=pl.col("day").min(), observed_end=pl.col("day").max())
    if isinstance(ends, date):
        spans = last_days.with_columns(end=pl.lit(ends, dtype=pl.Date))
    else:
        ends_by_item = ends.group_by("item").agg(end=pl.col("day").max())
        spans = last_days.join(ends_by_item, on="item", how="left")
    spans = (
        spans.with_columns(end=pl.coalesce("end", "observed_end"))
        .filter(pl.col("first") <= pl.col("end"))
        .with_columns(first_week=pl.col("first").dt.truncate("1w"), last_week=pl.col("end").dt.truncate("1w"))
        .with_columns(weeks=(pl.col("last_week") - pl.col("first_week")).dt.total_days() // 7 + 1)
    )
    partial = (pl.col("end").dt.weekday() < COMPLETE_FROM_WEEKDAY) & (pl.col("weeks") >= KEEP_PARTIAL_BELOW)
    spans = spans.with_columns(
        last_week=pl.when(partial).then(pl.col("last_week").dt.offset_by("-1w")).otherwise("last_week")
    )
    sums = (
        observed.join(spans.select("item", "end"), on="item")
        .filter(pl.col("day") <= pl.col("end"))
        .with_columns(week=pl.col("day").dt.truncate("1w"), quantity=pl.col("quantity").fill_null(float("nan")))
        .group_by("item", "week")
        .agg(pl.col("quantity").sum())
    )
    return _calendar(spans).join(sums, on=["item", "week"], how="left").with_columns(pl.col("quantity").fill_null(0.0))


def _calendar(spans: pl.DataFrame) -> pl.DataFrame:
    """Every week from first_week to last_week of each item, sorted. In: item, first_week, last_week."""
    if spans.is_empty():
        return pl.DataFrame(schema={"item": pl.String, "week": pl.Date})
    return (
        spans.select("item", week=pl.date_ranges("first_week", "last_week", interval="1w"))
        .explode("week")
        .drop_nulls("week")
        .sort("item", "week")
    )


def prepare(series: pl.DataFrame) -> Prepared:
    """Repair weekly series so that every model can take them, and say per item what was repaired.

    Rows of one week are summed (and dates moved to their Monday), absent weeks become 0, missing or infinite values
    take the last known week before them (0 when there is none; never a later one, which would leak into a backtest),
    negative weeks count as 0, and zeros before the first demand are cut off. The input is not changed.
    """
    raw = series.select("item", week=pl.col("week").dt.truncate("1w"), quantity=pl.col("quantity").cast(pl.Float64))
    raw = raw.drop_nulls(["item", "week"])
    usable = pl.col("quantity").is_not_null() & pl.col("quantity").is_finite()
    raw = raw.with_columns(quantity=pl.when(usable).then("quantity"))
    sums = raw.group_by("item", "week").agg(
        # one unknown row makes the week unknown; polars' sum would count it as 0
        quantity=pl.when(pl.col("quantity").is_null().any()).then(None).otherwise(pl.col("quantity").sum()),
        rows=pl.len(),
    )
    spans = sums.group_by("item").agg(first_week=pl.col("week").min(), last_week=pl.col("week").max())
    full = _calendar(spans).join(sums, on=["item", "week"], how="left")
    notes = _notes(full)
    clean = full.with_columns(
        quantity=pl.when(pl.col("rows").is_null()).then(0.0).otherwise(pl.col("quantity"))
    ).with_columns(pl.col("quantity").clip(lower_bound=0.0).forward_fill().over("item").fill_null(0.0))
    started = (pl.col("quantity").cum_sum().over("item") > 0) | (pl.col("week") == pl.col("week").max().over("item"))
    return Prepared(clean.filter(started).select(list(WEEKLY_SCHEMA)), notes)


def _notes(full: pl.DataFrame) -> dict[str, str]:
    """Sentence per repaired item. In: item, week, quantity (null: unknown), rows (null: absent week)."""
    counts = full.group_by("item").agg(
        absent=pl.col("rows").is_null().sum(),
        unknown=(pl.col("rows").is_not_null() & pl.col("quantity").is_null()).sum(),
        negative=(pl.col("quantity") < 0).sum(),
        doubled=(pl.col("rows") > 1).sum(),
    )
    sentences = {
        "absent": "{} absent weeks taken as 0",
        "unknown": "{} weeks without a finite number take the week before",
        "negative": "{} negative weeks taken as 0",
        "doubled": "{} weeks given twice were summed",
    }
    notes: dict[str, str] = {}
    for row in counts.filter(pl.sum_horizontal(list(sentences)) > 0).iter_rows(named=True):
        notes[row["item"]] = "; ".join(text.format(row[key]) for key, text in sentences.items() if row[key])
    return notes
