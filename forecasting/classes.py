"""Demand classes of items: Syntetos-Boylan pattern, ABC by revenue, XYZ by variation. Vectorised over items.

Syntetos, Boylan & Croston (2005), "On the categorization of demand patterns", JORS 56(5): cut-offs 1.32 and 0.49.
"""

from typing import NamedTuple

import polars as pl

ADI_LIMIT = 1.32
CV2_LIMIT = 0.49
DEMAND_CLASSES = ("smooth", "erratic", "intermittent", "lumpy", "insufficient")


class ClassLimits(NamedTuple):
    """Where classes end: A and B by revenue share of the items ahead, X and Y by the coefficient of variation."""

    a_share: float = 0.80
    b_share: float = 0.95
    x_variation: float = 0.5
    y_variation: float = 1.0


USUAL_LIMITS = ClassLimits()


def demand_classes(series: pl.DataFrame, limits: ClassLimits = USUAL_LIMITS) -> pl.DataFrame:
    """Class of each item from its weekly series.

    Args:
        series: item, week, quantity; gap-free and >= 0 (see `forecasting.series.prepare`).

    Returns:
        One row an item, sorted: item, demand_class, adi f64?, cv2 f64?, xyz, weeks i64, demands i64.
        adi = weeks from the first demand to the last week / weeks with demand. cv2 = squared coefficient of variation
        of the non-zero sizes (sample SD). Both null below two demands, where the class is "insufficient".
        xyz by the coefficient of variation of all weeks from the first demand, e.g. X < 0.5, Y < 1.0, else Z.
    """
    demand = pl.col("quantity").filter(pl.col("quantity") > 0)
    stats = (
        series.sort("item", "week")
        .filter((pl.col("quantity").cum_sum().over("item") > 0) | (pl.col("quantity").max().over("item") <= 0))
        .group_by("item")
        .agg(
            weeks=pl.len().cast(pl.Int64),
            demands=(pl.col("quantity") > 0).sum().cast(pl.Int64),
            size_mean=demand.mean(),
            size_sd=demand.std(ddof=1),
            mean=pl.col("quantity").mean(),
            sd=pl.col("quantity").std(ddof=1),
        )
    )
    enough = pl.col("demands") >= 2
    stats = stats.with_columns(
        adi=pl.when(enough).then(pl.col("weeks") / pl.col("demands")),
        cv2=pl.when(enough).then((pl.col("size_sd") / pl.col("size_mean")) ** 2),
        cv=pl.col("sd") / pl.col("mean"),
    )
    return stats.select("item", _syntetos_boylan(enough), "adi", "cv2", _xyz(limits), "weeks", "demands").sort("item")


def _syntetos_boylan(enough: pl.Expr) -> pl.Expr:
    often, steady = pl.col("adi") < ADI_LIMIT, pl.col("cv2") < CV2_LIMIT
    return (
        pl.when(~enough)
        .then(pl.lit("insufficient"))
        .when(often & steady)
        .then(pl.lit("smooth"))
        .when(often)
        .then(pl.lit("erratic"))
        .when(steady)
        .then(pl.lit("intermittent"))
        .otherwise(pl.lit("lumpy"))
        .alias("demand_class")
    )


def _xyz(limits: ClassLimits) -> pl.Expr:
    # a mean of 0 or a single week says nothing about variation: the cautious class
    return (
        pl.when(pl.col("cv") < limits.x_variation)
        .then(pl.lit("X"))
        .when(pl.col("cv") < limits.y_variation)
        .then(pl.lit("Y"))
        .otherwise(pl.lit("Z"))
        .alias("xyz")
    )


def abc_classes(revenue: pl.DataFrame, limits: ClassLimits = USUAL_LIMITS) -> pl.DataFrame:
    """ABC class by cumulative revenue share: A up to e.g. 80 %, B up to 95 %, C the rest.

    An item is A when the items ahead of it hold less than that of revenue, so the greatest one is always A.

    Args:
        revenue: item, revenue f64? (any period, one currency). Null, negative and non-finite count as 0.

    Returns:
        item, abc; sorted by item. Without any revenue every item is C.
    """
    value = pl.col("revenue").cast(pl.Float64)
    ranked = (
        revenue.select("item", revenue=pl.when(value.is_finite() & (value > 0)).then(value).otherwise(0.0))
        .group_by("item")
        .agg(pl.col("revenue").sum())
        .sort(["revenue", "item"], descending=[True, False])
    )
    ahead = (pl.col("revenue").cum_sum() - pl.col("revenue")) / pl.col("revenue").sum()
    return (
        ranked.with_columns(ahead=ahead)
        .select(
            "item",
            abc=pl.when((pl.col("ahead") < limits.a_share) & (pl.col("revenue") > 0))
            .then(pl.lit("A"))
            .when((pl.col("ahead") < limits.b_share) & (pl.col("revenue") > 0))
            .then(pl.lit("B"))
            .otherwise(pl.lit("C")),
        )
        .sort("item")
    )
