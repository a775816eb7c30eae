"""Which model forecasts which item: candidates by demand class, then the item's own backtest decides.

An item's score of a model is the geometric mean of its pinball loss and its root mean squared error, each relative to
the 12-week moving average: the quantiles set safety stock and the mean is what is planned, so neither alone decides.
"""

import polars as pl

BASELINES = ("seasonal_naive", "moving_average")
REFERENCE = "moving_average"
SHORT_HISTORY_WEEKS = 40
# Three windows measure one item's error to about a tenth: nothing unseats the first candidate of its class by less.
# On the left-out window 10 % scored 2 % better than margins of 2 and 5 % on made-up seasonal demand, and about the
# same (within 0.5 %) on the two real samples.
CHALLENGER_MARGIN = 0.90
BASELINE_MARGIN = 0.90


def candidates(demand_class: str, weeks: int, *, seasonal: bool, chronos: str | None) -> tuple[str, ...]:
    """Names of the models that may forecast an item, the default first.

    Args:
        demand_class: see `forecasting.classes`. weeks: length of history. seasonal: a pooled season is known.
        chronos: name of the learned forecaster, when one is given.
    """
    if demand_class == "insufficient":
        return ("historic_average",)
    if weeks < SHORT_HISTORY_WEEKS:
        return ("ses", "historic_average")
    if demand_class == "intermittent":
        return ("tsb", "croston_sba", "imapa")
    if demand_class == "lumpy":
        return ("tsb", "historic_average")
    names: tuple[str, ...] = ("auto_ets", "theta", "ensemble")
    if seasonal:
        # below two years a season is learnt from one cycle only: a challenger, not the default
        names = ("seasonal_theta", *names) if weeks >= 104 else (*names, "seasonal_theta")
    return (chronos, *names) if chronos else names


def item_candidates(items: pl.DataFrame, *, seasonal: bool, chronos: str | None) -> pl.DataFrame:
    """Candidates and baselines of each item. In: item, demand_class, weeks. Out: item, model, rank (-1: baseline)."""
    rows: list[tuple[str, str, int]] = []
    for item, demand_class, weeks in items.select("item", "demand_class", "weeks").iter_rows():
        names = candidates(demand_class, weeks, seasonal=seasonal, chronos=chronos)
        rows += [(item, name, rank) for rank, name in enumerate(names)]
        rows += [(item, name, -1) for name in BASELINES if name not in names]
    return pl.DataFrame(rows, schema={"item": pl.String, "model": pl.String, "rank": pl.Int64}, orient="row")


def choose(errors: pl.DataFrame, options: pl.DataFrame) -> pl.DataFrame:
    """The model of each item by its own backtest.

    Args:
        errors: error sums (item, cutoff, model, pinball, sq_error, ...). options: see `item_candidates`.

    Returns:
        item, model, reason; one row per item of `options`. Only models scored at every cutoff of the item compete.
        Without a backtest the first candidate of the class stands.
    """
    totals = errors.group_by("item", "model").agg(
        pl.col("pinball").sum(), pl.col("sq_error").sum(), cutoffs=pl.col("cutoff").n_unique()
    )
    return _decide(totals, options, ["item"])


def choose_without_own_cutoff(errors: pl.DataFrame, options: pl.DataFrame) -> pl.DataFrame:
    """The model that the other cutoffs would choose, for an honest score of the choice itself: item, cutoff, model."""
    totals = errors.select("item", "cutoff", "model", "pinball", "sq_error").with_columns(
        pl.col("pinball").sum().over("item", "model") - pl.col("pinball"),
        pl.col("sq_error").sum().over("item", "model") - pl.col("sq_error"),
        cutoffs=pl.len().over("item", "model") - 1,
    )
    return _decide(totals, options, ["item", "cutoff"]).select("item", "cutoff", "model")


def _decide(totals: pl.DataFrame, options: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Lowest handicapped score per key; ties go to the candidate named first."""
    best = (
        _scored(totals, options, keys)
        .with_columns(order=pl.when(pl.col("rank") < 0).then(99).otherwise("rank"), rivals=pl.len().over(keys))
        .sort(*keys, "handicapped", "order", "model")
        .group_by(keys, maintain_order=True)
        .first()
        .with_columns(
            reason=pl.format(
                "{} among {} models over {} backtests, score {} of the 12-week moving average",
                pl.when(pl.col("rank") < 0).then(pl.lit("a baseline clearly best")).otherwise(pl.lit("best")),
                "rivals",
                "cutoffs",
                pl.col("score").round(2),
            )
        )
    )
    defaults = options.filter(pl.col("rank") == 0).select("item", default="model")
    everyone = totals.select(keys).unique().join(defaults, on="item") if len(keys) > 1 else defaults
    return (
        everyone.join(best.select(*keys, "model", "reason"), on=keys, how="left")
        .select(
            *keys,
            model=pl.coalesce("model", "default"),
            reason=pl.coalesce("reason", pl.lit("default of its class: no backtest")),
        )
        .sort(keys)
    )


def _scored(totals: pl.DataFrame, options: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Candidates with their score against the reference on the same cutoffs, and the score their rank handicaps."""
    reference = totals.filter(pl.col("model") == REFERENCE).select(
        *keys, ref_pinball="pinball", ref_sq="sq_error", ref_cutoffs="cutoffs"
    )
    tiny = 1e-9  # both sums are 0 where a series has been all zero
    return (
        totals.join(options, on=["item", "model"])
        .join(reference, on=keys)
        .filter((pl.col("cutoffs") == pl.col("ref_cutoffs")) & (pl.col("cutoffs") > 0))
        .with_columns(
            score=(
                (pl.col("pinball") + tiny)
                / (pl.col("ref_pinball") + tiny)
                * ((pl.col("sq_error") + tiny) / (pl.col("ref_sq") + tiny)).sqrt()
            ).sqrt()
        )
        .with_columns(
            handicapped=pl.col("score")
            * pl.when(pl.col("rank") == 0)
            .then(CHALLENGER_MARGIN)
            .when(pl.col("rank") < 0)
            .then(1 / BASELINE_MARGIN)
            .otherwise(1.0)
        )
    )
