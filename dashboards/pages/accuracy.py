"""Forecast accuracy against the baselines: one figure for the overview, one table for the forecast page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dashboards import format as f
from dashboards.api_types import Metric
from dashboards.fragments import empty, table

SEASONAL_NAIVE = frozenset({"seasonal_naive", "seasonalnaive"})
BASELINES = SEASONAL_NAIVE | {"moving_average", "windowaverage", "window_average", "moving_average_12"}
CHOSEN = frozenset({"chosen", "selected", "champion", "product"})
OVERALL = frozenset({"all", "overall", "total", ""})
CLASS_ORDER = ("smooth", "erratic", "intermittent", "lumpy", "insufficient")


def _is(metric: Metric, names: frozenset[str]) -> bool:
    return metric.model.lower().replace(" ", "_") in names


def _overall(metric: Metric) -> bool:
    return (metric.demand_class or "").lower() in OVERALL


def gain_over_naive(metrics: Sequence[Metric]) -> float | None:
    """Share by which the forecasts' WQL is below seasonal naive's; negative when worse, None when it cannot be told.

    The run's own overall rows are used when it reports them; else the best non-baseline model of every demand class,
    weighted by its number of series.
    """
    chosen = _first(m for m in metrics if _is(m, CHOSEN) and _overall(m))
    naive = _first(m for m in metrics if _is(m, SEASONAL_NAIVE) and _overall(m))
    if chosen and naive and chosen.wql is not None and naive.wql:
        return 1.0 - chosen.wql / naive.wql
    ours = base = 0.0
    for demand_class in {m.demand_class for m in metrics if not _overall(m)}:
        rows = [m for m in metrics if m.demand_class == demand_class]
        naive = _first(m for m in rows if _is(m, SEASONAL_NAIVE))
        best = best_of(rows)
        if naive is None or naive.wql is None or best is None or best.wql is None:
            continue
        weight = float(naive.series or 1)
        ours += weight * best.wql
        base += weight * naive.wql
    return 1.0 - ours / base if base > 0 else None


def best_of(metrics: Sequence[Metric]) -> Metric | None:
    """The chosen model's row, else the non-baseline with the lowest WQL."""
    chosen = _first(m for m in metrics if _is(m, CHOSEN) and m.wql is not None)
    scored = [m for m in metrics if not _is(m, BASELINES) and m.wql is not None]
    return chosen or min(scored, key=lambda m: m.wql or 0.0, default=None)


def _first(metrics: Iterable[Metric]) -> Metric | None:
    return next(iter(metrics), None)


def _rank(metric: Metric) -> tuple[int, bool, float]:
    name = (metric.demand_class or "").lower()
    place = CLASS_ORDER.index(name) if name in CLASS_ORDER else -1
    return (place, _is(metric, BASELINES), metric.wql if metric.wql is not None else float("inf"))


def accuracy_table(metrics: Sequence[Metric]) -> str:
    """Backtest table, class by class: models by WQL, then the baselines."""
    if not metrics:
        return empty("No backtest yet", "The accuracy of every model appears after the first forecast run.")
    heads = (
        ("Class", ""),
        ("Model", ""),
        ("Series", "num"),
        ("WQL", "num"),
        ("RMSSE", "num"),
        ("MASE", "num"),
        ("WAPE", "num"),
        ("Bias", "num"),
        ("80 % coverage", "num"),
    )
    rows = []
    previous: str | None = "\0"
    for metric in sorted(metrics, key=_rank):
        best = best_of([m for m in metrics if m.demand_class == metric.demand_class])
        shown = f.text(f.label(metric.demand_class or "all")) if metric.demand_class != previous else ""
        previous = metric.demand_class
        rows.append(_metric_row(metric, shown, metric is best))
    return table(heads, rows, "fmrp-accuracy")


def _metric_row(metric: Metric, demand_class: str, best: bool) -> str:
    note = ' <span class="soft small">baseline</span>' if _is(metric, BASELINES) else ""
    return (
        f'<tr class="{"baseline" if note else ""}"><td>{demand_class}</td>'
        f"<td>{f.text(f.model_name(metric.model))}{note}</td>"
        f'<td class="num">{f.number(metric.series)}</td>'
        f'<td class="num {"best" if best else ""}">{f.number(metric.wql, 3)}</td><td'
        f' class="num">{f.number(metric.rmsse, 3)}</td>'
        f'<td class="num">{f.number(metric.mase, 3)}</td><td class="num">{f.percent(metric.wape, 1)}</td>'
        f'<td class="num">{f.percent(metric.bias, 1, signed=True)}</td><td'
        f' class="num">{f.percent(metric.coverage_80)}</td></tr>'
    )
