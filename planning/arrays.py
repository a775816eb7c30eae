"""Array types of the planning room and its one rounding rule.

Matrices are time-major, [buckets, items]: a step of the time loop then reads whole rows, which lie together in memory.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
DayArray = npt.NDArray[np.datetime64]

QUANTITY_TOLERANCE: Final = 1e-6
"""A shortage up to a millionth of a unit is none: it is what float64 leaves of a balance that is exactly met."""


def totals_by_row(row: IntArray, quantity: FloatArray, count: int) -> FloatArray:
    """Sum of `quantity` per item row, [count]."""
    return np.bincount(row, weights=quantity, minlength=count).astype(np.float64, copy=False)


def totals_by_cell(bucket: IntArray, row: IntArray, quantity: FloatArray, buckets: int, count: int) -> FloatArray:
    """Sum of `quantity` per bucket and item, [buckets, count]; every bucket must lie in the horizon."""
    flat = np.bincount(bucket * count + row, weights=quantity, minlength=buckets * count)
    return flat.astype(np.float64, copy=False).reshape(buckets, count)
