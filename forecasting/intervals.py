"""Quantile functions as arrays: names of columns, ordering, empirical distributions, moments."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
RECENT_WEEKS = 52


def quantile_column(level: float) -> str:
    """Column name of a quantile level: 0.1 -> q10, 0.975 -> q97.5."""
    return f"q{level * 100:g}"


def ordered(quantiles: Floats) -> Floats:
    """Quantiles (..., levels) made >= 0 and non-decreasing by sorting (Chernozhukov et al. 2010, rearrangement)."""
    return np.sort(np.maximum(quantiles, 0.0), axis=-1)


def scaled_demand(values: Floats, mean: Floats, levels: tuple[float, ...]) -> Floats:
    """Quantiles of weekly demand whose shape is that of the recent weeks and whose mean is the model's.

    The empirical distribution of the last 52 weeks, zeros included, is multiplied so that its mean is `mean`. So an
    item that sells every fifth week has q10 = q50 = q75 = 0 and a positive q90, whatever its level.

    Args:
        values: history, at least one week. mean: (horizon,). levels: ascending.

    Returns:
        (horizon, levels). All zero where the recent weeks hold no demand but the mean is positive: then the last
        non-zero sizes at the frequency of the whole history are used.
    """
    recent = values[-RECENT_WEEKS:]
    if recent.sum() <= 0:
        recent = values
    centre = float(recent.mean())
    if centre <= 0:
        return np.repeat(mean[:, None], len(levels), axis=1)
    shape = np.quantile(recent, levels) / centre
    return np.asarray(mean[:, None] * shape[None, :], dtype=np.float64)


def with_errors(mean: Floats, errors: Floats, levels: tuple[float, ...]) -> Floats:
    """Quantiles (horizon, levels) = mean + empirical quantiles of centred errors (observed - fitted)."""
    usable = errors[np.isfinite(errors)]
    if usable.size < 2:
        return np.repeat(mean[:, None], len(levels), axis=1)
    return np.asarray(mean[:, None] + np.quantile(usable - usable.mean(), levels)[None, :], dtype=np.float64)


def quantile_moments(quantiles: Floats, levels: tuple[float, ...] = QUANTILES) -> tuple[Floats, Floats]:
    """Mean and variance of the distribution whose quantile function runs through the given points.

    E[X] is the integral of the quantile function over (0, 1). Between levels it is linear. Below the lowest and above
    the highest level the slope of the neighbouring segment, doubled because tails flatten, goes on to 0 and 1 (below
    never under 0). So skew moves the mean away from the median, as it must.

    Args:
        quantiles: (..., levels), >= 0 and ordered. levels: ascending, at least two.

    Returns:
        mean (...), variance (...).
    """
    levels_array = np.asarray(levels, dtype=np.float64)
    steps = np.diff(levels_array)
    slopes = np.diff(quantiles, axis=-1) / steps
    low = np.maximum(quantiles[..., 0] - 2.0 * slopes[..., 0] * levels_array[0], 0.0)
    high = quantiles[..., -1] + 2.0 * slopes[..., -1] * (1.0 - levels_array[-1])
    points = np.concatenate([low[..., None], quantiles, high[..., None]], axis=-1)
    widths = np.concatenate([[levels_array[0]], steps, [1.0 - levels_array[-1]]])
    left, right = points[..., :-1], points[..., 1:]
    mean = ((left + right) / 2.0 * widths).sum(axis=-1)
    second = ((left**2 + left * right + right**2) / 3.0 * widths).sum(axis=-1)
    return mean, np.maximum(second - mean**2, 0.0)
